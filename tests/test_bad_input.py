"""What people give by mistake: every refusal has its exit code, names the value and the way out, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.small_disk import small_disk
from tests.small_inputs import Row, no_classes, outside, pictures, rows, spoil, table, unlabelled

from graft import artifact, cli

NOBODY = 65534
Answer = tuple[int, dict[str, Any], str]
Graft = Callable[..., Answer]


@pytest.fixture
def graft(capsys: pytest.CaptureFixture[str]) -> Graft:
    """Runs a command with --json: exit code, the one object, and all that an error says in one string."""

    def run(*words: object) -> Answer:
        code = cli.main([*map(str, words), "--json"])
        out, err = capsys.readouterr()
        assert out.count("\n") == 1 and "Traceback" not in err
        tree = json.loads(out)
        assert ("error" in tree) == (code != 0)
        return code, tree, json.dumps(tree.get("error"), ensure_ascii=False)

    return run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


FIT = ("--strategies", "prototypes", "--out", "out")
PIXELS = ("--encoder", "pixels", *FIT)


def at_rest(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


REFUSED: dict[str, tuple[str, Callable[[Path], object], int, tuple[str, ...]]] = {
    "an empty folder": ("d", Path.mkdir, 3, ("d is empty", "one folder a class")),
    "no class folders": ("d", no_classes, 3, ("no labelled item", "one folder a class")),
    "one class": ("t.csv", lambda p: table(p, rows(9, ["sport"])), 3, ("'label'", "'sport'", "at least two classes")),
    "unlabelled": ("t.csv", unlabelled, 3, ("no labelled item", "--label")),
    "ids": (
        "t.csv",
        lambda p: table(p, [(content, f"id{n:03}") for n, (content, _) in enumerate(rows(15))]),
        3,
        ("id000", "30 different values", "--label"),
    ),
    "nothing": ("t.csv", Path.touch, 3, ("t.csv is empty",)),
    "a header alone": ("t.csv", lambda p: table(p, []), 3, ("text, label", "has no row")),
    "a spreadsheet": ("t.csv", lambda p: p.write_bytes(b"PK\3\4\0\0"), 3, ("t.csv is a spreadsheet", "Save it as CSV")),
    "half of UTF-16": ("t.csv", lambda p: p.write_bytes("a,b\n".encode("utf-16")[:-1]), 3, ("utf-16", "Save it as")),
    "no Parquet": ("t.parquet", lambda p: p.write_bytes(b"PAR1"), 3, ("t.parquet", "Parquet")),
    "no JSON": ("t.jsonl", lambda p: p.write_text("{\n3\n"), 3, ("t.jsonl", "JSON object like")),
    "no zip": ("t.zip", lambda p: p.write_bytes(b"PK\3\4"), 3, ("t.zip cannot be read as a zip",)),
    "a zip that leads outside": ("t.zip", outside, 3, ("../evil.png", "outside the zip")),
    "a pipe": ("t.csv", os.mkfifo, 3, ("t.csv is a pipe", "save it as a file")),
    "another kind": ("t.docx", Path.touch, 3, (".docx", ".csv")),
    "a mistyped name": ("t.csv.csv", lambda p: p.with_name("t.csv").touch(), 4, ("t.csv.csv", "Did you mean t.csv?")),
    "one moment": (
        "t.csv --time when",
        lambda p: table(p, [(*row, 5) for row in rows(9)], ("text", "label", "when")),
        3,
        ("same time", "Leave out --time"),
    ),
    "no times": (
        "t.csv --time label",
        lambda p: table(p, [(*row, n % 2) for n, row in enumerate(rows(9))], ("text", "label", "stars")),
        3,
        ("row 0 (line 2)", "write 2026-05-31", "18 faults"),
    ),
    "one class before the other": (
        "t.csv --time when",
        lambda p: table(p, [(*row, int(row[1] == "food")) for row in rows(9)], ("text", "label", "when")),
        3,
        ("Only items of the class 'sport'", "held out by time", "--split"),
    ),
    "one group": (
        "t.csv --group g",
        lambda p: table(p, [(*row, "x") for row in rows(12)], ("text", "label", "g")),
        3,
        ("all 24 items are in one group", "--group none"),
    ),
    "one text": ("t.csv", lambda p: table(p, [("same", row[1]) for row in rows(12)]), 3, ("all 24 items", "differ")),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_data_that_cannot_be_learned_from(
    here: Path, graft: Graft, case: tuple[str, Callable[[Path], object], int, tuple[str, ...]]
) -> None:
    words, make, exit_code, says = case
    make(here / words.split()[0])
    before = at_rest(here)
    code, _, error = graft("fit", *words.split(), *FIT)
    assert (code, [part for part in says if part not in error]) == (exit_code, []), error
    assert at_rest(here) == before


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound table of 24 texts of two classes."""
    return table(tmp_path_factory.mktemp("plain") / "plain.csv", rows(12))


