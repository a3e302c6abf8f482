"""The routes that are not hot, with FastAPI: requests checked, answers shaped, everything told in `/openapi.json`.

Imported only when a server starts. No annotation is postponed here, as FastAPI reads them.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, File, Form, Query, UploadFile
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from graft.results import Fault, to_json
from graft.server import shapes
from graft.server.desk import Desk, hits
from graft.server.failures import Refusal, bad
from graft.server.pictures import SIDES, uploaded
from graft.server.recommenders import add_recommenders, facts_of
from graft.server.releases import Release
from graft.targets.opened import Estimator

PAGE = Path(__file__).parent / "page"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": shapes.Failure, "description": text}
    for status, text in {
        400: "The request cannot be answered as it is.",
        404: "There is no such thing here.",
        408: "The request's body came too slowly.",
        413: "The request is too large.",
        415: "The content type is not read here.",
        500: "A defect, or a model that was damaged.",
        503: "Too much is waiting, or something needed is missing.",
        504: "The answer took too long.",
    }.items()
}
IndexName = Annotated[str, InPath(description="An index's name, as /v1/indexes lists it.")]
ModelName = Annotated[str, InPath(description="A model's name, as /v1/models lists it.")]
Picture = Annotated[UploadFile, File(description="A picture file.")]


def make_app(desk: Desk, measures_text: Any) -> FastAPI:
    """The application; `measures_text()` is the page of `/metrics`."""
    app = new_app("Graft", "Search, classification and recommendations by models that were taken the rest of the way.")
    _add_indexes(app, desk)
    _add_search(app, desk)
    _add_models(app, desk)
    add_recommenders(app, desk)
    _add_service(app, desk, measures_text)
    _add_pages(app, desk)
    _describe(app)
    return app


def new_app(title: str, description: str) -> FastAPI:
    """An application without routes, whose errors have our one shape."""
    app = FastAPI(
        title=title,
        version="1",
        description=description,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=PROBLEMS,
    )
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_http)
    return app


def assets(folder: Path, names: Sequence[str] = ()) -> dict[str, bytes]:
    """The files of a page by name: those named, or all of its kinds."""
    found = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in TYPES}
    return {name: found[name] for name in names} if names else found


def asset(files: Mapping[str, bytes], name: str) -> Response:
    """One file of a page."""
    return Response(files[name], media_type=TYPES[Path(name).suffix], headers={"cache-control": "no-cache"})


def add_assets(app: FastAPI, files: Mapping[str, bytes], home: str | None = None) -> None:
    """Answer /page/NAME with these files, and / with the one named `home`."""

    @app.get("/page/{file}", include_in_schema=False)
    async def answered(file: str) -> Response:
        if file not in files:
            raise HTTPException(404)
        return asset(files, file)

    if home is not None:

        @app.get("/", include_in_schema=False)
        async def first() -> Response:
            return asset(files, home)


async def _invalid(request: HttpRequest, error: RequestValidationError) -> Response:  # noqa: ARG001
    def value(given: Any) -> str:
        text = repr(given)
        return text if len(text) <= 60 else text[:57] + "..."

    faults = [Fault(".".join(map(str, e["loc"])), e["msg"], value(e.get("input"))) for e in error.errors()[:20]]
    first = faults[0]
    return _refused(Refusal(400, "UsageError", f"{first.where}: {first.problem}.", faults=faults))


async def _http(request: HttpRequest, error: HTTPException) -> Response:
    path, method = request.url.path, request.method
    if error.status_code == 404:
        return _refused(Refusal(404, "NotFound", f"There is nothing at {path}. GET /openapi.json lists the routes."))
    allow = (error.headers or {}).get("Allow")
    if error.status_code == 405:
        return _refused(
            Refusal(405, "UsageError", f"{method} is not answered at {path}. Allowed: {allow}.", allow=allow)
        )
    return _refused(Refusal(error.status_code, "UsageError", str(error.detail)))


def _refused(refusal: Refusal) -> Response:
    return Response(refusal.body(), refusal.status, dict(refusal.headers), "application/json")


def _facts(desk: Desk, release: Release) -> dict[str, Any]:
    index = release.index
    return {
        "name": release.name,
        "items": len(index),
        "version": index.version,
        "modality": index.modality,
        "views": [{"name": v.name, "dim": v.dim, "metric": v.metric} for v in index.views.values()],
        "columns": dict(index.columns),
        "trouble": desk.releases.troubles.get(release.name),
    }


def _add_indexes(app: FastAPI, desk: Desk) -> None:
    @app.get("/v1/indexes", response_model=shapes.IndexList, summary="The indexes served")
    async def indexes() -> Response:
        return shapes.json({"indexes": [_facts(desk, release) for release in desk.releases.indexes.values()]})

    @app.get("/v1/indexes/{name}", response_model=shapes.IndexShape, summary="Facts of one index")
    async def index(name: IndexName) -> Response:
        return shapes.json(_facts(desk, desk.release(name)))

    @app.get("/v1/indexes/{name}/items", response_model=shapes.ItemList, summary="Some items, spread evenly")
    async def items(name: IndexName, count: Annotated[int, Query(ge=1, le=100)] = 12) -> Response:
        return shapes.json({"items": await desk.some(name, count)})

    jpeg: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": {}}, "description": "A JPEG."}}

    @app.get(
        "/v1/indexes/{name}/items/{id:path}/picture",
        response_class=Response,
        responses=jpeg,
        summary="An item's picture, made small",
    )
    async def picture(
        name: IndexName, id: str, size: Annotated[str, Query(pattern="^(small|large)$")] = "small"
    ) -> Response:
        made = await desk.picture(name, id, size if size in SIDES else "small")
        return Response(made, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})

    @app.get("/v1/indexes/{name}/items/{id:path}", response_model=shapes.ItemShape, summary="One item")
    async def item(name: IndexName, id: str) -> Response:
        return shapes.json(await desk.item(name, id))


def _add_search(app: FastAPI, desk: Desk) -> None:
    @app.post(
        "/v1/indexes/{name}/search", response_model=shapes.SearchAnswer, summary="Search by words, picture or examples"
    )
    async def search(name: IndexName, request: shapes.SearchRequest) -> Response:
        desk.release(name)
        image = None if request.image is None else uploaded(_decoded(request.image), desk.limits.pixels)
        if not (request.text and request.text.strip()) and image is None and not request.like:
            raise bad("Say what to look for: text, image or like.")
        options = request.model_dump(exclude={"text", "image"})
        release, found = await desk.search(name, text=request.text, image=image, **options)
        return shapes.json(hits(release, found))

    @app.post(
        "/v1/indexes/{name}/search/upload", response_model=shapes.SearchAnswer, summary="Search by an uploaded picture"
    )
    async def upload(
        name: IndexName,
        picture: Picture,
        where: Annotated[shapes.Where | None, Form()] = None,
        k: Annotated[shapes.K, Form()] = 10,
    ) -> Response:
        desk.release(name)
        image = uploaded(await picture.read(), desk.limits.pixels)
        release, found = await desk.search(name, image=image, where=where, k=k)
        return shapes.json(hits(release, found))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise bad(f"image is not base64: {error}.") from error


def _add_models(app: FastAPI, desk: Desk) -> None:
    def facts(name: str) -> dict[str, Any]:
        model = desk.model(name)
        if isinstance(model, Estimator):
            told = {"classes": list(model.manifest.classes), "threshold": None, "coverage": model.coverage}
        else:
            told = {"classes": list(model.classes), "threshold": model.threshold, "coverage": None}
        return {
            "name": name,
            "modality": model.modality,
            "task": model.manifest.task,
            **told,
            "strategy": model.manifest.strategy,
            "encoder": model.manifest.encoder.reference,
        }

    async def answer(name: str, contents: Sequence[Any], top: int) -> Response:
        found = await desk.predict(name, contents, top)
        trees = [asdict(prediction) for prediction in found]
        return shapes.json({"predictions": [{k: v for k, v in to_json(tree).items() if k != "item"} for tree in trees]})

    @app.get("/v1/models", response_model=shapes.ModelList, summary="The models served")
    async def models() -> Response:
        return shapes.json({"models": [facts(name) for name in desk.releases.models]})

    @app.get("/v1/models/{name}", response_model=shapes.ModelShape, summary="Facts of one model")
    async def model(name: ModelName) -> Response:
        return shapes.json(facts(name))

    @app.post("/v1/models/{name}/predict", response_model=shapes.PredictAnswer, summary="Answer texts")
    async def predict(name: ModelName, request: shapes.PredictRequest) -> Response:
        return await answer(name, request.texts, request.top)

    @app.post(
        "/v1/models/{name}/predict/upload", response_model=shapes.PredictAnswer, summary="Answer an uploaded picture"
    )
    async def predict_upload(
        name: ModelName, picture: Picture, top: Annotated[int, Form(ge=1, le=100)] = 3
    ) -> Response:
        desk.model(name)
        return await answer(name, [uploaded(await picture.read(), desk.limits.pixels)], top)


def _add_service(app: FastAPI, desk: Desk, measures_text: Any) -> None:
    @app.get("/health", response_model=shapes.Health, summary="Whether all is well")
    async def health() -> Response:
        releases = desk.releases
        facts = [_facts(desk, release) for release in releases.indexes.values()]
        status = "cold" if releases.cold else "stale" if releases.troubles else "warming" if releases.warming else "ok"
        fitted = [facts_of(desk, release) for release in releases.recommenders.values()]
        return shapes.json(
            {
                "status": status,
                "indexes": facts,
                "models": list(releases.models),
                "recommenders": fitted,
                "warming": sorted(releases.warming),
                "cold": dict(releases.cold),
            }
        )

    @app.get(
        "/metrics",
        response_class=Response,
        summary="Counts and times, for Prometheus",
        responses={200: {"content": {"text/plain": {}}, "description": "Text format 0.0.4."}},
    )
    async def metrics() -> Response:
        return Response(measures_text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_pages(app: FastAPI, desk: Desk) -> None:
    files = assets(PAGE)

    @app.get("/", include_in_schema=False)
    async def home() -> Response:
        served = desk.releases
        if served.indexes or not (served.models or served.recommenders):
            return asset(files, "search.html")
        return asset(files, "recommend.html" if served.recommenders else "model.html")

    @app.get("/models/{name}", include_in_schema=False)
    async def model_page(name: str) -> Response:
        desk.model(name)
        return asset(files, "model.html")

    @app.get("/recommenders/{name}", include_in_schema=False)
    async def recommender_page(name: str) -> Response:
        desk.recommender(name)
        return asset(files, "recommend.html")

    add_assets(app, files)


def _describe(app: FastAPI) -> None:
    """`/openapi.json` with the hot route, which FastAPI does not answer, and without the 422 that it would answer with."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            tree = plain()
            tree["paths"]["/v1/indexes/{name}/vectors"] = {"post": _vectors()}
            known = tree["components"]["schemas"]
            for shape in (shapes.Vectors, shapes.VectorsAnswer):
                known[shape.__name__] = shape.model_json_schema(ref_template="#/components/schemas/{model}")
            known["Vectors"]["oneOf"] = [{"required": ["vector"]}, {"required": ["vectors"]}]
            for operations in tree["paths"].values():
                for operation in operations.values():
                    operation["responses"].pop("422", None)
            for unused in ("HTTPValidationError", "ValidationError"):
                known.pop(unused, None)
        return app.openapi_schema or tree

    app.openapi = openapi  # type: ignore[method-assign]


def _vectors() -> dict[str, Any]:
    def json(name: str) -> dict[str, Any]:
        return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}

    def parameter(name: str, place: str, schema: dict[str, Any]) -> dict[str, Any]:
        return {"name": name, "in": place, "required": place == "path", "schema": schema}

    raw = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    k = {"type": "integer", "minimum": 1, "maximum": shapes.LIMITS.k, "default": 10}
    failures = {str(s): {"description": p["description"], "content": json("Failure")} for s, p in PROBLEMS.items()}
    return {
        "summary": "Search by vectors: the quick way in",
        "description": "JSON, or raw little-endian float32 rows with k, view and where in the URL.",
        "operationId": "vectors",
        "parameters": [
            parameter("name", "path", {"type": "string"}),
            parameter("k", "query", k),
            parameter("view", "query", {"type": "string"}),
            parameter("where", "query", {"type": "string"}),
        ],
        "requestBody": {"required": True, "content": json("Vectors") | raw},
        "responses": {"200": {"description": "Ids and scores.", "content": json("VectorsAnswer")}} | failures,
    }
