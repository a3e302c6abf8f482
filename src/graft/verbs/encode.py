"""`graft encode`: the vectors alone, for tools of your own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from graft.errors import DataError

if TYPE_CHECKING:
    from graft.results import EncoderSummary, Fault


@dataclass(frozen=True)
class Encoding:
    """What was encoded and where it is: `items` rows in `files`; items that could not be used are in `faults`."""

    items: int
    files: tuple[str, ...]
    encoder: EncoderSummary
    faults: tuple[Fault, ...]
    seconds: float


def encode(
    data: Annotated[str | Path, "Folder, zip, table (.csv .tsv .jsonl .parquet) or data:NAME."],
    *,
    out: Annotated[
        Path | str, "New file for the vectors: .parquet (id, label, vector) or .npy (with .items.json beside)."
    ],
    encoder: Annotated[str | None, "Encoder reference. Default: the bundled one for texts or pictures."] = None,
    label: Annotated[str | None, "Column of labels; guessed when left out."] = None,
    content: Annotated[str | None, "Column of texts or picture paths; guessed when left out."] = None,
    strict: Annotated[bool, "Stop if any item is faulty, instead of going on without it."] = False,
) -> Encoding:
    """Write the vectors of your items to a table or an array.

    Vectors come from the cache where they are in it. Labels are not needed; where there are some they are written beside the vectors, and
    an item without a usable one is no fault.

    Raises UsageError when `out` exists or is of another kind, DataError when nothing can be read (or with `strict`, anything cannot),
    MissingError when the encoder is not here, StorageError when `out` cannot be written.
    """
    from graft import encoding
    from graft.data.read import read
    from graft.encoders.open import BUNDLED, open_encoder
    from graft.results import to_json
    from graft.store.cache import VectorCache
    from graft.verbs.outputs import VECTOR_SUFFIXES, check_target, write_vectors

    target = Path(out)
    check_target(target, VECTOR_SUFFIXES)
    dataset = read(data, label=label, content=content)
    faults = tuple(fault for fault in dataset.faults if fault.about == "content")
    if strict and faults:
        raise DataError(f"{data}: {len(faults):,} of its items cannot be used. --strict stops here.", faults=faults)
    opened = open_encoder(encoder or BUNDLED[dataset.modality], modality=dataset.modality)
    with VectorCache.open() as cache:
        encoded = encoding.encode(dataset.contents, opened, ids=dataset.ids, cache=cache)
    faults = (*faults, *encoded.faults)
    if not len(encoded.index) or (strict and encoded.faults):
        raise DataError(f"{len(encoded.faults)} of {len(dataset)} items of {data} cannot be read.", faults=faults)
    codes = dataset.labels[encoded.index]
    labels = [dataset.classes[code] if code >= 0 else None for code in codes]
    ids = [dataset.ids[position] for position in encoded.index]
    files = write_vectors(target, encoded.vectors, ids, labels, to_json(encoded.summary))
    return Encoding(len(ids), files, encoded.summary, faults, encoded.seconds)