FLAGS = {
    "--label lable --content txet --group grp": (2, ("'lable'", "'label'", "'txet'", "'text'", "--group 'grp'")),
    "--label text --content text": (2, ("--content and --label both name 'text'",)),
    "--coverage 7 --shots 0 --folds 1 --seed -1 --strategies knn,linear": (
        2,
        ("--coverage 7", "--shots 0", "--folds 1", "--seed -1", "'knn'", "'linear'", "linear-probe"),
    ),
    "--seed 4294967296": (2, ("4294967295",)),
    "--strategies ,": (2, ("names none", "prototypes")),
    "--metric acuracy": (2, ("'acuracy'", "macro_f1")),
    "--budget soon": (2, ("'soon'", "10m")),
    "--test 1.5": (2, ("1.5", "0.2")),
    "--test gone.csv": (4, ("gone.csv",)),
    "--test .": (2, ("folder", "same kind")),
    "--test blank.csv": (3, ("blank.csv", "test row 0", "Give it labels")),
    "--shots 50": (2, ("--shots 50", "largest --shots that works is 10")),
    "--folds 500": (2, ("--folds 500", "2 to 20")),
    "--names names.tsv": (3, ("line 1", "'fod'", "'food'", "line 2", "<TAB>")),
    "--names blank.tsv": (3, ("blank.tsv", "<TAB>")),
    "--names gone.tsv": (4, ("gone.tsv", "--names")),
    "--names .": (3, ("--names", "Is a directory")),
    "--split split.json": (3, ("'zz'", "'99'", "in train and in test")),
    "--split split.json --shots 2 --test 0.5": (2, ("leave out --split",)),
    "--encoder efficientnet-lite0": (2, ("takes pictures", "minilm")),
    "--encoder dir:gone": (4, ("gone", "config.json")),
    "--encoder dir:.": (4, ("config.json",)),
    "--encoder minilmm": (2, ("'minilmm'", "'minilm'")),
    "--out .": (2, ("--out . exists", "Name another folder")),
    "--out blank.csv/a/b": (4, ("blank.csv/a/b", "is a file")),
    f"--out {'n' * 300}": (4, ("too long",)),
}


@pytest.mark.parametrize("flags", FLAGS, ids=lambda flags: str(flags)[:40])
def test_flags_that_cannot_work(here: Path, graft: Graft, plain: Path, flags: str) -> None:
    table(here / "blank.csv", [("a text", "")])
    (here / "names.tsv").write_text("fod\tmeals\nsport, games\n")
    (here / "blank.tsv").touch()
    (here / "split.json").write_text(json.dumps({"train": [0, 1, "zz"], "test": [1, 99]}))
    before = at_rest(here)
    exit_code, says = FLAGS[flags]
    usual = FIT if "--strategies" not in flags else ("--out", "out")
    code, _, error = graft("fit", plain, *usual, *flags.split())
    assert (code, [part for part in says if part not in error]) == (exit_code, []), error
    assert at_rest(here) == before


def test_classes_without_a_name_are_told(here: Path, plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "names.tsv").write_text("sport\tgames that people play\n")
    assert (
        cli.main(["fit", str(plain), "--names", "names.tsv", *FIT, "--encoder", "minilm", "--encoder", "minilm"]) == 0
    )
    out, err = capsys.readouterr()
    assert "no line for 'food'" in err and "on minilm" not in out  # an encoder named twice is one


def test_odd_tables_are_learned_from_and_their_faults_listed(here: Path, graft: Graft) -> None:
    """Ragged rows, numbers as labels, blanks, and ten megabytes in one cell."""
    cells = [(content, ["4.0", "5", "nan", " "][n % 4]) for n, (content, _) in enumerate(rows(20))]
    cells[0] = ("word " * 2_000_000, "4.0")
    lines = table(here / "t.csv", cells).read_text().splitlines()
    lines[2] += ",more"
    lines[6] = "alone"
    (here / "t.csv").write_text("\n".join(lines))
    code, result, _ = graft("fit", "t.csv", *FIT)
    assert code == 0 and result["data"]["classes"] == ["4", "5"]
    faults = {fault["where"]: fault["problem"] for fault in result["data"]["faults"]}
    assert faults["row 2 (line 4)"] == "unlabelled"
    assert "3 cells where 2" in faults["row 1 (line 3)"] and "1 cells where 2" in faults["row 5 (line 7)"]
    code, _, error = graft("fit", "t.csv", "--strict", "--strategies", "prototypes", "--out", "strict")
    assert code == 3 and "row 1 (line 3)" in error and not (here / "strict").exists()


