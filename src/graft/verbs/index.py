"""`graft index`: items, their vectors and a search structure in a folder that is never half written; run again, it is brought up to date."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from graft.errors import UsageError

if TYPE_CHECKING:
    from graft.search_results import IndexResult, IndexVersions


def index(
    data: Annotated[
        str | Path | None,
        "Folder, zip, table (.csv .tsv .jsonl .parquet), or data:NAME; left out with --delete and the like.",
    ] = None,
    *,
    out: Annotated[Path | str, "Folder of the index: made when it is not there, brought up to date when it is."],
    encoder: Annotated[str | None, "Encoder reference. Default: the bundled one for texts or pictures."] = None,
    content: Annotated[str | None, "Column of texts or picture paths; guessed when left out."] = None,
    text: Annotated[str | None, "Column of texts that go with pictures: they are encoded too."] = None,
    id: Annotated[str | None, "Column of ids; guessed when left out, else an item is named by its content."] = None,
    bridge: Annotated[
        str,
        "How words find pictures: auto (class names, unless the encoder has a text tower), none, or a folder of `bridge fit`.",
    ] = "auto",
    metric: Annotated[Literal["cosine", "dot", "euclidean"], "How vectors are compared."] = "cosine",
    kind: Annotated[
        Literal["auto", "exact", "ivf", "ivfpq"], "Search structure; auto is exact while that takes about 1 ms a query."
    ] = "auto",
    recall: Annotated[float, "Share of the ten nearest that must be found, measured on your own vectors."] = 0.95,
    memory: Annotated[float | None, "Gigabytes that vectors may take in memory; above, they are compressed."] = None,
    delete: Annotated[Sequence[str], "Take out the item of this id."] = (),
    prune: Annotated[bool, "Take out every item that DATA does not have."] = False,
    rebuild: Annotated[
        bool, "Build the search structures anew, as kind, recall and memory now say, whatever changed."
    ] = False,
    versions: Annotated[bool, "List the versions that can be returned to."] = False,
    rollback: Annotated[bool, "Return to the version before the one that is served."] = False,
    strict: Annotated[bool, "Stop if any item is faulty, instead of going on without it."] = False,
) -> IndexResult | IndexVersions:
    """Index items for search, or bring an index up to date.

    Items are known by their ids: new ones are added, changed ones encoded again, the rest is left as it is. What is read while this
    runs is the former version; the new one takes its place in one step, and `--rollback` brings the former back.

    Raises DataError when nothing can be indexed, ModelError when the index was made with another encoder, UsageError when flags
    contradict each other, MissingError when an encoder is not here, StorageError when `out` cannot be written.
    """
    from graft.listings.listing import read_listing
    from graft.retrieval.indexing import columns, history, update
    from graft.retrieval.indexing import rollback as return_to
    from graft.retrieval.viewing import Wanted

    folder = Path(out).expanduser()
    if versions or rollback:
        if data is not None or delete or prune or rebuild or versions == rollback:
            raise UsageError("--versions and --rollback stand alone, beside --out.")
        return history(folder) if versions else return_to(folder)
    if data is None and (prune or not (delete or rebuild)):
        raise UsageError(
            "Give DATA to index; without it only --delete, --rebuild, --versions and --rollback can be done."
        )
    wanted = Wanted(
        encoder=encoder,
        bridge=bridge,
        metric=metric,
        kind=kind,
        recall=recall,
        memory=None if memory is None else int(memory * 2**30),
        rebuild=rebuild,
    )
    wanted.check()
    listing = None
    if data is not None:
        listing = read_listing(data, content=content, text=text, key=id, types=columns(folder), strict=strict)
    taken_out = [delete] if isinstance(delete, str) else list(delete)
    return update(folder, listing, wanted, delete=taken_out, prune=prune, strict=strict)
