"""What the routes read and write, for checking requests and for `/openapi.json`. Imported only by the server: pydantic is heavy."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.responses import Response

from graft.server.limits import Limits

LIMITS = Limits()
Text = Annotated[str, Field(min_length=1, max_length=LIMITS.text)]
Ids = Annotated[list[Annotated[str, Field(max_length=4096)]], Field(max_length=LIMITS.examples)]


def json(tree: Any) -> Response:
    """An answer that is shaped as one of these."""
    return Response(orjson.dumps(tree), media_type="application/json")


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 5.0 is a whole one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]
K = Annotated[Whole, Field(ge=1, le=LIMITS.k)]
Where = Annotated[str, Field(min_length=1, max_length=LIMITS.where)]


class Request(BaseModel):
    """Fields that are not known, and numbers written as words, are refused: what is misspelt must not be ignored."""

    model_config = ConfigDict(extra="forbid", strict=True)


class SearchRequest(Request):
    """At least one of `text`, `image` and `like` says what is looked for."""

    text: Text | None = Field(None, description="Words; they find texts, and pictures where the index knows how.")
    image: str | None = Field(None, description="A picture file in base64.")
    like: Ids = Field(default=[], description="Ids of items: more like these.")
    unlike: Ids = Field(default=[], description="Ids of items: less like these.")
    where: Where | None = Field(None, description="A filter on the columns, such as \"price < 10 AND label = 'cat'\".")
    k: K = Field(10, description="How many hits.")
    hybrid: bool = Field(False, description="Also match the words themselves (BM25).")


class PredictRequest(Request):
    """Texts for a model of texts."""

    texts: Annotated[list[Annotated[str, Field(max_length=100_000)]], Field(min_length=1, max_length=256)]
    top: Annotated[Whole, Field(ge=1, le=100)] = 3


class RecommendRequest(Request):
    """Either `user` or `history` says for whom; an empty history is someone of whom nothing is known."""

    user: Text | None = Field(None, description="Id of a known person.")
    history: Annotated[list[Text], Field(max_length=LIMITS.history)] | None = Field(
        None, description="Ids or titles of what anyone likes; titles may be written loosely."
    )
    k: K = Field(10, description=f"How many; at most {LIMITS.varied} where diversity is above 0.")
    where: Where | None = Field(
        None, description="Only items for which this holds: \"array_has(categories, 'Comedy')\"."
    )
    exclude_seen: bool = Field(True, description="Leave out what the person has already liked or left.")
    diversity: Annotated[float, Field(ge=0, le=1)] = Field(0.0, description="0 the best, 1 as unlike as can be.")


class SimilarRequest(Request):
    """One item, by id or by a title that may be written loosely, or the text of one that is not in the catalogue: one of the two."""

    item: Text | None = None
    text: Text | None = None
    k: K = 10
    where: Where | None = Field(None, description="Only items for which this holds.")


class FaultShape(BaseModel):
    """One thing that was wrong."""

    where: str
    problem: str
    value: str = ""
    about: str = ""


class ErrorShape(BaseModel):
    """What went wrong."""

    kind: str
    message: str
    faults: list[FaultShape] = []


class Failure(BaseModel):
    """Every answer that is not a success."""

    error: ErrorShape


class HitShape(BaseModel):
    """`confidence` in 0..1 says how far the hit stands out from what the collection gives to any query."""

    id: str
    score: float
    confidence: float
    content: str
    payload: dict[str, Any]


class SearchAnswer(BaseModel):
    """`matched` is false when nothing stands out: nothing matches."""

    query: str
    hits: list[HitShape]
    matched: bool
    items: int
    version: int
    seconds: float
    note: str


class ViewShape(BaseModel):
    """One way in which items are compared."""

    name: str
    dim: int
    metric: str


class IndexShape(BaseModel):
    """One index, as it is served now. `trouble` says why a newer version is not."""

    name: str
    items: int
    version: int
    modality: str
    views: list[ViewShape]
    columns: dict[str, str]
    trouble: str | None


class IndexList(BaseModel):
    """All of them."""

    indexes: list[IndexShape]


class ItemShape(BaseModel):
    """One item of an index."""

    id: str
    content: str
    payload: dict[str, Any]


class ItemList(BaseModel):
    """Some of them."""

    items: list[ItemShape]


class ModelShape(BaseModel):
    """One model. `task` is classify, number, count, ordinal or multilabel; `classes` are its labels or levels, none of numbers and counts.

    A classifier says below `threshold` that it is unsure; intervals of numbers, counts and levels are meant to hold the truth of `coverage`.
    """

    name: str
    modality: str
    task: str
    classes: list[str]
    threshold: float | None
    coverage: float | None
    strategy: str
    encoder: str


class ModelList(BaseModel):
    """All of them."""

    models: list[ModelShape]


class PredictionShape(BaseModel):
    """`label` is null where the model is unsure; `top` holds the likeliest (label, probability), best first."""

    label: str | None
    probability: float
    top: list[tuple[str, float]]


class EstimateShape(BaseModel):
    """Another target than classes: `value` of a number or a count with the ends of its interval; of levels the answer as the one of `labels`, and ends
    as positions from 0; of several labels those that reach their thresholds. `probabilities` hold (name, probability): all levels in their order, or
    the likeliest labels, best first."""

    value: float | None
    low: float | None
    high: float | None
    labels: list[str]
    probabilities: list[tuple[str, float]]


class PredictAnswer(BaseModel):
    """One prediction for each text, in their order."""

    predictions: list[PredictionShape] | list[EstimateShape]


class IntervalShape(BaseModel):
    """A measured value with its 95 % interval, and the people behind it."""

    value: float
    low: float | None
    high: float | None
    n: int


class RecommenderShape(BaseModel):
    """One recommender, as it is served now, with what was measured when it was fitted. `trouble` says why a newer version is not."""

    name: str
    version: str
    model: str
    items: int
    people: int
    likes: int
    why: str
    measure: str
    metrics: dict[str, IntervalShape]
    trouble: str | None


class RecommenderList(BaseModel):
    """All of them."""

    recommenders: list[RecommenderShape]


class TitleShape(BaseModel):
    """An item and its title, which is its id where it has none."""

    item: str
    title: str


class TitleList(BaseModel):
    """The nearest to what was typed come first."""

    titles: list[TitleShape]


class CatalogueItem(BaseModel):
    """One item; `reason` says how many people like it."""

    item: str
    title: str
    categories: list[str]
    reason: str


class RecommendationShape(BaseModel):
    """`score` is the model's own: larger is better, of no unit. `title` is the id where there is none; `reason` is one clause."""

    item: str
    title: str
    score: float
    reason: str


class RecommendAnswer(BaseModel):
    """Answers, best first. `asked`: titles of what was understood; `notes`: what should be known of the answer."""

    recommendations: list[RecommendationShape]
    asked: list[str]
    model: str
    notes: list[str]


class Health(BaseModel):
    """`status` is "cold" where an encoder cannot be read, so that what needs it cannot answer (`cold`: name -> why); else "stale" while a newer version
    of something cannot be served; else "warming" until the encoders of what is served (`warming`) have been read; else "ok"."""

    status: str
    indexes: list[IndexShape]
    models: list[str]
    recommenders: list[RecommenderShape]
    warming: list[str]
    cold: dict[str, str]


class Vectors(BaseModel):
    """One vector or several, as long as the view has dimensions."""

    model_config = ConfigDict(extra="forbid")

    vector: list[float] | None = None
    vectors: list[list[float]] | None = None
    k: K = 10
    view: str | None = None
    where: Where | None = None


class VectorsAnswer(BaseModel):
    """For "vector" a list of ids and scores; for "vectors" and raw rows one such list for each."""

    version: int
    ids: list[str] | list[list[str]]
    scores: list[float] | list[list[float]]
