"""`graft recommend`: "more like this" and "for you", from a table of who liked what and when."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from graft.errors import UsageError

if TYPE_CHECKING:
    from graft.recommending.opened import OpenedRecommender, Recommendations
    from graft.recommending.result import RecommendResult


def fit(
    interactions: Annotated[str | Path, "Table of likes (.csv .tsv .jsonl .parquet .dat), or data:NAME."],
    *,
    out: Annotated[Path | str | None, "Folder to write, which must not exist. Default: graft-out/NAME."] = None,
    items: Annotated[str | Path | None, "Table of items: id, title, categories, text, picture, date."] = None,
    users: Annotated[str | Path | None, "Table of people: id and features."] = None,
    items_columns: Annotated[
        str | None,
        "Columns of --items, others guessed: id=Key,title=Name,categories=Genre,text=Plot,picture=File,date=Year.",
    ] = None,
    users_columns: Annotated[
        str | None, "Columns of --users: id=Key,age=Age; features not named are then left out."
    ] = None,
    user: Annotated[str | None, "Column of people; guessed when left out."] = None,
    item: Annotated[str | None, "Column of items; guessed when left out."] = None,
    rating: Annotated[str | None, "Column of ratings; guessed when left out."] = None,
    event: Annotated[str | None, "Column of kinds of events; guessed when left out."] = None,
    time: Annotated[str | None, "Column of times; guessed when left out."] = None,
    like: Annotated[float | None, "Rating from which a row is a like. Default: four fifths of the highest."] = None,
    events: Annotated[str | None, "Strength of each kind of event, 0 for none: purchase=5,view=1,left=0."] = None,
    split: Annotated[
        Literal["auto", "time", "last", "random"],
        "What is held out: likes after a moment, each person's last, or some at random. auto: by time where there are times.",
    ] = "auto",
    models: Annotated[str | None, "Models to try, divided by commas. Default: all that the data allow."] = None,
    measure: Annotated[
        Literal["ndcg@10", "hr@10", "recall@100", "mrr"], "What settings and models are chosen by."
    ] = "ndcg@10",
    budget: Annotated[str, "Time for trying settings, shared equally among the models: 90s, 10m, 2h."] = "5m",
    encoder: Annotated[
        str | None, "Encoder of the items' texts or pictures, by which new items are placed. Default: the bundled ones."
    ] = None,
    tower: Annotated[str | None, "Settings of the two towers, as in temperature=0.2,random=0.5,left=0.5."] = None,
    seed: Annotated[int, "Seed of every random draw."] = 0,
) -> RecommendResult:
    """Learn what people like from who liked what, measured against popularity and other honest baselines.

    Every model is tuned on a part of the training likes with the same time, and taken only if it beats the best of the simpler ones beyond
    doubt; all are then measured once on likes held out. Writes result.json, report.html and model/ into OUT.

    Raises UsageError for flags that cannot work, DataError when the table cannot be learned from, MissingError for what is not here,
    StorageError when `out` cannot be written.
    """
    flags = {name: value for name, value in locals().items() if name != "interactions"}
    from graft.fitting.session import at_once, command_line, environment, free_folder
    from graft.interactions.columns import Columns
    from graft.interactions.read import read_interactions
    from graft.recommending.flow import Request, publish, recommended
    from graft.recommending.models import kinds_named, with_tower
    from graft.settings import duration
    from graft.towers.training import read_tower

    weights, wanted, given, seconds, of_items, of_users = at_once(
        lambda: _weights(events),
        lambda: kinds_named(models),
        lambda: read_tower(tower or ""),
        lambda: duration(budget),
        lambda: _roles("--items-columns", items_columns),
        lambda: _roles("--users-columns", users_columns),
    )
    wanted = with_tower(wanted, given)
    if out is not None:
        free_folder(Path(out), "")
    reading = read_interactions(
        interactions,
        columns=Columns(user=user, item=item, rating=rating, event=event, time=time, items=of_items, users=of_users),
        like=like,
        events=weights,
        items=items,
        users=users,
    )
    folder = free_folder(None if out is None else Path(out), reading.name)
    command = command_line("recommend fit", interactions, flags, fit.__kwdefaults__ or {})
    request = Request(split, wanted, measure, seconds, encoder, seed, command, str(interactions))
    return publish(recommended(reading, request), folder, environment())


def for_(
    model: Annotated[str | Path, "Folder that recommend fit wrote."],
    *,
    user: Annotated[str | None, "Id of a person of the table."] = None,
    history: Annotated[
        Sequence[str], "Titles or ids that a person likes, divided by commas; quote a title that holds one."
    ] = (),
    where: Annotated[str | None, "Condition on items, as in \"array_has(categories, 'Comedy')\"."] = None,
    include_seen: Annotated[bool, "Also what the person has already liked or left."] = False,
    diversity: Annotated[float, "0 for the best, up to 1 for the most unlike each other."] = 0.0,
    top: Annotated[int, "How many."] = 10,
) -> Recommendations:
    """Recommend items for a known person, or for anyone by what they like.

    Raises UsageError for flags that cannot work, DataError for a history of unknown titles, naming the nearest, MissingError or ModelError
    for a model that cannot be opened.
    """
    from graft.recommending.opened import open_recommender

    if (user is None) == (not history):
        raise UsageError('Say for whom: --user ID, or --history "Toy Story,Home Alone".')
    opened = open_recommender(model)
    users = None if user is None else [user]
    liked = None if user is not None else [_titles(history, opened)]
    (found,) = opened.recommend(users, liked, top, where=where, exclude_seen=not include_seen, diversity=diversity)
    return found


def like(
    model: Annotated[str | Path, "Folder that recommend fit wrote."],
    title: Annotated[str | None, "Title or id of an item; it may be written loosely."] = None,
    *,
    text: Annotated[
        str | None, "What a new item says, which is not in the catalogue: title, categories, description."
    ] = None,
    image: Annotated[Path | str | None, "Picture of a new item."] = None,
    where: Annotated[str | None, 'Condition on items, as in "date > 946684800".'] = None,
    top: Annotated[int, "How many."] = 10,
) -> Recommendations:
    """Find the items most like one of them, by who likes them, or most like a new one, by its text or picture.

    Raises DataError for a title that is not found, naming the nearest, UsageError for flags that cannot work, MissingError or ModelError for
    a model or a picture that cannot be opened.
    """
    from graft.recommending.opened import open_recommender

    if sum(given is not None for given in (title, text, image)) != 1:
        raise UsageError(
            'Name an item, or say what a new one is like: a title, --text "..." or --image FILE, one of the three.'
        )
    opened = open_recommender(model)
    if title is None:
        return opened.similar_to_new(text=text, image=image, k=top, where=where)
    return opened.similar(title, top, where=where)


def _titles(history: Sequence[str], opened: OpenedRecommender) -> list[str]:
    """Titles of a history: a value that is itself a title stays whole, others are divided at commas outside quotes."""
    found: list[str] = []
    for value in history:
        if "," not in value or opened.knows(value):
            found.append(value)
        else:
            (parts,) = csv.reader([value], skipinitialspace=True)
            found += [part.strip() for part in parts if part.strip()]
    return found


def _roles(flag: str, columns: str | None) -> dict[str, str]:
    """Role to column. Raises UsageError for what is not written role=column, and for a role named twice."""
    found: dict[str, str] = {}
    for part in filter(None, (p.strip() for p in (columns or "").split(","))):
        role, sign, name = (word.strip() for word in part.partition("="))
        if not sign or not role or not name:
            raise UsageError(
                f"{flag} {part!r}: it is written role=column, as in id=Key,title=Name; none for no such column."
            )
        if role in found:
            raise UsageError(f"{flag} names two columns for {role}: {found[role]!r} and {name!r}.")
        found[role] = name
    return found


def _weights(events: str | None) -> dict[str, float] | None:
    """Kinds of events with their strength. Raises UsageError for what is not written kind=number."""
    if events is None:
        return None
    found: dict[str, float] = {}
    for part in filter(None, (p.strip() for p in events.split(","))):
        kind, sign, strength = part.rpartition("=")
        try:
            found[kind.strip()] = float(strength)
        except ValueError:
            sign = ""
        if not sign or not found.get(kind.strip(), -1.0) >= 0:
            raise UsageError(
                f"--events {part!r}: it is written kind=strength with a strength of 0 or more, as in purchase=5,view=1,left=0."
            )
    return found
