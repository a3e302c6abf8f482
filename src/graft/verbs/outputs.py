"""Tables that verbs write: answers and vectors, the format by the file's suffix, whole or not at all, never over another file.

Legend: N items, D dims.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.data.tables import csv_line
from graft.errors import UsageError
from graft.results import Prediction, to_json
from graft.store.files import check_writable, write_with

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from graft.opened import Predictions
    from graft.targets.opened import Estimate, Estimates

ANSWER_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
VECTOR_SUFFIXES = (".parquet", ".npy")


def check_target(out: Path, allowed: Sequence[str]) -> None:
    """Raise UsageError unless `out` is new and has one of the `allowed` suffixes, StorageError where it cannot be written: before
    any work is done for it."""
    if out.suffix.lower() not in allowed:
        raise UsageError(f"--out {out}: the suffix {out.suffix!r} is not written. Allowed: {', '.join(allowed)}.")
    for path in (out, items_file(out)) if out.suffix.lower() == ".npy" else (out,):
        if path.exists():
            raise UsageError(
                f"--out {path}: it exists and is not overwritten. Choose another name, or remove it first."
            )
    check_writable(out)


def write_answers(out: Path, answers: Predictions | Estimates) -> None:
    """One row an item. Of classes: item, label (empty when unsure), probability, and the likeliest labels: top_1, p_1, top_2, ... in CSV and TSV,
    one list in JSON lines and Parquet. Of numbers and counts: item, value, low, high; of levels and sets of labels: item, label or labels
    (divided by |), and those with their probabilities as above. Raises StorageError.
    """
    rows = [_row(answer, answers) for answer in answers]
    write = {".jsonl": _answers_jsonl, ".parquet": _answers_parquet}.get(out.suffix.lower(), _answers_csv)
    write_with(out, lambda path: write(path, rows))


def _row(answer: Prediction | Estimate, answers: Predictions | Estimates) -> dict[str, Any]:
    """One answer as cells; `top` holds (label, probability) pairs where the answer is in words."""
    if isinstance(answer, Prediction):
        return {"item": answer.item, "label": answer.label, "probability": answer.probability, "top": answer.top}
    task = getattr(answers, "task", "")
    if task in ("number", "count"):
        return {"item": answer.item, "value": answer.value, "low": answer.low, "high": answer.high}
    name = "label" if task == "ordinal" else "labels"
    return {"item": answer.item, name: "|".join(answer.labels), "top": answer.probabilities}


def _answers_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    plain = [name for name in rows[0] if name != "top"] if rows else ["item"]
    most = max((len(row.get("top", ())) for row in rows), default=0)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    lines = [csv_line([*plain, *(f"{name}_{i + 1}" for i in range(most) for name in ("top", "p"))], delimiter)]
    for row in rows:
        cells = ["" if row[name] is None else row[name] for name in plain]
        lines.append(csv_line([*cells, *(cell for pair in row.get("top", ()) for cell in pair)], delimiter))
    path.write_text("\n".join([*lines, ""]), encoding="utf-8", newline="\n")


def _answers_jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(to_json(row)) + "\n" for row in rows)


def _answers_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    likeliest = pa.list_(pa.struct([("label", pa.string()), ("probability", pa.float64())]))
    kinds = {"item": pa.string(), "label": pa.string(), "labels": pa.string(), "top": likeliest}
    columns = {}
    for name in rows[0] if rows else ("item",):
        cells = [row[name] for row in rows]
        if name == "top":
            cells = [[{"label": label, "probability": p} for label, p in cell] for cell in cells]
        columns[name] = pa.array(cells, kinds.get(name, pa.float64()))
    pq.write_table(pa.table(columns), path)


def items_file(out: Path) -> Path:
    """The file beside `V.npy` that says which item each row is: `V.items.json`."""
    return out.with_suffix(".items.json")


def write_vectors(
    out: Path,
    vectors_ND: NDArray[np.float32],
    ids: Sequence[str],
    labels: Sequence[str | None],
    encoder: Mapping[str, Any],
) -> tuple[str, ...]:
    """Write vectors with the ids and labels of their items; returns the files written. Raises StorageError.

    Parquet: columns id, label (null where there is none) and vector (list of float32), the encoder as JSON in the schema's metadata
    under `graft.encoder`. NPY: the array (N, D), and `V.items.json` with ids, labels and encoder, written first.
    """
    if out.suffix.lower() == ".parquet":
        write_with(out, lambda path: _vectors_parquet(path, vectors_ND, ids, labels, encoder))
        return (str(out),)
    import numpy as np

    beside = items_file(out)
    tree = {"encoder": encoder, "ids": list(ids), "labels": list(labels)}
    write_with(beside, lambda path: path.write_text(json.dumps(tree), encoding="utf-8"))
    write_with(out, lambda path: np.save(path, vectors_ND, allow_pickle=False))
    return (str(out), str(beside))


def _vectors_parquet(
    path: Path,
    vectors_ND: NDArray[np.float32],
    ids: Sequence[str],
    labels: Sequence[str | None],
    encoder: Mapping[str, Any],
) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    n, dim = vectors_ND.shape
    ends = pa.array(np.arange(n + 1, dtype=np.int32) * dim)  # list offsets: the array's memory is used as it is
    columns = {
        "id": pa.array(ids, pa.string()),
        "label": pa.array(labels, pa.string()),
        "vector": pa.ListArray.from_arrays(ends, pa.array(vectors_ND.reshape(-1), pa.float32())),
    }
    pq.write_table(pa.table(columns).replace_schema_metadata({"graft.encoder": json.dumps(encoder)}), path)
