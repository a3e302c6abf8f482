"""The layer table of CONTRIBUTING.md, the size budgets, and what may not be in the code, held by reading the code."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from graft.cli import HOMES, every_verb

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "graft"
FILES = sorted(SOURCE.rglob("*.py"))
ALL_FILES = [
    *FILES,
    *(p for part in ("tests", "studies", "bench", "docs") for p in sorted((ROOT / part).rglob("*.py"))),
]

ROWS = (
    {"errors", "results", "settings", "interrupts"},
    {"data", "encoders", "heads", "store", "metrics", "tensors"},
    {"encoding", "trainers", "artifact", "reports", "listings", "interactions"},
    {"strategies", "retrieval", "recommenders"},
    {"selection", "diagnostics", "judging", "labelling", "opened", "planning", "towers"},
    {"fitting", "recommending", "targets"},
    {"verbs", "estimator", "loading"},
    {"server"},
    {"tables", "annotation"},
    {"cli"},
    {"__main__"},
)
ROW = {part: row for row, parts in enumerate(ROWS) for part in parts}
# Parts of several files that stand beside the folders; each file is imported only by its own part or from above.
PART = {
    "batching": "encoding",
    "fidelity": "encoding",
    "label_curve": "results",
    "proof": "fitting",
    "search_results": "results",
    "session": "fitting",
}

MOST_LINES, MOST_FUNCTION_LINES, MOST_KEYWORDS, MOST_VERB_KEYWORDS = 600, 60, 8, 20
MOST_FILES, MOST_VERB_FILES = 15, 20
FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "misc"}
UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "marshal"}
UNSAFE_CALLS = {"joblib.load", "joblib.dump", "eval", "exec", "os.system"}


def _home(verb: str) -> tuple[str, str]:
    first, _, second = verb.partition(" ")
    return HOMES.get(verb, f"graft.verbs.{first}"), second or first


VERB_FUNCTIONS = {_home(verb) for verb in every_verb()}


def part_of(path: Path) -> str:
    """The part of the layer table a file of the package belongs to: its folder, or its own name; "" for the package's face."""
    relative = path.relative_to(SOURCE)
    name = relative.parts[0] if len(relative.parts) > 1 else relative.stem.removeprefix("__init__")
    return PART.get(name, name)


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


@functools.cache
def imported(path: Path) -> tuple[tuple[str, int], ...]:
    """Dotted names of everything a file imports, at any depth, as `package.module` or `package.module.name`."""
    return tuple(imported_by(parsed(path)))


def imported_by(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno} imports relatively; name the module in full"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_part_of_the_package_has_a_row() -> None:
    assert {part_of(path) for path in FILES} - {""} <= ROW.keys()


def test_imports_go_down() -> None:
    wrong = []
    for path in FILES:
        part = part_of(path)
        for target, line in imported(path) if part else ():
            if target.split(".")[0] != "graft":
                continue
            module = target.split(".")[1] if "." in target else ""
            below = PART.get(module, module)
            lower = below in ROW and (ROW[below] < ROW[part] or ROW[below] == 0)  # files of row 0 may know each other
            if below != part and not lower:
                wrong.append(f"{name(path)}:{line}: {part} (row {ROW[part]}) imports {target}")
    assert not wrong


def test_contributing_shows_the_table() -> None:
    """Every part there is stands in the table that opens CONTRIBUTING.md, in the order of the rows, with the files beside it."""
    cells = re.findall(r"^\| \d+ \|([^|]*)\|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    table = [set(re.findall(r"`(\w+)(?:\.py|/)`", cell)) for cell in reversed(cells)]
    there = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in FILES} - {"__init__"}
    rows = [(row | {file for file, part in PART.items() if part in row}) & there for row in ROWS]
    assert [row for row in table if row] == [row for row in rows if row]


def test_the_rule_is_not_blind() -> None:
    assert ROW["reports"] == ROW["encoding"] < ROW["strategies"] < ROW["verbs"]
    assert any(target == "graft.errors.UsageError" for target, _ in imported(SOURCE / "cli.py"))


def test_no_module_needs_itself() -> None:
    """No circle of imports inside a part either, late ones and those for type checkers aside."""
    modules = {".".join(("graft", *p.relative_to(SOURCE).with_suffix("").parts)): p for p in FILES}
    needs = {}
    for module, path in modules.items():
        top = ast.Module([n for n in parsed(path).body if isinstance(n, (ast.Import, ast.ImportFrom))], [])
        targets = {target for target, _ in imported_by(top)}
        needs[module] = {
            m for m in modules if m != module and any(t == m or t.rpartition(".")[0] == m for t in targets)
        }
    assert len([*TopologicalSorter(needs).static_order()]) == len(modules)


