"""How long `fit` takes beside the encoding it needs, and how long the door takes to open.

    python bench/fit.py [--rounds 3] [--data DATA ...]

Everything is measured in one run, in fresh processes: `python -c pass` against `import graft` and `graft --help`; then `fit` on 2,000
generated programme descriptions and on digits as pictures (and, where `GRAFT_DATA` has it, on all of CIFAR-10, once), with an empty
cache and again with a full one. Ratios are to the seconds of encoding in the same run. Writes bench/results/fit.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
GRAFT = str(Path(sys.executable).parent / "graft")
DOORS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import graft": [sys.executable, "-c", "import graft"],
    "graft --help": [GRAFT, "--help"],
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


def catalogue(folder: Path) -> str:
    """A table of 2,000 programme descriptions with their categories."""
    from graft.data.catalogue import programmes

    path = folder / "programmes.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["description", "category"])
        writer.writerows([row.description, row.category] for row in programmes(2000, 0))
    return str(path)


def fits(name: str, data: str, rounds: int) -> list[dict[str, Any]]:
    """`fit` in fresh processes: the first with an empty cache, the second with a full one, once a round; medians of the rounds."""
    runs: dict[str, list[dict[str, float]]] = {"first": [], "second": []}
    items = 0
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "GRAFT_CACHE": f"{folder}/cache"}
            for run, rows in runs.items():
                out = Path(folder) / run
                whole = seconds([GRAFT, "fit", data, "--out", str(out)], environment)
                result = json.loads((out / "result.json").read_text())
                parts, items = result["seconds"], result["data"]["items"]
                after = sum(parts[part] for part in ("select", "refit", "report"))
                rows.append({"whole": whole, "encode": parts["encode"], "after_encoding": after})
    return [
        {"data": name, "items": items, "run": run, "rounds": rounds}
        | {key: round(statistics.median(row[key] for row in rows), 2) for key in rows[0]}
        for run, rows in runs.items()
    ]


def main() -> None:
    from graft import settings
    from graft.fitting.session import environment

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", nargs="+", help="data to fit instead")
    flags = parser.parse_args()
    load = round(os.getloadavg()[0], 1)
    result: dict[str, Any] = {"machine": environment(), "date": time.strftime("%Y-%m-%d"), "load": load}
    result["doors"] = doors(2 * flags.rounds + 1)
    for name, row in result["doors"].items():
        print(f"{name:16} {row['median']:.3f} s ({row['low']:.3f} to {row['high']:.3f})", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        asked = [("programmes", catalogue(Path(folder)), flags.rounds), ("digits", "data:digits", flags.rounds)]
        place = settings.data_dir()
        if place is not None and (place / "cifar10").is_dir():
            asked.append(("cifar10", "data:cifar10", 1))
        if flags.data:
            asked = [(data, data, flags.rounds) for data in flags.data]
        result["fits"] = []
        for name, data, rounds in asked:
            result["fits"] += fits(name, data, rounds)
            for row in result["fits"][-2:]:
                print(row, flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "fit.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