def test_the_encoding_of_a_table_does_not_change_the_model(here: Path, graft: Graft) -> None:
    cells = [(f"é {content} ñ", label) for content, label in rows(6)]
    heads = set()
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "latin-1"):
        table(here / f"{encoding}.csv", cells, encoding=encoding)
        code, result, _ = graft("fit", f"{encoding}.csv", "--strategies", "prototypes", "--out", here / encoding)
        heads.add((here / encoding / "model" / "head.safetensors").read_bytes())
        assert code == 0 and ("cp1252" in str(result["data"]["columns"])) == (encoding == "latin-1")
    assert len(heads) == 1


@pytest.mark.parametrize("cells", [rows(1), [*rows(8), ("a lonely text", "lonely")]], ids=["one each", "one alone"])
def test_classes_of_one_item(here: Path, graft: Graft, cells: list[Row]) -> None:
    table(here / "t.csv", cells)
    code, result, _ = graft("fit", "t.csv", *FIT)
    assert code == 0 and result["test"] is None and result["data"]["items"] == len(cells)


def test_five_hundred_classes(here: Path, graft: Graft) -> None:
    draw = random.Random(0)
    cells = [(f"thing{n // 2} of kind {n // 2}, {draw.choice('abcdef')}", f"class {n // 2}") for n in range(1000)]
    table(here / "t.csv", cells)
    code, result, _ = graft("fit", "t.csv", *FIT, "--encoder", "minilm")
    assert code == 0 and len(result["data"]["classes"]) == 500
    assert (here / "out" / "report.html").stat().st_size < 5e6


def test_faulty_pictures_are_left_out_and_named(here: Path, graft: Graft) -> None:
    folder = pictures(here / "p")
    sound = (folder / "dark" / "0.png").read_bytes()
    (folder / "dark" / "empty.png").touch()
    (folder / "dark" / "cut.png").write_bytes(sound[:300])
    (folder / "dark" / "words.jpg").write_text("hello")
    Image.new("1", (20_000, 20_000)).save(folder / "light" / "bomb.png")
    (folder / "light" / "link.png").symlink_to("/etc/passwd")
    (folder / "light" / "loop.png").symlink_to("loop.png")
    os.mkfifo(folder / "light" / "pipe.png")
    (folder / "beside.png").write_bytes(sound)
    code, result, _ = graft("fit", "p", *PIXELS)
    assert code == 0 and result["data"]["train"] == 8
    faults = {fault["where"]: fault["problem"] for fault in result["data"]["faults"]}
    named = {f"dark/{name}" for name in ("empty.png", "cut.png", "words.jpg")}
    named |= {f"light/{name}" for name in ("bomb.png", "link.png", "loop.png", "pipe.png")}
    assert set(faults) == named | {"beside.png"}
    assert "400000000" in faults["light/bomb.png"] or "limit" in faults["light/bomb.png"]
    code, _, error = graft("fit", "p", "--strict", *PIXELS[:-1], "strict")
    assert code == 3 and "light/link.png" in error and not (here / "strict").exists()


@pytest.mark.parametrize(
    ("broken", "says"),
    [("p", ("No item could be read", "dark/0.png")), ("p/dark", ("'light'", "dark/0.png", "mend them")),
     ("p/test", ("None of the 8 test items", "test/dark/0.png")), ("p/train", ("no class", "train/dark/0.png"))],
)  # fmt: skip
def test_too_many_faulty_pictures(here: Path, graft: Graft, broken: str, says: tuple[str, ...]) -> None:
    parts = ("p/train", "p/test") if broken in ("p/train", "p/test") else ("p",)
    for part in parts:
        pictures(here / part)
    spoil(here / broken)
    code, _, error = graft("fit", "p", *PIXELS)
    assert (code, [part for part in says if part not in error]) == (3, []), error
    assert at_rest(here) == {"p"}


def test_test_pictures_without_labels_test_nothing(here: Path, graft: Graft) -> None:
    pictures(here / "p" / "train", 15)
    shutil.copytree(here / "p" / "train" / "dark", here / "p" / "test")
    code, result, _ = graft("fit", "p", *PIXELS)
    assert code == 0 and "held out" in result["data"]["split"] and result["test"]["accuracy"]["n"] == 6
    assert len([fault for fault in result["data"]["faults"] if fault["where"].startswith("test/")]) == 15


