"""`graft bridge fit`: let texts find pictures, learned from pairs of your own."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from graft.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from graft.encoding import Encoded
    from graft.listings.pairs import Pairs
    from graft.results import EncoderSummary, Fault
    from graft.retrieval.learned import BridgeFit, Candidate


@dataclass(frozen=True)
class BridgeResult:
    """The bridge in `out`, and the evidence: `candidates` hold recalls on held-out pictures and paired gains over the first of them.

    Recalls are of finding a text's picture among the `pool` pictures of a fold. `columns` says what was read as picture and text; rows that
    could not be used are in `faults`.
    """

    chosen: str
    why: str
    candidates: tuple[Candidate, ...]
    pictures: int
    pairs: int
    pool: int
    settings: Mapping[str, Any]
    encoder: EncoderSummary
    text_encoder: EncoderSummary
    columns: Mapping[str, str]
    faults: tuple[Fault, ...]
    out: str
    seconds: float


def fit(
    pairs: Annotated[str | Path, "Table (.csv .tsv .jsonl .parquet) of pictures with texts, or data:flickr8k_1000."],
    *,
    out: Annotated[Path | str, "New folder for the bridge."],
    encoder: Annotated[str | None, "Encoder of the pictures. Default: the bundled one."] = None,
    text_encoder: Annotated[str | None, "Encoder of the texts. Default: the bundled one."] = None,
    content: Annotated[str | None, "Column of picture paths; guessed when left out."] = None,
    text: Annotated[str | None, "Column of texts; guessed when left out."] = None,
    seed: Annotated[int, "Seed of folds and training."] = 0,
) -> BridgeResult:
    """Learn from some hundred pictures with texts how words find pictures, and keep the bridge only if held-out pairs say so.

    Several rows may name one picture. Where learning gains nothing over the names of the picture encoder's own classes, the bridge written
    is that one.

    Raises UsageError when `out` exists or a column is not there, DataError when there are too few pairs or they teach nothing,
    MissingError when an encoder is not here, StorageError when `out` cannot be written.
    """
    from graft.encoders.open import BUNDLED, open_encoder
    from graft.encoding import encode
    from graft.listings.pairs import read_pairs
    from graft.results import to_json
    from graft.retrieval.bridges import Ends, names_bridge, save_bridge
    from graft.retrieval.learned import fit_bridge
    from graft.store.cache import VectorCache
    from graft.store.files import check_writable

    started = time.perf_counter()
    target = Path(out)
    _check_new(target)
    check_writable(target)
    read = read_pairs(pairs, image=content, text=text)
    pictures = open_encoder(encoder or BUNDLED["image"], modality="image")
    words = open_encoder(text_encoder or BUNDLED["text"], modality="text")
    with VectorCache.open() as cache:
        seen = encode(read.images, pictures, ids=read.ids, cache=cache)
        said = encode(read.texts, words, ids=read.ids, cache=cache)
        names = names_bridge(pictures, cache=cache, text=words)
    kept, x_ND, q_NT = _both(read, seen, said)
    found = fit_bridge(x_ND, q_NT, groups_N=read.groups[kept], ends=Ends.of(words, pictures), names=names, seed=seed)
    result = _result(found, read, seen, said, str(target), time.perf_counter() - started)
    save_bridge(found.bridge, target, about=to_json(result))
    return result


def _check_new(out: Path) -> None:
    """Before any work is done for it: what is written at the end would not replace anything."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"--out {out}: it exists and is not overwritten. Choose another name, or remove it first.")


def _both(
    pairs: Pairs, seen: Encoded, said: Encoded
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Positions of the pairs of which both sides could be encoded, and their vectors."""
    import numpy as np

    kept, of_pictures, of_texts = np.intersect1d(seen.index, said.index, assume_unique=True, return_indices=True)
    if not len(kept):
        raise DataError(
            f"None of the {len(pairs):,} pairs can be read.", faults=(*pairs.faults, *seen.faults, *said.faults)
        )
    return kept, seen.vectors[of_pictures], said.vectors[of_texts]


def _result(found: BridgeFit, pairs: Pairs, seen: Encoded, said: Encoded, out: str, seconds: float) -> BridgeResult:
    return BridgeResult(
        chosen=found.chosen,
        why=found.why,
        candidates=found.candidates,
        pictures=found.pictures,
        pairs=found.pairs,
        pool=found.pool,
        settings=found.settings,
        encoder=seen.summary,
        text_encoder=said.summary,
        columns=pairs.columns,
        faults=(*pairs.faults, *seen.faults, *said.faults),
        out=out,
        seconds=seconds,
    )
