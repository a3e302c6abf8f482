"""The routes of the labelling page, with FastAPI. Imported only when it is served. No annotation is postponed here, as FastAPI reads them."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query
from pydantic import Field
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from graft.annotation.pool import LONGEST_LABEL
from graft.annotation.session import Session
from graft.annotation.tables import save_labels
from graft.data.dataset import ImageSource
from graft.server import shapes
from graft.server.api import PAGE as SERVED_PAGE
from graft.server.api import add_assets, assets, new_app
from graft.server.door import host_name
from graft.server.failures import Refusal, absent
from graft.server.pictures import SIDES, Thumbnails, thumbnail
from graft.server.run import OWN_NAMES

PAGE = Path(__file__).parent / "page"
SHARED = ("style.css", "parts.js", "icon.svg")
KEPT_PICTURES = 32 * 2**20  # bytes


class Answer(shapes.Request):
    """A label for an item, or null to set it aside; `new` allows a label that is not known yet."""

    item: Annotated[str, Field(max_length=200)]
    label: Annotated[str, Field(max_length=LONGEST_LABEL)] | None
    new: bool = False


class Undo(shapes.Request):
    """The item whose answer is taken back; left out, the one answered last."""

    item: Annotated[str, Field(max_length=200)] | None = None


def make_app(session: Session, folder: Path) -> FastAPI:
    """The application. `folder` is where `labels.csv` is written when it is asked for."""
    app = new_app(
        "Graft labelling", "Items to label, one after the other; every answer is on disk before it is confirmed."
    )
    _add_session(app, session)
    _add_items(app, session, folder)
    add_assets(app, {**assets(SERVED_PAGE, SHARED), **assets(PAGE)}, home="label.html")
    return app


def check_origin(request: HttpRequest) -> None:
    """Only this page may write: a page of another site, or one that took the name of this machine, may not. Raises Refusal (403)."""
    host, origin = request.headers.get("host", ""), request.headers.get("origin")
    if host_name(host) not in OWN_NAMES or origin not in (None, f"http://{host}"):
        raise Refusal(403, "UsageError", "Labels are taken from this machine's own page only.")


def _add_session(app: FastAPI, session: Session) -> None:
    ranking = asyncio.Lock()

    @app.get("/v1/labelling", summary="Labels, progress and the next items")
    async def state(request: HttpRequest) -> Response:
        check_origin(request)
        return shapes.json(session.state())

    @app.post("/v1/answers", summary="Label an item, or set it aside")
    async def answer(request: HttpRequest, given: Answer) -> Response:
        check_origin(request)
        session.answer(given.item, given.label, new=given.new)
        return shapes.json(session.state())

    @app.post("/v1/undo", summary="Take an answer back")
    async def undo(request: HttpRequest, given: Undo) -> Response:
        check_origin(request)
        session.undo(given.item)
        return shapes.json(session.state())

    @app.post("/v1/batches", summary="Rank what is left by all labels so far, and go on with the best")
    async def batch(request: HttpRequest) -> Response:
        check_origin(request)
        async with ranking:
            session.begin(await asyncio.to_thread(session.next_batch()))
        return shapes.json(session.state())


def _add_items(app: FastAPI, session: Session, folder: Path) -> None:
    kept = Thumbnails(KEPT_PICTURES)
    jpeg: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": {}}, "description": "A JPEG."}}

    @app.get("/v1/items/{key}/picture", response_class=Response, responses=jpeg, summary="An item's picture")
    async def picture(
        request: HttpRequest, key: str, size: Annotated[str, Query(pattern="^(small|large)$")] = "large"
    ) -> Response:
        check_origin(request)
        source = session.pool.contents[session.row(key)]
        if not isinstance(source, ImageSource):
            raise absent("This item is a text.")
        made = kept.get((key, size))
        if made is None:
            try:
                made = thumbnail(await asyncio.to_thread(source.read_bytes), SIDES[size])
            except OSError as problem:
                raise absent(f"The picture cannot be read: {problem.strerror}.") from problem
            kept.put((key, size), made)
        return Response(made, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})

    @app.get("/labels.csv", response_class=Response, summary="The labels so far, as graft fit takes them")
    async def table(request: HttpRequest) -> Response:
        check_origin(request)
        path = save_labels(folder, session.pool, session.journal)
        head = {"content-disposition": 'attachment; filename="labels.csv"'}
        return Response(path.read_bytes(), media_type="text/csv; charset=utf-8", headers=head)
