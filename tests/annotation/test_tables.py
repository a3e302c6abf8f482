"""Tables of labels: read back as they were given, whatever texts, labels and names hold; never over somebody's own changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.annotation.planted import TEXTS, pool

from graft.annotation.journal import Journal
from graft.annotation.pool import no_label
from graft.annotation.tables import edited, save_labels
from graft.data.dataset import clean_label
from graft.data.read import read
from graft.errors import DataError, StorageError

ODD = "a\r\n=1+1,;\t|\"'<>&\\#\u2028\u00e9\u4e2d\x00 "
texts = st.lists(
    st.text(st.sampled_from(ODD), min_size=1, max_size=12).filter(str.strip), min_size=3, max_size=6, unique=True
)


@settings(max_examples=60, deadline=None)
@given(texts, st.lists(st.text(st.sampled_from("aB1.0,;|\"'=<- \u00e9"), max_size=6), min_size=2, max_size=2))
@example(["a\rb", "c", "d"], ["=1+1", "<script>"])
def test_what_was_labelled_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, items: list[str], words: list[str]
) -> None:
    labels = [clean_label(word) for word in words]
    if any(no_label(label) for label in labels):
        return
    folder = tmp_path_factory.mktemp("labels")
    of = pool([f"A text, {text}" for text in items])
    journal = Journal(folder)
    for row, key in enumerate(of.keys):
        journal.answer(key, of.ids[row], labels[row % 2])
    table = read(save_labels(folder, of, journal), content="text", label="label")
    journal.close()
    assert list(table.contents) == list(of.contents) and not table.faults
    assert [table.classes[code] for code in table.labels] == [labels[row % 2] for row in range(len(of))]


def test_a_table_changed_by_hand_is_kept(tmp_path: Path) -> None:
    of, journal = pool(), Journal(tmp_path)
    path = save_labels(tmp_path, of, journal)
    journal.answer(of.keys[0], "0", "cat")
    save_labels(tmp_path, of, journal)
    assert edited(tmp_path) == (), "what we wrote ourselves is written over"
    for number, change in enumerate(("dog", "owl"), start=1):
        path.write_text(path.read_text().replace("cat", change))
        save_labels(tmp_path, of, journal)
        assert "cat" in path.read_text() and len(edited(tmp_path)) == number
    assert {next(iter(p.read_text().splitlines()[1:])).split(",")[1] for p in edited(tmp_path)} == {"dog", "owl"}
    journal.close()
    again = Journal(tmp_path)
    assert again.answers == {of.keys[0]: "cat"} and len(again.tables) == 2
    save_labels(tmp_path, of, again)
    assert len(edited(tmp_path)) == 2
    again.close()


def test_a_kill_between_record_and_table_is_no_change_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of, journal = pool(), Journal(tmp_path)
    save_labels(tmp_path, of, journal)
    journal.answer(of.keys[0], "0", "cat")

    def killed(*_: object) -> None:
        raise StorageError("killed")

    monkeypatch.setattr("graft.annotation.tables.write_bytes", killed)
    with pytest.raises(StorageError):
        save_labels(tmp_path, of, journal)
    monkeypatch.undo()
    save_labels(tmp_path, of, journal)
    assert edited(tmp_path) == () and "cat" in (tmp_path / "labels.csv").read_text()
    journal.close()


def test_names_of_half_characters_do_not_stop_a_table(tmp_path: Path) -> None:
    from dataclasses import replace

    of = replace(pool(), ids=tuple(f"\udcff{i}" for i in range(len(TEXTS))))
    journal = Journal(tmp_path)
    journal.answer(of.keys[0], of.ids[0], "cat")
    assert b"?0" in save_labels(tmp_path, of, journal).read_bytes()
    journal.close()
    with pytest.raises(DataError):
        (tmp_path / "answers.jsonl").write_bytes(b"[" * 5000 + b"\n")
        Journal(tmp_path)
