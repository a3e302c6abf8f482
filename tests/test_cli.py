"""The command line: flags from signatures, exit codes, one JSON object, errors without tracebacks, bars only where wanted."""

from __future__ import annotations

import errno
import io
import json
import logging
import runpy
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from graft import cli, settings
from graft.errors import DataError, GraftError, MissingError, ModelError, StorageError, UsageError
from graft.results import Fault, Interval

DOCS = Path(__file__).parents[1] / "docs"
Graft = Callable[..., tuple[int, str, str]]


@pytest.fixture
def graft(capsys: pytest.CaptureFixture[str]) -> Graft:
    """Runs a command line in this process: exit code, stdout, stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        code = cli.main(words)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """Puts a function in the place of every verb's."""

    def replace(function: Callable[..., Any]) -> None:
        monkeypatch.setattr(cli, "verb", lambda name: function)  # noqa: ARG005

    return replace


def test_without_words_it_says_what_it_is_for(graft: Graft) -> None:
    code, out, err = graft()
    assert (code, err) == (0, "")
    assert "graft fit" in out and "graft predict" in out


def test_help_lists_every_verb(graft: Graft) -> None:
    code, out, _ = graft("--help")
    assert code == 0
    assert all(f"\n  {name}" in out for name in cli.VERBS)


@pytest.mark.parametrize("name", cli.every_verb())
def test_help_of_a_verb_has_all_its_flags(graft: Graft, name: str) -> None:
    code, out, _ = graft(*name.split(), "--help")
    known = cli.parameters(cli.verb(name))
    assert code == 0
    assert all(p.flag in out for p in known)
    assert all(
        f"[default: {p.default}]" in " ".join(out.split()) for p in known if isinstance(p.default, int) and p.default
    )
    assert "--json" in out and "--debug" in out and "Raises" not in out


@pytest.mark.parametrize("name", cli.every_verb())
def test_every_parameter_is_explained(name: str) -> None:
    assert all(p.help.endswith(".") for p in cli.parameters(cli.verb(name)))


def test_every_verb_is_on_the_list() -> None:
    folder = Path(cli.__file__).parent / "verbs"
    verbs = {p.stem for p in folder.glob("*.py") if f"\ndef {p.stem}(" in p.read_text()}
    assert verbs | set(cli.GROUPS) | {"serve", "label"} == set(cli.VERBS)


@pytest.mark.parametrize("first", cli.GROUPS)
def test_a_group_of_verbs_tells_its_second_words(graft: Graft, first: str) -> None:
    code, out, _ = graft(first, "--help")
    assert code == 0
    assert all(f"\n  {word}" in out for word in cli.GROUPS[first])
    code, _, err = graft(first, "nonsense")
    assert code == 2
    assert "'nonsense' is not known" in err and cli.GROUPS[first][0] in err


@pytest.mark.parametrize("name", cli.every_verb())
def test_the_pages_of_the_verbs_are_current(name: str) -> None:
    generator = runpy.run_path(str(DOCS / "generate.py"))
    assert generator["page"](name).read_text() == generator["current"](name), "run `make docs`"


def test_the_version(graft: Graft) -> None:
    code, out, _ = graft("--version")
    assert (code, out) == (0, "graft 0.1.0\n")


def sample(
    data: Annotated[str | Path, "Data."],
    more: Annotated[Sequence[str], "More."],
    *,
    size: Annotated[float | None, "Size."] = None,
    count: Annotated[int, "Count."] = 0,
    part: Annotated[str | float | None, "Path or fraction."] = None,
    loud: Annotated[bool, "Loud."] = False,
    way: Annotated[Literal["up", "down"], "Way."] = "up",
    too_many: Annotated[Sequence[str], "Words."] = (),
    out: Annotated[Path | None, "Out."] = None,
) -> dict[str, Any]:
    """Return what was given."""
    return {"data": data, "more": more, "size": size, "count": count, "part": part, "loud": loud, "way": way,
            "too_many": too_many, "out": out}  # fmt: skip


def test_flags_are_read_from_the_signature(graft: Graft, stand_in: Callable[..., None]) -> None:
    stand_in(sample)
    kinds = {p.name: (p.flag, p.kind, p.many, p.required) for p in cli.parameters(sample)}
    assert kinds == {
        "data": ("DATA", str, False, True),
        "more": ("MORE...", str, True, True),
        "size": ("--size", float, False, False),
        "count": ("--count", int, False, False),
        "part": ("--part", str, False, False),
        "loud": ("--loud", bool, False, False),
        "way": ("--way", ("up", "down"), False, False),
        "too_many": ("--too-many", str, True, False),
        "out": ("--out", Path, False, False),
    }
    plain = {"data": "d", "more": ["m", "n"], "size": None, "count": 0, "part": None, "loud": False, "way": "up",
             "too_many": [], "out": None}  # fmt: skip
    code, out, err = graft("fit", "d", "m", "n", "--json")
    assert (code, err, json.loads(out)) == (0, "", plain)
    words = [
        "d",
        "m",
        "n",
        "--size",
        "2",
        "--count",
        "3",
        "--part",
        ".5",
        "--loud",
        "--way",
        "down",
        "--too-many",
        "a",
        "--too-many",
        "b",
        "--out",
        "/o/p",
    ]
    _, out, _ = graft("fit", *words, "--json")
    assert json.loads(out) == plain | {
        "size": 2.0, "count": 3, "part": ".5", "loud": True, "way": "down", "too_many": ["a", "b"], "out": "/o/p",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("fitt",), "Did you mean 'fit'?"),
        (("show", "--jsn", "x"), "Did you mean '--json'?"),
        (("show",), "PATH"),
        (("fit", "d", "--shots", "few"), "'few' is not a valid integer"),
        (("show", "a", "b"), "unexpected"),
        (("--jso",), "--jso"),
    ],
)
def test_usage_errors_help(graft: Graft, words: tuple[str, ...], says: str) -> None:
    code, out, err = graft(*words)
    assert (code, out) == (2, "")
    assert says in err and "--help" in err and err.startswith("error: ")
    code, out, err = graft(*words, "--json")
    assert (code, err) == (2, "")
    assert json.loads(out)["error"]["exit_code"] == 2


