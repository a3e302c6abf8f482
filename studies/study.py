"""What every study shares: its arguments, its files of results, and the check of what it expects.

A study is a module with a `STUDY`: `measure` runs Graft and returns plain numbers, `present` turns those numbers, and nothing else,
into words, tables and figures. So every figure that is printed stands in `result.json`, and a page can be written again from it.

    python -m studies.e01_folds            full run; needs the public sets of GRAFT_DATA; writes studies/results/e01_folds
    python -m studies.e01_folds --quick    a few seconds, on data that come with Graft; writes to a temporary folder
    python -m studies.study                writes the pages and the index again from the results
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from graft.results import Interval, to_json

HERE = Path(__file__).parent
Numbers = dict[str, Any]
Range = tuple[float, float]
MARKS = ("<!-- index: written by python -m studies.study -->", "<!-- end of index -->")


@dataclass(frozen=True)
class Table:
    """Rows of words under columns of words."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Page:
    """What is said of the numbers: `answer` in one line, `reading` in two or three sentences, figures by file name (SVG)."""

    answer: str
    reading: str
    tables: Sequence[Table]
    figures: Mapping[str, str]


@dataclass(frozen=True)
class Setting:
    """How it is run: `quick` on small data, `encoder` in the place of the study's own."""

    quick: bool = False
    encoder: str | None = None


@dataclass(frozen=True)
class Study:
    """A question and the way to its answer. `expected` bounds numbers by their path, "layers > last layer > accuracy > value"; so does `expected_quick`."""

    name: str
    title: str
    question: str
    measure: Callable[[Setting], Numbers]
    present: Callable[[Numbers], Page]
    expected: Mapping[str, Range]
    expected_quick: Mapping[str, Range]
    takes_encoder: bool = field(default=False)


def about(value: float, tolerance: float) -> Range:
    """Within `tolerance` of `value`."""
    return value - tolerance, value + tolerance


def few_digits(folder: Path) -> Path:
    """Every sixth of the handwritten digits that come with Graft, in one folder a digit: what quick runs search in. Returns `folder`."""
    from graft.data.read import read

    digits = read("data:digits")
    for item, content in sorted(zip(digits.ids, digits.contents, strict=True), key=lambda pair: pair[0])[::6]:
        assert not isinstance(content, str)
        (folder / item).parent.mkdir(parents=True, exist_ok=True)
        (folder / item).write_bytes(content.read_bytes())
    return folder