def test_packages_hold_no_code_of_their_own() -> None:
    """So children cannot import from their own package's `__init__`: there is nothing in it but a docstring."""
    for path in SOURCE.rglob("*/__init__.py"):
        assert len(parsed(path).body) == 1, path
        assert ast.get_docstring(parsed(path)), path


def test_children_do_not_import_their_own_package() -> None:
    for path in FILES:
        folder = path.parent
        package = ".".join(("graft", *folder.relative_to(SOURCE).parts))
        modules = {p.stem for p in folder.iterdir()} if folder != SOURCE else set(ROW)
        for target, line in imported(path):
            if path.name == "__init__.py" or target.rpartition(".")[0] not in (package, ""):
                continue
            assert target != package, f"{name(path)}:{line} imports its own package"
            assert "." not in target or target.rpartition(".")[2] in modules, f"{name(path)}:{line} imports {target}"


def test_files_stay_small() -> None:
    lines = {name(path): len(path.read_text().splitlines()) for path in ALL_FILES}
    assert {file: count for file, count in lines.items() if count > MOST_LINES} == {}


def test_functions_stay_small() -> None:
    wrong = [problem for path in FILES for problem in too_large(path)]
    assert not wrong


def too_large(path: Path) -> list[str]:
    """Functions of more lines or keywords than there may be."""
    wrong = []
    for node in ast.walk(parsed(path)):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        keywords = len(node.args.kwonlyargs) + len(node.args.defaults)
        verb = (".".join(("graft", *path.relative_to(SOURCE).with_suffix("").parts)), node.name) in VERB_FUNCTIONS
        first = node.body[0].lineno if verb else node.lineno  # a verb's keywords stand one a line
        length = (node.end_lineno or first) - first + 1
        if length > MOST_FUNCTION_LINES:
            wrong.append(f"{name(path)}:{node.lineno} {node.name} has {length} lines")
        if keywords > (MOST_VERB_KEYWORDS if verb else MOST_KEYWORDS):
            wrong.append(f"{name(path)}:{node.lineno} {node.name} has {keywords} keywords")
    return wrong


def test_folders_stay_small_and_flat() -> None:
    folders = defaultdict(list)
    for path in FILES:
        folders[path.relative_to(SOURCE).parts[:-1]].append(path.stem)
    for parts, stems in folders.items():
        assert len(parts) <= 1, f"{'/'.join(parts)} is a folder in a folder"
        limit = MOST_VERB_FILES if parts == ("verbs",) else MOST_FILES
        assert len(set(stems) - {"__init__"}) <= limit, f"{'/'.join(parts) or 'graft'} holds {len(stems)} files"


def test_no_file_is_a_drawer_for_odds_and_ends() -> None:
    assert not [p for p in ALL_FILES if FORBIDDEN_NAMES & {*p.relative_to(ROOT).with_suffix("").parts}]


def test_nothing_read_from_others_is_ever_run() -> None:
    """No pickle, no code from a model's folder, no evaluation of text; weights only as weights."""
    wrong = [f"{name(path)}:{problem}" for path in FILES for problem in unsafe(path)]
    assert not wrong


def unsafe(path: Path) -> list[str]:
    """What a file does with content that others wrote, and may not."""
    wrong = [f"{line}: imports {t}" for t, line in imported(path) if t.split(".")[0] in UNSAFE_MODULES]
    for node in ast.walk(parsed(path)):
        if not isinstance(node, ast.Call):
            continue
        called = dotted(node.func)
        flags = {k.arg: getattr(k.value, "value", "unknown") for k in node.keywords}
        if called in UNSAFE_CALLS:
            wrong.append(f"{node.lineno}: calls {called}")
        if called == "torch.load" and flags.get("weights_only") is not True:
            wrong.append(f"{node.lineno}: torch.load without weights_only=True")
        for flag in ("trust_remote_code", "allow_pickle"):
            if flags.get(flag, False) is not False:
                wrong.append(f"{node.lineno}: {flag}")
        if flags.get("weights_only", True) is not True:
            wrong.append(f"{node.lineno}: weights_only is not True")
    return wrong


HEAVY = ("numpy", "torch", "transformers", "openvino", "sklearn", "scipy", "pyarrow", "PIL", "altair", "rich")


@pytest.mark.parametrize(
    "statement",
    [
        "import graft",
        "import graft.cli; graft.cli.main(['--help'])",
        "import graft.cli; graft.cli.main(['fit', '--help'])",
    ],
)
def test_the_door_is_light(statement: str) -> None:
    check = f"{statement}; import sys; print('HEAVY', [m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"
