"""The first door: flags built from the verbs' signatures, tables for people, JSON for programs, exit codes.

Nothing here is heavy: `graft --help` reads signatures, and a verb imports what it needs when it runs. Every error of the
world outside is translated in one place, `_failure`.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import inspect
import json
import keyword
import logging
import os
import sys
import time
import types
import typing
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from graft import settings
from graft.errors import GraftError, MissingError, StorageError, UsageError, unknown
from graft.results import Fault, to_json

VERBS = (
    "fit",
    "plan",
    "predict",
    "label",
    "tune",
    "pretrain",
    "index",
    "search",
    "serve",
    "recommend",
    "bridge",
    "diagnose",
    "bench",
    "show",
    "reproduce",
    "encode",
    "cache",
    "doctor",
    "demo",
)
GROUPS = {  # verbs of two words
    "recommend": ("fit", "for", "like"),
    "bridge": ("fit",),
    "diagnose": ("space", "shift", "model", "curve", "labels"),
    "bench": ("serve",),
}
HOMES = {  # the rest is in graft.verbs
    "serve": "graft.server.run",
    "label": "graft.annotation.label",
    "bench serve": "graft.server.load",
}
FAULTS_SHOWN = 20
INTERRUPTED = 130

OVERVIEW = """\
Graft takes a pretrained model the rest of the way: from a pile of images or texts and a few labels
to a classifier you can trust or a search engine, or from who liked what to a recommender, with the
evidence for every choice.

  graft demo                           see it work, offline, on data that comes with it
  graft plan photos/                   which strategy to take, what to expect of it, what it costs
  graft fit photos/ --out birds        one folder a class (or a .zip, .csv, .tsv, .jsonl, .parquet)
  graft predict birds new.jpg          what is it, and how sure
  graft diagnose labels photos/        which labels look wrong; or: curve, shift, space, model
  graft label photos/ --serve          few or no labels: the items most worth one, on a page to label them
  graft index photos/ --out found      any pictures or texts, labels or not; run again, it is updated
  graft search found "a red boat"      words, --image FILE, --like ID: what is there
  graft recommend fit likes.csv --out films        who liked what: recommendations, with baselines
  graft recommend like films "toy story"           more like this; or: recommend for films --user 7
  graft serve found birds              both in a browser, and over HTTP
  graft tune photos/ --strategy lora --over rate=1e-4..1e-2:log    the best settings of one strategy
  graft pretrain texts.csv --supervised                            an encoder of your own, from labels
  graft show birds                     what was chosen, and how good it was measured to be
  graft reproduce birds                the same again: does every number come out as it was
  graft encode texts.csv --out v.npy   the vectors alone

graft --help lists every verb, graft VERB --help its options. Add --json to any of them for one JSON object.
"""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a verb as the command line sees it."""

    name: str
    help: str
    kind: type | tuple[str, ...]  # str, int, float, bool, Path; or the allowed words
    default: Any
    positional: bool
    required: bool
    many: bool
    words: bool = False  # takes all words up to the next flag, instead of being repeated

    @property
    def flag(self) -> str:
        """`--no-such-thing` for a keyword, `DATA` or `ITEMS...` for a positional."""
        if self.positional:
            return self.name.upper() + ("..." if self.many else "")
        return "--" + self.name.replace("_", "-")


def verb(name: str) -> Callable[..., Any]:
    """The function behind `graft NAME` (of two words for a verb of a group); the module that holds it imports nothing heavy."""
    first, _, second = name.partition(" ")
    module = importlib.import_module(HOMES.get(name, f"graft.verbs.{first}"))
    name = second or first
    function: Callable[..., Any] = getattr(module, f"{name}_" if keyword.iskeyword(name) else name)
    return function


def every_verb() -> list[str]:
    """All verbs as they are typed, those of groups in two words."""
    return [
        full for name in VERBS for full in ([f"{name} {word}" for word in GROUPS[name]] if name in GROUPS else [name])
    ]


def parameters(function: Callable[..., Any]) -> tuple[Parameter, ...]:
    """Read from the signature, where every parameter is `Annotated[type, "help sentence"]`."""
    signature = inspect.signature(function)
    # only the parameters' annotations: a verb may import its result's type, and Path, for type checkers alone
    holder = types.SimpleNamespace(__annotations__={n: p.annotation for n, p in signature.parameters.items()})
    known = {"Path": Path} | getattr(function, "__globals__", {})
    hints = typing.get_type_hints(holder, globalns=known, include_extras=True)
    return tuple(_parameter(p, hints[name]) for name, p in signature.parameters.items())


def _parameter(parameter: inspect.Parameter, hint: Any) -> Parameter:
    kinds = _kinds(hint.__origin__)
    words = tuple(word for kind in kinds if typing.get_origin(kind) is typing.Literal for word in typing.get_args(kind))
    origins = [typing.get_origin(kind) or kind for kind in kinds]
    many = any(isinstance(o, type) and issubclass(o, Sequence) and o is not str for o in origins)
    plain = next((o for o in origins if o in (bool, int, float, Path, str)), str)  # of several, the first named
    required = parameter.default is inspect.Parameter.empty
    return Parameter(
        name=parameter.name,
        help=hint.__metadata__[0],
        kind=words or (str if many else plain),
        default=None if required else parameter.default,
        positional=parameter.kind is not inspect.Parameter.KEYWORD_ONLY,
        required=required,
        many=many,
        words=tuple in origins,
    )