def run(study: Study, setting: Setting, out: Path) -> Numbers:
    """Measure, check, and write `out`; returns what stands in its `result.json`. Numbers off their range are in `checks`, with ok false."""
    from graft.fitting.session import environment

    started, clock = time.strftime("%Y-%m-%d"), time.perf_counter()
    numbers = json.loads(json.dumps(to_json(study.measure(setting))))
    bounds = study.expected_quick if setting.quick else study.expected
    flags = ["--quick"] * setting.quick + (["--encoder", setting.encoder] if setting.encoder else [])
    result = {
        "study": study.name,
        "question": study.question,
        "command": " ".join(["python -m", f"studies.{study.name}", *flags]),
        "quick": setting.quick,
        "encoder": setting.encoder,
        "date": started,
        "seconds": round(time.perf_counter() - clock, 1),
        "machine": {"cores": len(os.sched_getaffinity(0)), "load": round(os.getloadavg()[0], 1), **environment()},
        "checks": checks(numbers, {} if setting.encoder else bounds),
        "numbers": numbers,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "result.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write_page(study, result, out)
    return result


def checks(numbers: Numbers, bounds: Mapping[str, Range]) -> list[dict[str, Any]]:
    """Each expected number with its range, and whether it lies inside."""
    found = []
    for path, (low, high) in bounds.items():
        value: Any = numbers
        for key in path.split(" > "):
            value = value[key]
        found.append({"number": path, "value": value, "low": low, "high": high, "ok": bool(low <= value <= high)})
    return found


def write_page(study: Study, result: Mapping[str, Any], out: Path) -> None:
    """`README.md` and the figures from a result alone."""
    page = study.present(result["numbers"])
    for name, drawing in page.figures.items():
        (out / name).write_text(drawing, encoding="utf-8")
    (out / "README.md").write_text(page_text(study, result, page), encoding="utf-8")


def page_text(study: Study, result: Mapping[str, Any], page: Page) -> str:
    """The text of `README.md`."""
    machine = result["machine"]
    lines = [f"# {study.title}", "", study.question, "", f"**{page.answer}**", ""]
    for table in page.tables:
        lines += [table.title, ""] * bool(table.title) + [_row(table.columns), _row(["---"] * len(table.columns))]
        lines += [*map(_row, table.rows), ""]
    for name in page.figures:
        lines += [f"![{name.removesuffix('.svg').replace('_', ' ')}]({name})", ""]
    lines += [page.reading, "", "## How", ""]
    lines += [
        f"`{result['command']}`, {result['date']}, {result['seconds']:.0f} s on {machine['cores']} cores of {machine['processor']} "
        f"(load {machine['load']}), Graft {machine['graft']}. "
        "What was drawn, the seeds and the raw values are in [result.json](result.json)."
    ]
    if result["checks"]:
        lines += [
            "",
            "Expected, or the study's test fails:",
            "",
            _row(["number", "value", "from", "to"]),
            _row(["---"] * 4),
        ]
        lines += [_row([c["number"], *(f"{c[k]:.4g}" for k in ("value", "low", "high"))]) for c in result["checks"]]
    return "\n".join(lines) + "\n"


def percent(tree: Mapping[str, Any], digits: int = 1) -> str:
    """A share with its interval as people write it: `81.2 % (79.9–82.5)`; takes an `Interval` as `to_json` left it."""
    ends = "" if tree["low"] is None else f" ({100 * tree['low']:.{digits}f}–{100 * tree['high']:.{digits}f})"
    return f"{100 * tree['value']:.{digits}f} %{ends}"


def points(tree: Mapping[str, Any], digits: int = 1) -> str:
    """A difference of shares in percentage points, signed, with its interval."""
    ends = "" if tree["low"] is None else f" ({100 * tree['low']:+.{digits}f} to {100 * tree['high']:+.{digits}f})"
    return f"{100 * tree['value']:+.{digits}f}{ends}".replace("-", "−")


def ends(tree: Mapping[str, Any]) -> tuple[float, float]:
    """(low, high) for a chart; the value itself where there is no interval."""
    return (tree["value"], tree["value"]) if tree["low"] is None else (tree["low"], tree["high"])


def over_seeds(values: Sequence[float]) -> Interval:
    """Mean over seeds with its 95 % interval (Student's t)."""
    from graft.metrics.intervals import mean_interval

    return mean_interval(list(values))


def share_over_seeds(values: Sequence[float]) -> Interval:
    """`over_seeds` for shares: the interval ends at 0 and 1."""
    mean = over_seeds(values)
    low, high = (None if end is None else min(1.0, max(0.0, end)) for end in (mean.low, mean.high))
    return replace(mean, low=low, high=high)


def write_index() -> None:
    """Pages of all recorded results, and the table of `studies/README.md`, written again."""
    rows = [_row(["study", "question", "answer", "command"]), _row(["---"] * 4)]
    for study in all_studies():
        folder = HERE / "results" / study.name
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        write_page(study, result, folder)
        answer = study.present(result["numbers"]).answer
        rows.append(
            _row([f"[{study.title}](results/{study.name}/README.md)", study.question, answer, f"`{result['command']}`"])
        )
    index = HERE / "README.md"
    before, _, rest = index.read_text(encoding="utf-8").partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    index.write_text(before + "\n".join([MARKS[0], *rows, MARKS[1]]) + after, encoding="utf-8")


def all_studies() -> list[Study]:
    """Every study of this folder, in order of name."""
    modules = sorted(path.stem for path in HERE.glob("[a-z][0-9][0-9]_*.py"))
    return [importlib.import_module(f"studies.{module}").STUDY for module in modules]


def main(study: Study) -> None:
    """The command line of a study; leaves with 1 when a number has drifted."""
    parser = argparse.ArgumentParser(description=study.question)
    parser.add_argument("--quick", action="store_true", help="a few seconds on data that come with Graft")
    parser.add_argument("--out", type=Path, help="folder to write")
    if study.takes_encoder:
        parser.add_argument("--encoder", help="another encoder, such as hub:openai/clip-vit-base-patch32")
    flags = parser.parse_args()
    setting = Setting(flags.quick, getattr(flags, "encoder", None))
    recorded = not setting.quick and not setting.encoder
    out = flags.out or (HERE / "results" / study.name if recorded else Path(tempfile.mkdtemp(prefix=f"{study.name}-")))
    result = run(study, setting, out)
    print((out / "README.md").read_text(encoding="utf-8"))
    print(out)
    drifted = [c["number"] for c in result["checks"] if not c["ok"]]
    sys.exit(f"Drifted: {', '.join(drifted)}" if drifted else 0)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


if __name__ == "__main__":
    write_index()