FAULTS = tuple(Fault(f"row {i}", "empty", "x" * i) for i in range(30))


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (UsageError("a"), 2, "a"),
        (DataError("a", faults=FAULTS), 3, "row 19: empty"),
        (ModelError("a"), 3, "a"),
        (MissingError("a"), 4, "a"),
        (StorageError("a"), 4, "a"),
        (GraftError("a"), 1, "a"),
        (KeyboardInterrupt(), 130, "give the same command again"),
        (MemoryError(), 4, "not enough memory"),
        (OSError(errno.ENOSPC, "No space", "/x/y"), 4, "disk is full (/x/y)"),
        (PermissionError(errno.EACCES, "denied", "/x"), 4, "Permission denied (/x)"),
        (OSError(errno.EROFS, "ro"), 4, "read-only"),
        (FileNotFoundError(errno.ENOENT, "gone", "/x"), 4, "no such file (/x)"),
        (ModuleNotFoundError("x", name="granian"), 4, "'granian' is not installed"),
        (ModuleNotFoundError("x", name="graft.nothing"), 1, "defect"),
        (KeyError("k"), 1, "defect of Graft: KeyError: 'k'. `--debug`"),
        (RuntimeError("r"), 1, "RuntimeError: r"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_errors_have_their_exit_codes(
    graft: Graft, stand_in: Callable[..., None], error: BaseException, code: int, says: str
) -> None:
    def fails() -> None:
        raise error

    stand_in(fails)
    assert graft("doctor")[0] == code
    cli.main(["doctor"])
    found, out, err = graft("doctor")
    assert (found, out) == (code, "")
    assert says in err
    assert "Traceback" not in err
    found, out, err = graft("doctor", "--json")
    assert (found, err) == (code, "")
    tree = json.loads(out)["error"]
    assert tree["exit_code"] == code
    assert len(tree["faults"]) == len(getattr(error, "faults", ()))
    assert "Traceback" in graft("doctor", "--debug")[2]


def test_people_see_twenty_faults_and_programs_all(graft: Graft, stand_in: Callable[..., None]) -> None:
    def fails() -> None:
        raise DataError("Bad.", faults=FAULTS)

    stand_in(fails)
    err = graft("doctor")[2]
    assert err.count("empty") == 20 and "... and 10 more" in err


def test_what_libraries_print_does_not_reach_stdout(graft: Graft, stand_in: Callable[..., None]) -> None:
    def talks() -> Interval:
        print("chatter")
        logging.getLogger("somebody").warning("gossip")
        logging.getLogger("graft").warning("The cache is off.")
        warnings.warn("old", stacklevel=1)
        return Interval(0.5, float("nan"), None, 3)

    stand_in(talks)
    code, out, err = graft("doctor", "--json")
    assert (code, err) == (0, "chatter\nnote: The cache is off.\n")
    assert json.loads(out) == {"value": 0.5, "low": None, "high": None, "n": 3}
    with pytest.warns(UserWarning, match="old"):
        graft("doctor", "--json", "--debug")


def test_several_results_are_one_object(graft: Graft, stand_in: Callable[..., None]) -> None:
    stand_in(lambda: (Interval(0.5, None, None, 3),) * 2)
    tree = json.loads(graft("demo", "--json")[1])
    assert [r["n"] for r in tree["results"]] == [3, 3]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("terminal", "seconds", "shown"), [(True, 3.0, True), (True, 1.0, False), (False, 3.0, False)])
def test_bars_are_for_people_who_wait(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, seconds: float, shown: bool
) -> None:
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    now = 0.0
    with cli.Bars(clock=lambda: now) as bars, settings.listening(bars):
        for step in range(11):
            settings.progress("encode", step, 10)
            now += seconds / 10
    assert ("encode" in stream.getvalue()) is shown


def test_a_bar_tells_how_its_stage_is_going(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with cli.Bars(clock=iter(range(0, 1000, 3)).__next__) as bars, settings.listening(bars):
        settings.tell("lora", "nobody has heard of it yet")
        for step in range(3):
            settings.progress("lora", step, 10)
        settings.tell("lora", "loss 0.41")
        bars._bars.refresh()
    assert "lora: loss 0.41" in stream.getvalue() and "nobody" not in stream.getvalue()


def command(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "graft", *words], capture_output=True, text=True, **options)


def test_a_real_process_keeps_the_contract(tmp_path: Path) -> None:
    done = command("show", str(tmp_path / "nothing"))
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("error: There is no model at")
    done = command("cache", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["vectors"]["entries"] >= 0


@pytest.mark.parametrize("words", [("--help",), ("cache",), ("cache", "--json"), ("nonsense", "--json")])
def test_a_reader_that_leaves_hears_no_complaint(words: tuple[str, ...]) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "graft", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == (2 if "nonsense" in words else 0)