def _kinds(hint: Any) -> tuple[Any, ...]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def _click_parameter(parameter: Parameter) -> click.Parameter:
    kind: Any = parameter.kind
    if isinstance(kind, tuple):
        kind = click.Choice(kind)
    elif kind is Path:
        kind = click.Path(path_type=Path)
    if parameter.positional:
        many = -1 if parameter.many else 1
        return click.Argument([parameter.name], required=parameter.required, nargs=many, metavar=parameter.flag)
    text = parameter.help + (" May be repeated." if parameter.many and not parameter.words else "")
    options: dict[str, Any] = {"help": text, "required": parameter.required, "multiple": parameter.many}
    options |= {"is_flag": True} if kind is bool else {"type": kind}
    if parameter.default is not None and parameter.default is not False and parameter.default != ():
        options |= {"default": parameter.default, "show_default": True}
    return click.Option([parameter.flag, parameter.name], **options)


def _command(name: str) -> click.Command:
    function = verb(name)
    known = parameters(function)

    def call(json: bool, debug: bool, **given: Any) -> int:
        missing = {p.name for p in known if given[p.name] in (None, ())}
        arguments = {key: value for key, value in given.items() if key not in missing}
        return _run(function, arguments, as_json=json, debug=debug)

    text = (inspect.getdoc(function) or "").split("\n\n")
    arguments = [f"  {p.flag}  {p.help}" for p in known if p.positional]
    return _Command(
        frozenset(p.flag for p in known if p.words),
        name.split()[-1],
        callback=call,
        help="\n\n".join([text[0], "\b\n" + "\n".join(arguments)] if arguments else text[:1]),
        short_help=text[0].split("\n")[0],
        params=[
            *map(_click_parameter, known),
            click.Option(["--json"], is_flag=True, help="Print one JSON object on stdout and nothing else."),
            click.Option(["--debug"], is_flag=True, help="Show warnings, and the traceback of an error."),
        ],
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )


