"""How long `fit` takes beside the encoding it needs, and how long the door takes to open.

    python bench/fit.py [--items 2000] [--rounds 3]

Everything is measured in one run, in fresh processes: `python -c pass` against `import graft` and `graft --help`; then `fit` on
generated programme descriptions and on digits as pictures, with an empty cache and again with a full one. Ratios are to the
seconds of encoding in the same run. Writes bench/results/fit.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
DOORS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import graft": [sys.executable, "-c", "import graft"],
    "graft --help": [str(Path(sys.executable).parent / "graft"), "--help"],
}


def seconds(command: list[str], environment: dict[str, str] | None = None) -> float:
    """Wall time of one process; raises when it fails."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return time.perf_counter() - started


def doors(rounds: int) -> dict[str, dict[str, float]]:
    """Median and range of each door's seconds, interleaved so that a busy machine slows all alike."""
    times: dict[str, list[float]] = {name: [] for name in DOORS}
    for _ in range(rounds):
        for name, command in DOORS.items():
            times[name].append(seconds(command))
    return {name: {"median": statistics.median(t), "low": min(t), "high": max(t)} for name, t in times.items()}


def fits(data: str, rounds: int) -> list[dict[str, float]]:
    """`fit` in fresh processes: the first with an empty cache, the second with a full one, once a round."""
    rows = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "GRAFT_CACHE": f"{folder}/cache"}
            for name in ("first", "second"):
                out = f"{folder}/{name}"
                whole = seconds([DOORS["graft --help"][0], "fit", data, "--out", out], environment)
                parts = json.loads((Path(out) / "result.json").read_text())["seconds"]
                after = sum(parts[part] for part in ("select", "refit", "report"))
                rows.append({"run": name == "second", "whole": whole, "after_encoding": after, **parts})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", nargs="+", default=["data:streamcatalogue:2000", "data:digits"])
    arguments = parser.parse_args()
    result: dict[str, object] = {"doors": doors(2 * arguments.rounds + 1)}
    for name, row in result["doors"].items():  # type: ignore[attr-defined]
        print(f"{name:16} {row['median']:.3f} s ({row['low']:.3f} to {row['high']:.3f})")
    for data in arguments.data:
        rows = fits(data, arguments.rounds)
        result[data] = rows
        for again in (False, True):
            chosen = [row for row in rows if row["run"] == again]
            whole, encode, after = (
                statistics.median(row[key] for row in chosen) for key in ("whole", "encode", "after_encoding")
            )
            print(
                f"{data} {'cached' if again else 'empty cache':12} whole {whole:.1f} s, encode {encode:.1f} s, after encoding {after:.1f} s"
            )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "fit.json").write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
