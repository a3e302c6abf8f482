"""The routes of recommenders: "for you", "more like this", titles as they are typed.

Imported only when a server starts. No annotation is postponed here, as FastAPI reads them.
"""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import FastAPI, Query
from fastapi import Path as InPath
from starlette.responses import Response

from graft.errors import DataError
from graft.recommending.opened import OpenedRecommender, Recommendations
from graft.results import to_json
from graft.server import shapes
from graft.server.desk import Desk
from graft.server.failures import absent, bad
from graft.server.releases import RecommenderRelease

Name = Annotated[str, InPath(description="A recommender's name, as /v1/recommenders lists it.")]
Typed = Annotated[str, Query(min_length=1, max_length=shapes.LIMITS.text, description="What was typed so far.")]


def add_recommenders(app: FastAPI, desk: Desk) -> None:
    """Add the routes under /v1/recommenders."""
    _add_facts(app, desk)
    _add_answers(app, desk)


def facts_of(desk: Desk, release: RecommenderRelease) -> dict[str, Any]:
    """A `RecommenderShape`."""
    return {"name": release.name, **release.facts, "trouble": desk.releases.troubles.get(release.name)}


def _add_facts(app: FastAPI, desk: Desk) -> None:
    @app.get("/v1/recommenders", response_model=shapes.RecommenderList, summary="The recommenders served")
    async def recommenders() -> Response:
        served = desk.releases.recommenders.values()
        return shapes.json({"recommenders": [facts_of(desk, release) for release in served]})

    @app.get("/v1/recommenders/{name}", response_model=shapes.RecommenderShape, summary="Facts of one recommender")
    async def recommender(name: Name) -> Response:
        return shapes.json(facts_of(desk, desk.recommender(name)))

    @app.get("/v1/recommenders/{name}/titles", response_model=shapes.TitleList, summary="Titles, as one is typed")
    async def titles(name: Name, q: Typed, k: Annotated[int, Query(ge=1, le=100)] = 8) -> Response:
        found = await desk.told(name, lambda opened: opened.suggestions(q, k))
        return shapes.json({"titles": [{"item": item, "title": title} for item, title in found]})

    @app.get(
        "/v1/recommenders/{name}/items/{id:path}",
        response_model=shapes.CatalogueItem,
        summary="One item, by id or title",
    )
    async def item(name: Name, id: str) -> Response:
        if len(id) > shapes.LIMITS.text:
            raise bad(f"An id or title has at most {shapes.LIMITS.text:,} characters.")
        return shapes.json(await desk.told(name, lambda opened: _item(opened, id)))


def _add_answers(app: FastAPI, desk: Desk) -> None:
    async def answer(name: str, ask: Callable[[OpenedRecommender], Recommendations]) -> Response:
        tree = to_json(await desk.told(name, ask))
        for each in tree["recommendations"]:
            each["title"] = each["title"] or each["item"]
        return shapes.json(tree)

    @app.post("/v1/recommenders/{name}/recommend", response_model=shapes.RecommendAnswer, summary="For you")
    async def recommend(name: Name, request: shapes.RecommendRequest) -> Response:
        if (request.user is None) == (request.history is None):
            raise bad('Say for whom: either "user" or "history".')
        if request.diversity and request.k > shapes.LIMITS.varied:
            raise bad(f"With diversity above 0, k is at most {shapes.LIMITS.varied}; it is {request.k:,}.")
        if request.history and len(request.history) * request.k > shapes.LIMITS.reasons:
            raise bad(
                f"A history of {len(request.history):,} with k = {request.k:,} is too much for one request: their product is at most "
                f"{shapes.LIMITS.reasons:,}."
            )
        users = None if request.user is None else [request.user]
        histories = None if request.history is None else [request.history]
        options = request.model_dump(exclude={"user", "history"})
        return await answer(name, lambda opened: opened.recommend(users, histories, **options)[0])

    @app.post("/v1/recommenders/{name}/similar", response_model=shapes.RecommendAnswer, summary="More like this")
    async def similar(name: Name, request: shapes.SimilarRequest) -> Response:
        options: dict[str, Any] = {"k": request.k, "where": request.where}
        if (item := request.item) is not None and request.text is None:
            return await answer(name, lambda opened: opened.similar(item, **options))
        if item is not None or request.text is None:
            raise bad('Like what: either "item", or the "text" of a new one.')
        return await answer(name, lambda opened: opened.similar_to_new(text=request.text, **options))


def _item(opened: OpenedRecommender, id: str) -> dict[str, Any]:
    try:
        (code,) = opened.codes([id])
    except DataError as error:
        raise absent(error.message) from error
    return {
        "item": opened.interactions.items[code],
        "title": opened.title(code),
        "categories": list(opened.catalogue.categories[code]),
        "reason": opened.reasons([code], ())[0],
    }