class _Command(click.Command):
    """A verb; each of its flags in `wordy` takes all words up to the next flag: `--encoders A B C`."""

    def __init__(self, wordy: frozenset[str], *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.wordy = wordy

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        spelt: list[str] = []
        current, taken = "", 0
        for word in args:
            if word.startswith("-") and len(word) > 1:
                current, taken = word if word in self.wordy else "", 0
            elif current:
                spelt += [current] * (taken > 0)
                taken += 1
            spelt.append(word)
        return super().parse_args(ctx, spelt)


class _Verbs(click.Group):
    """Commands are made when asked for, so that one verb does not pay for the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name in GROUPS:
            return _Subverbs(cmd_name)
        return _command(cmd_name) if cmd_name in VERBS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in VERBS and not args[0].startswith("-"):
            raise click.UsageError(unknown("verb", args[0], VERBS), ctx)
        return super().resolve_command(ctx, args)


class _Subverbs(click.Group):
    """The second words of a verb's group."""

    def __init__(self, first: str) -> None:
        module = importlib.import_module(HOMES.get(f"{first} {GROUPS[first][0]}", f"graft.verbs.{first}"))
        text = (module.__doc__ or "").split("\n\n")[0]
        super().__init__(first, help=text, short_help=text, no_args_is_help=False)
        self.first = first

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(GROUPS[self.first])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        return _command(f"{self.first} {cmd_name}") if cmd_name in GROUPS[self.first] else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in GROUPS[self.first] and not args[0].startswith("-"):
            raise click.UsageError(unknown(f"{self.first}:", args[0], GROUPS[self.first]), ctx)
        return super().resolve_command(ctx, args)


def _group() -> click.Group:
    def show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
        if wanted:
            from importlib.metadata import version

            click.echo(f"graft {version('graft')}")
            ctx.exit()

    version_option = click.Option(
        ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=show_version, help="Print the version."
    )
    return _Verbs(
        "graft",
        help=OVERVIEW.split("\n\n")[0],
        params=[version_option],
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 2 usage, 3 bad data or model, 4 missing, 130 interrupted, 1 defect."""
    words = list(sys.argv[1:] if argv is None else argv)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # the caller has closed it, as `>&-` does
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 (open as long as the process)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a name that the terminal cannot spell must not stop the answer
    if not words:
        return _write(OVERVIEW)
    try:
        code: int = _group().main(words, prog_name="graft", standalone_mode=False)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "graft"
        failure = _Failure(f"{error.format_message()} See `{where} --help`.", UsageError.exit_code, "UsageError")
        return _report(failure, as_json="--json" in words)
    except (KeyboardInterrupt, click.Abort) as error:
        return _report(_failure(error), as_json="--json" in words)
    except (
        BrokenPipeError,
        SystemExit,
    ):  # click leaves by SystemExit when the reader of its help has gone, and only then
        return _reader_left()
    return code


def _run(function: Callable[..., Any], arguments: Mapping[str, Any], *, as_json: bool, debug: bool) -> int:
    try:
        with _calm(debug), Bars() as bars, settings.listening(bars):
            result = function(**arguments)
        if not settings.leads():
            return 0  # of several processes that work together one speaks
        if as_json:
            tree = to_json(result)
            return _write(json.dumps({"results": tree} if isinstance(tree, list) else tree) + "\n")
        from graft.tables.render import render

        return _write(render(result, terminal=sys.stdout.isatty()))
    except BrokenPipeError:
        return _reader_left()
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            import traceback

            traceback.print_exc()
        return _report(_failure(error), as_json=as_json)


@contextlib.contextmanager
def _calm(debug: bool) -> Iterator[None]:
    """While a verb works, what libraries print goes to stderr, and of all that is logged only our own notes are shown."""
    ours, others = logging.getLogger("graft"), logging.lastResort
    notes = logging.StreamHandler()
    notes.setFormatter(logging.Formatter("note: %(message)s"))
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        ours.addHandler(notes)
        if not debug:
            os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
            os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
            warnings.simplefilter("ignore")
            logging.lastResort = logging.NullHandler()
        try:
            yield
        finally:
            ours.removeHandler(notes)
            logging.lastResort = others


def _write(text: str) -> int:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        return _reader_left()
    return 0


def _reader_left() -> int:
    """The reader of a pipe has seen enough: no complaint, and none from Python when it flushes at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


@dataclass(frozen=True)
class _Failure:
    message: str
    exit_code: int
    kind: str
    faults: tuple[Fault, ...] = ()


def _failure(error: BaseException) -> _Failure:
    """The one boundary at which errors of the outside world become ours."""
    if isinstance(error, GraftError):
        return _Failure(error.message, error.exit_code, type(error).__name__, error.faults)
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        text = "Stopped. What was encoded, trained or measured by then is kept: give the same command again and it goes on from there."
        return _Failure(text, INTERRUPTED, "Interrupted")
    if isinstance(error, MemoryError):
        text = "There is not enough memory for this. Give fewer items at a time, or end other programs."
        return _Failure(text, StorageError.exit_code, "MemoryError")
    if isinstance(error, OSError) and error.errno in _OS_REASONS:
        where = f" ({error.filename})" if error.filename else ""
        return _Failure(_OS_REASONS[error.errno] + where + ".", StorageError.exit_code, "StorageError")
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("graft"):
        text = (
            f"The package {error.name!r} is not installed. `python -m pip install --upgrade graft` brings all it needs."
        )
        return _Failure(text, MissingError.exit_code, "MissingError")
    text = f"This is a defect of Graft: {type(error).__name__}: {error}. `--debug` shows where; please report it."
    return _Failure(text, 1, "Defect")


_OS_REASONS = {
    errno.ENOSPC: "The disk is full",
    errno.EDQUOT: "The disk quota is used up",
    errno.EROFS: "The disk is read-only",
    errno.EIO: "The disk reports an error",
    errno.EACCES: "Permission denied",
    errno.EPERM: "Permission denied",
    errno.ENOENT: "There is no such file",
    errno.ENAMETOOLONG: "The name is too long for this disk",
    errno.ENOTDIR: "A part of the path is a file, not a folder",
    errno.EISDIR: "There is a folder where a file is wanted",
    errno.ELOOP: "The symbolic links lead in a circle",
    errno.EMFILE: "Too many files are open: raise `ulimit -n`",
}


def _report(failure: _Failure, *, as_json: bool) -> int:
    if as_json:
        _write(json.dumps({"error": to_json(failure)}) + "\n")
        return failure.exit_code
    lines = [f"{click.style('error:', fg='red')} {failure.message}"]
    lines += [f"  {f.where}: {f.problem}{f' ({f.value})' if f.value else ''}" for f in failure.faults[:FAULTS_SHOWN]]
    if len(failure.faults) > FAULTS_SHOWN:
        lines.append(f"  ... and {len(failure.faults) - FAULTS_SHOWN} more")
    with contextlib.suppress(BrokenPipeError):
        click.echo("\n".join(lines), err=True)
    return failure.exit_code


class Bars:
    """Listens to progress; any stage that lasts more than two seconds gets a bar on stderr, if that is a terminal."""

    patience = 2.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: dict[str, float] = {}
        self._tasks: dict[str, Any] = {}
        self._bars: Any = None
        self._wanted = sys.stderr.isatty() and settings.leads()

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` items of `stage` are finished; a total of 0 means that it is not known."""
        if not self._wanted:
            return
        if self._clock() - self._began.setdefault(stage, self._clock()) < self.patience:
            return
        if self._bars is None:
            from rich.console import Console
            from rich.progress import Progress

            self._bars = Progress(console=Console(stderr=True), transient=True)
            self._bars.start()
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage)
        self._bars.update(self._tasks[stage], completed=done, total=total or None)

    def tell(self, stage: str, text: str) -> None:
        """How a stage that has a bar is going."""
        if stage in self._tasks:
            self._bars.update(self._tasks[stage], description=f"{stage}: {text}")
