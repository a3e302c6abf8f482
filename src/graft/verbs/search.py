"""`graft search`: words, a picture or examples find items of an index; or the search itself is measured and improved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from graft.errors import UsageError

if TYPE_CHECKING:
    from graft.search_results import Evaluation, SearchResult


def search(
    index: Annotated[str | Path, "Folder of an index."],
    query: Annotated[str | None, "What to look for, in words."] = None,
    *,
    image: Annotated[Path | str | None, "A picture to look for the like of."] = None,
    like: Annotated[Sequence[str], "Find items like the one of this id."] = (),
    unlike: Annotated[Sequence[str], "And unlike the one of this id."] = (),
    where: Annotated[str | None, "Only items for which this holds, such as \"price < 10 AND label = 'cat'\"."] = None,
    hybrid: Annotated[bool, "Join the ranking by meaning with one by words (BM25), for texts."] = False,
    top: Annotated[int, "How many items to find, 1 to 10,000."] = 10,
    html: Annotated[Path | str | None, "Write the answer as a page with pictures to this new file."] = None,
    evaluate: Annotated[
        str | None,
        "Measure the search: a table of query, id and relevance; data:NAME; or a column whose values are queries.",
    ] = None,
    learn: Annotated[
        str | None, "With --evaluate: items that queries may be improved from, such as \"part = 'train'\"."
    ] = None,
    adopt: Annotated[bool, "With --evaluate: from now on search with the improvement that helped most."] = False,
    seed: Annotated[int, "Seed of every random draw."] = 0,
) -> SearchResult | Evaluation:
    """Find items by words, by a picture, by examples, or a mixture of them.

    Every hit says how far it stands out from what the collection gives to any query; when none does, nothing matches, and the answer
    says so. `--evaluate` measures the search on judged queries, tries ways to improve it, and says which helped by how much.

    Raises MissingError without an index, ModelError when it is damaged or was made with another encoder, UsageError for a query, filter or
    flags that cannot be understood, DataError for an unknown id or a bad picture.
    """
    from graft.retrieval.opened import open_index

    opened = open_index(index)
    if evaluate is not None:
        if query is not None or image is not None or like or unlike or html is not None:
            raise UsageError(
                "--evaluate asks the queries it is given: QUERY, --image, --like, --unlike and --html do not go with it."
            )
        from graft.judging.evaluation import judge

        return judge(opened, evaluate, where=where, learn=learn, adopt=adopt, seed=seed)
    if learn is not None or adopt:
        raise UsageError("--learn and --adopt go with --evaluate.")
    likes, unlikes = ([ids] if isinstance(ids, str) else list(ids) for ids in (like, unlike))
    target = None if html is None else Path(html).expanduser()
    if target is not None:
        _check_page(target)
    result = opened.search(query, k=top, image=image, like=likes, unlike=unlikes, where=where, hybrid=hybrid)
    if target is not None:
        from graft.reports.contact import contact_sheet
        from graft.store.files import write_bytes

        pictures = opened.modality in ("image", "both")
        write_bytes(target, contact_sheet(result, pictures=pictures).encode())
    return result


def _check_page(target: Path) -> None:
    from graft.store.files import check_writable

    if target.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--html {target}: give a name that ends in .html.")
    if target.exists():
        raise UsageError(f"--html {target}: it exists and is not overwritten. Choose another name, or remove it first.")
    check_writable(target)