@pytest.fixture(scope="session")
def model(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model") / "m"
    with contextlib.redirect_stdout(io.StringIO()):
        assert cli.main(["fit", str(plain), "--strategies", "prototypes", "--out", str(out)]) == 0
    return out


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder of somebody who may not read all of it, and us as that person."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    root = os.geteuid() == 0
    (folder / "secret").mkdir(mode=0o700)
    (folder / "secret.csv").touch(0o600)
    if root:
        os.seteuid(NOBODY)
    else:
        (folder / "secret").chmod(0)
        (folder / "secret.csv").chmod(0)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        shutil.rmtree(folder)


def test_what_may_not_be_read_or_written(graft: Graft, unprivileged: Path) -> None:
    for name in ("secret", "secret.csv"):
        code, _, error = graft("fit", unprivileged / name)
        assert code == 3 and f"{unprivileged / name} cannot be read: Permission denied" in error
    from graft.errors import StorageError
    from graft.fitting.session import free_folder

    with pytest.raises(StorageError, match=r"secret/out.*choose another folder"):
        free_folder(unprivileged / "secret" / "out", "name")


@pytest.mark.parametrize("size", ["16k", "40k"])
def test_a_full_disk(here: Path, graft: Graft, plain: Path, size: str) -> None:
    with small_disk(here / "disk", size) as disk:
        code, _, error = graft("fit", plain, *FIT[:-1], disk / "out")
        assert code == 4 and "disk/out" in error and ".graft-" not in error and "free some space" in error
        assert list(disk.iterdir()) == []


ASKED = {
    "gone some-text": (4, ("gone", "graft fit DATA")),
    ". some-text": (3, ("graft.json",)),
    "MODEL": (2, ("ITEMS",)),
    "MODEL new.csv photo.png": (3, ("new.csv", "photo.png", "no such file", "--text")),
    "MODEL p.png": (3, ("p.png", "a picture", "reads texts")),
    "MODEL empty": (3, ("no .txt file",)),
    "MODEL t.zip": (3, ("../evil.png", "outside the zip")),
    "MODEL -": (3, ("standard input", "no line")),
    "MODEL PLAIN --content txt": (2, ("'txt'", "'text'")),
    "MODEL word --top 0": (2, ("--top 0",)),
    "MODEL word --out a.xlsx": (2, ("'.xlsx'", ".csv")),
    "MODEL word --out PLAIN": (2, ("exists",)),
    "MODEL word --out p.png/a.csv": (4, ("p.png/a.csv", "is a file")),
}


@pytest.mark.parametrize("words", ASKED)
def test_questions_that_cannot_be_answered(
    here: Path, graft: Graft, model: Path, plain: Path, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "p.png").touch()
    (here / "empty").mkdir()
    outside(here / "t.zip")
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        exit_code, says = ASKED[words]
        places = {"MODEL": str(model), "PLAIN": str(plain)}
        code, _, error = graft("predict", *(places.get(word, word) for word in words.split()))
    assert (code, [part for part in says if part not in error]) == (exit_code, []), error


def signed(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a manifest and give it a digest that fits, as a forger would."""
    path = folder / "model" / "graft.json"
    tree = json.loads(path.read_text())
    del tree["digest"]
    change(tree)
    path.write_text(json.dumps(tree | {"digest": artifact.digest_of(tree)}))


TAMPERED: dict[str, tuple[Callable[[Path], object], int, str]] = {
    "head changed": (lambda m: (m / "model/head.safetensors").write_bytes(b"x"), 3, "was changed since"),
    "head gone": (lambda m: (m / "model/head.safetensors").unlink(), 4, "Copy the whole folder"),
    "manifest cut": (lambda m: (m / "model/graft.json").write_text("{"), 3, "was damaged"),
    "manifest gone": (lambda m: (m / "model/graft.json").unlink(), 3, "holds no graft.json"),
    "class lost": (lambda m: signed(m, lambda t: t["classes"].pop()), 3, "each of its 1 classes"),
    "no temperature": (lambda m: signed(m, lambda t: t["calibration"].update(temperature=0)), 3, "was damaged"),
    "another strategy": (lambda m: signed(m, lambda t: t.update(strategy="zz")), 3, "'zz' is not known"),
    "another encoder": (lambda m: signed(m, lambda t: t["encoder"].update(fingerprint="0")), 3, "fit again"),
    "a file outside": (lambda m: signed(m, lambda t: t["files"].update({"../../x": "0"})), 3, "outside"),
}


@pytest.mark.parametrize("case", TAMPERED.values(), ids=TAMPERED.keys())
def test_tampered_models_are_refused(
    here: Path, graft: Graft, model: Path, case: tuple[Callable[[Path], object], int, str]
) -> None:
    tamper, exit_code, says = case
    shutil.copytree(model, here / "m")
    tamper(here / "m")
    code, _, error = graft("predict", "m", "a goal")
    assert code == exit_code and says in error


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-"])
def test_closed_streams_are_no_defect(model: Path, closed: str) -> None:
    command = f'"{sys.executable}" -m graft predict "{model}" - --json {closed}'
    done = subprocess.run(command, shell=True, capture_output=True, text=True, input="", check=False)
    assert done.returncode == 3 and done.stderr == ""
