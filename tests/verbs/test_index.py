"""`graft index` as people run it: made, brought up to date, returned to, refused; two at once; stopped and killed at any moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.small_inputs import pictures, table
from tests.vector_tables import clustered, vectors_table

from graft.errors import DataError, MissingError, UsageError
from graft.retrieval.opened import open_index
from graft.search_results import IndexResult, IndexVersions
from graft.verbs.index import index

KILLS = 300 if os.environ.get("GRAFT_SOAK") else 6
TEXTS = ("a red house by the sea", "the green hill far away", "blue water under a bridge")


def made(*words: Any, **flags: Any) -> IndexResult:
    done = index(*words, **flags)
    assert isinstance(done, IndexResult)
    return done


def test_texts_from_first_to_last(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", [(str(i), text, 10 * i) for i, text in enumerate(TEXTS)], ("id", "text", "price"))
    out = tmp_path / "ix"
    first = made(path, out=out)
    assert (first.version, first.items, first.added, first.columns) == (1, 3, 3, {"price": "int64"})
    table(path, [("0", TEXTS[0], 0), ("1", "a yellow field", 10), ("9", TEXTS[2], "")], ("id", "text", "price"))
    second = made(path, out=out, prune=True)
    assert (second.version, second.added, second.changed, second.deleted, second.unchanged) == (2, 1, 1, 1, 1)
    assert [hit.id for hit in open_index(out).search("a field of yellow", k=1).hits] == ["1"]
    assert [hit.id for hit in open_index(out).search("water", k=1, where="price IS NULL").hits] == ["9"]
    assert made(out=out, delete="9").items == 2
    listed = index(out=out, versions=True)
    assert isinstance(listed, IndexVersions) and listed.current == 3 and len(listed.versions) == 3
    assert made(out=out, rollback=True).version == 2


def test_values_that_come_later_fit_the_columns(tmp_path: Path) -> None:
    """Words stay words though a later table holds only numbers; a number that is none is told."""
    out, header = tmp_path / "ix", ("id", "text", "code", "price")
    made(table(tmp_path / "a.csv", [("1", TEXTS[0], "1.50", 1), ("2", TEXTS[1], "none", 2)], header), out=out)
    made(table(tmp_path / "b.csv", [("3", TEXTS[2], "2.50", 3)], header), out=out)
    assert open_index(out).payload([2])[0]["code"] == "2.50"
    again = made(table(tmp_path / "b.csv", [("3", TEXTS[2], "2.50", "")], header), out=out)
    assert again.changed == 1 and open_index(out).payload([2])[0]["price"] is None
    with pytest.raises(DataError, match="do not fit") as caught:
        made(table(tmp_path / "c.csv", [("4", "a text", "x", "dear"), ("5", "b text", "x", 1.5)], header), out=out)
    assert [fault.where for fault in caught.value.faults] == ["4", "5"]
    assert open_index(out).version == 3


def test_strict_and_faulty_rows(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", [("1", TEXTS[0]), ("1", TEXTS[1]), ("2", "")], ("id", "text"))
    with pytest.raises(DataError, match="--strict"):
        index(path, out=tmp_path / "ix", id="id", strict=True)
    done = made(path, out=tmp_path / "ix", id="id")
    assert done.items == 1 and len(done.faults) == 2


def test_flags_that_contradict_each_other(tmp_path: Path) -> None:
    out = tmp_path / "ix"
    wrong: list[dict[str, Any]] = [
        {}, {"prune": True}, {"versions": True, "rollback": True}, {"data": "x.csv", "rollback": True}, {"delete": ["1"], "versions": True},
        {"delete": ["1"]}, {"data": "data:digits", "kind": "hnsw"}, {"data": "data:digits", "recall": 2.0}, {"data": "data:digits", "text": "x"},
    ]  # fmt: skip
    for flags in wrong:
        with pytest.raises(UsageError):
            index(out=out, **flags)
    for flags in ({"versions": True}, {"rollback": True}, {"data": tmp_path / "none.csv"}):
        with pytest.raises(MissingError):
            index(out=out, **flags)
    assert list(tmp_path.iterdir()) == []


def test_pictures_are_found_by_words_through_a_bridge(tmp_path: Path) -> None:
    done = made(pictures(tmp_path / "p", 3), out=tmp_path / "ix")
    assert [view.name for view in done.views] == ["image", "bridge"] and done.columns == {"label": "string"}
    found = open_index(tmp_path / "ix").search("a lamp in the night", k=2, where="label = 'dark'")
    assert len(found.hits) == 2 and all(hit.id.startswith("dark/") for hit in found.hits)
    assert [view.name for view in made(tmp_path / "p", out=tmp_path / "plain", bridge="none").views] == ["image"]


def graft_index(*words: str | Path, cache: str | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "graft", "index", *map(str, words), "--json"]
    env = {**os.environ, **({} if cache is None else {"GRAFT_CACHE": cache})}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def test_two_writers_wait_for_each_other(tmp_path: Path) -> None:
    """Making the index at once, and then changing it at once: nothing of either is lost."""
    x_ND = clustered(60, 4)
    for turn in range(2):
        paths = [
            vectors_table(tmp_path / f"{turn}{part}.parquet", [f"{turn}{part}{i}" for i in range(15)], x_ND[:15])
            for part in "ab"
        ]
        both = [graft_index(path, "--out", tmp_path / "ix") for path in paths]
        answers = [(*process.communicate(timeout=120), process.returncode) for process in both]
        assert [code for _, _, code in answers] == [0, 0], answers
    opened = open_index(tmp_path / "ix")
    assert len(opened) == 60 and len(set(opened.ids)) == 60 and opened.version == 4
    assert len(set(opened.keys.tolist())) == 60


@pytest.mark.parametrize("after", [0.0, 0.1, 0.3])
def test_ctrl_c_of_a_real_process(tmp_path: Path, after: float) -> None:
    """Some time after the first file is there: one object, no traceback, nothing left."""
    path = vectors_table(tmp_path / "v.parquet", None, clustered(20_000, 32))
    process = graft_index(path, "--out", tmp_path / "ix", "--kind", "ivf")
    while len(list(tmp_path.iterdir())) < 2 and process.poll() is None:
        time.sleep(0.01)
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    if (tmp_path / "ix").exists():
        assert len(open_index(tmp_path / "ix")) == 20_000
        return
    assert (process.returncode, err.strip()) == (130, "")
    assert "give the same command again" in json.loads(out)["error"]["message"]
    assert {file.name for file in tmp_path.iterdir()} == {"v.parquet"}


# A nursery has everything imported and no thread started; whatever starts threads happens in forks of it. It prints one line a kill:
# what was being done, the signal, how the run ended, and what was found afterwards.
NURSERY = """
    import json, os, random, shutil, signal, sys, time
    from pathlib import Path
    import numpy as np
    import faiss, lance, pyarrow.parquet, scipy.sparse
    from graft.retrieval import indexing, opened
    from graft.verbs.index import index

    kills = int(sys.argv[1])
    draw = random.Random(0)

    def forked(do, said="said.txt"):
        pid = os.fork()
        if pid:
            return pid
        sys.stdout = sys.stderr = Path(said).open("w")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = 1
        try:
            do()
            code = 0
        except KeyboardInterrupt:
            code = 130
        except BaseException as problem:
            print(type(problem).__name__, problem)
        sys.stdout.flush()
        os._exit(code)

    def ended(pid):
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def state(path):
        index = opened.open_index(path)
        rows = index.payload(range(len(index)))
        x = index.vectors("vector")
        found = index.search_vectors(x[:50], 1).positions[:, 0]
        assert (np.abs(x[found] - x[:50]).max(1) < 1e-6).mean() > .9
        return hash(tuple(sorted((row["id"], row["price"], x[i].tobytes()) for i, row in enumerate(rows))))

    def create(out):
        return lambda: index("old.parquet", out=out, kind="ivf", recall=.7)

    def change(out):
        return lambda: index("new.parquet", out=out, prune=True)

    def tell(path, *more):
        def do():
            Path("state.txt").write_text(str(state(path)))
        Path("state.txt").unlink(missing_ok=True)
        code = ended(forked(do))
        return int(Path("state.txt").read_text()) if code == 0 else Path("said.txt").read_text()

    whole = {}
    assert ended(forked(create("first"))) == 0, Path("said.txt").read_text()
    began = time.monotonic(); assert ended(forked(create("old"))) == 0; whole["create"] = time.monotonic() - began
    shutil.copytree("old", "new")
    began = time.monotonic(); assert ended(forked(change("new"))) == 0, Path("said.txt").read_text(); whole["change"] = time.monotonic() - began
    known = {tell("old"): "old", tell("new"): "new"}
    assert sorted(known.values()) == ["new", "old"], known
    for number in range(kills):
        what = "create" if number % 3 == 0 else "change"
        shutil.rmtree("ix", ignore_errors=True)
        if what == "change":
            shutil.copytree("old", "ix")
        pid = forked(create("ix") if what == "create" else change("ix"))
        time.sleep(draw.uniform(0, whole[what]))
        sent = signal.SIGINT if number % 4 == 3 else signal.SIGKILL
        os.kill(pid, sent)
        code = ended(pid)
        said = Path("said.txt").read_text()
        after = known.get(told := tell("ix"), told) if Path("ix/graft.json").exists() else "none"
        again = ended(forked(create("ix") if what == "create" else change("ix")))
        last = known.get(told := tell("ix"), told) if again == 0 else Path("said.txt").read_text()
        print(json.dumps([what, sent, code, said, after, last]), flush=True)
    print(json.dumps(sorted(path.name for path in Path().iterdir() if path.name.startswith(".graft-"))))
    """


@pytest.mark.soak
def test_killed_at_any_moment(tmp_path: Path) -> None:
    x_ND = clustered(1700, 16)
    vectors_table(tmp_path / "old.parquet", [f"i{i}" for i in range(1200)], x_ND[:1200], price=list(range(1200)))
    ids = [f"i{i}" for i in range(300, 1700)]
    changed = np.concatenate([x_ND[300:800] + 1, x_ND[800:]])
    vectors_table(tmp_path / "new.parquet", ids, changed, price=[-1] * 1400)
    command = [sys.executable, "-c", textwrap.dedent(NURSERY), str(KILLS)]
    env = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=1500, env=env)
    assert done.returncode == 0, done.stderr
    *killed, left = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(killed) == KILLS and left == []
    for what, sent, code, said, after, last in killed:
        assert code in (0, 130 if sent == signal.SIGINT else -signal.SIGKILL), (code, said)
        assert after in (("none", "old") if what == "create" else ("old", "new")), (what, after)
        assert last == ("old" if what == "create" else "new"), (what, last)
    assert sum(code != 0 for _, _, code, *_ in killed) > KILLS / 3
    assert {what for what, *_ in killed} == {"create", "change"}
