"""Write the tables of options in `docs/VERB.md` from the verbs' signatures: `make docs`. A test keeps them current."""

from __future__ import annotations

from pathlib import Path

from graft.cli import Parameter, every_verb, parameters, verb

DOCS = Path(__file__).parent
START, END = "<!-- options: written by docs/generate.py -->", "<!-- end of options -->"


def option_table(name: str) -> str:
    """The parameters of a verb as a Markdown table."""
    rows = [
        f"| `{p.flag}{_value(p)}` | {_default(p)} | {_cell(p.help)}{' May be repeated.' * _repeats(p)} |"
        for p in parameters(verb(name))
    ]
    rows.append("| `--json` | | Print one JSON object on stdout and nothing else. |")
    rows.append("| `--debug` | | Show warnings, and the traceback of an error. |")
    return "\n".join(["| option | default | |", "|---|---|---|", *rows])


def page(name: str) -> Path:
    return DOCS / f"{name.replace(' ', '-')}.md"


def current(name: str) -> str:
    """The page of a verb with its table as it should be. Raises ValueError where the page has no place for it."""
    text = page(name).read_text(encoding="utf-8")
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(f"{page(name)} has no lines {START!r} and {END!r}")
    return f"{before}{START}\n{option_table(name)}\n{END}{after}"


def _cell(text: str) -> str:
    """Text that Markdown shows as it is inside a table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def _repeats(parameter: Parameter) -> bool:
    return parameter.many and not parameter.positional and not parameter.words


def _value(parameter: Parameter) -> str:
    if parameter.positional or parameter.kind is bool:
        return ""
    if isinstance(parameter.kind, tuple):
        return " " + "\\|".join(parameter.kind)
    return " " + {int: "N", float: "X", Path: "PATH"}.get(parameter.kind, "WORD") + "..." * parameter.words


def _default(parameter: Parameter) -> str:
    if parameter.required:
        return "needed"
    return "" if parameter.default in (None, ()) or parameter.default is False else f"`{parameter.default}`"


if __name__ == "__main__":
    for name in every_verb():
        page(name).write_text(current(name), encoding="utf-8")
