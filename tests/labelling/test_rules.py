"""Rules from files and from Python: what they find, and every fault at once."""

from __future__ import annotations

import contextlib
import re
import signal
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.errors import DataError, MissingError
from graft.labelling import rules as rules_module
from graft.labelling.rules import apply_rules, keyword, pattern, read_rules

TEXTS = ["I want my MONEY back!", "moneyed people", "call 555-1234 now", "nothing here"]


def test_keywords_are_whole_words_in_any_case() -> None:
    rule = keyword("refund", "money back", "reimburse")
    assert [rule(text) for text in TEXTS] == ["refund", None, None, None]
    assert keyword("a", "c++")("I like C++, really") == "a"


def test_patterns() -> None:
    assert [pattern("spam", r"\d{3}-\d{4}")(text) for text in TEXTS] == [None, None, "spam", None]
    with pytest.raises(re.error):
        pattern("spam", "(")


def test_a_file_of_rules(tmp_path: Path) -> None:
    path = tmp_path / "rules.txt"
    path.write_text("# remarks and blank lines are fine\n\nrefund\tmoney back, reimburse\nspam\t/\\d{3}-\\d{4}/\n")
    rules = read_rules(path, ("refund", "spam"))
    found = apply_rules(rules, TEXTS, ("refund", "spam"))
    assert found.votes.tolist() == [[0, -1], [-1, -1], [-1, 1], [-1, -1]]
    assert list(rules) == ["line 3: refund, money back, reimburse", "line 4: spam, /\\d{3}-\\d{4}/"]
    assert found.faults == ()


def test_all_faults_of_a_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "rules.txt"
    path.write_text("refund money back\nrefnd\tmoney\nspam\t/(/\nspam\t , \n")
    with pytest.raises(DataError) as caught:
        read_rules(path, ("refund", "spam"))
    told = {fault.where: fault.problem for fault in caught.value.faults}
    assert list(told) == ["line 1", "line 2", "line 3", "line 4"]
    assert "label<TAB>" in told["line 1"]
    assert "Did you mean 'refund'?" in told["line 2"]
    assert "names no word" in told["line 4"]


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no file"):
        read_rules(tmp_path / "gone", ())
    (tmp_path / "empty").write_text("# nothing\n")
    with pytest.raises(DataError, match="holds no rule"):
        read_rules(tmp_path / "empty", ())
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="no UTF-8"):
        read_rules(tmp_path / "bytes", ())


def test_rules_that_raise_never_speak_or_return_nonsense() -> None:
    def breaks(text: str) -> str | None:
        return {"I": "refund"}[text[0]]

    rules = {"good": keyword("refund", "back"), "breaks": breaks, "mute": lambda _: None, "odd": lambda _: 7}
    found = apply_rules(rules, TEXTS, ())  # type: ignore[arg-type]
    assert found.classes == ("refund",)
    assert found.votes.tolist() == [[0, 0, -1, -1], *[[-1] * 4] * 3]
    told = {fault.where: fault.problem for fault in found.faults if "says nothing" not in fault.problem}
    assert "failed on 3 of 4 items, first on item 1: KeyError" in told["breaks"]
    assert "neither a label nor None" in told["odd"]
    assert {f.where for f in found.faults if "says nothing" in f.problem} == {"mute"}


def test_unknown_labels_and_silence_are_refused() -> None:
    with pytest.raises(DataError) as caught:
        apply_rules(
            {"a": keyword("refnd", "money"), "b": keyword("spm", "call"), "mute": lambda _: None},
            TEXTS,
            ("refund", "spam"),
        )
    assert [f.where for f in caught.value.faults] == ["a", "b", "mute"]
    with pytest.raises(DataError, match="None of 1 rules"):
        apply_rules({"mute": lambda _: None}, TEXTS, ("refund",))


@given(st.text(max_size=200))
def test_any_line_is_a_rule_or_a_fault(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        rules = read_rules(path, ())
    except DataError:
        return
    assert rules and all(rule("") is None or isinstance(rule(""), str) for rule in rules.values())


def test_a_rule_that_never_returns_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules_module, "PATIENCE", 0.1)
    before = signal.getsignal(signal.SIGALRM)

    def stubborn(text: str) -> str | None:
        while text != TEXTS[0]:
            with contextlib.suppress(Exception):  # a rule that swallows what is raised in it
                time.sleep(10)
        return "refund"

    slow = pattern("refund", r"(a+)+$")  # takes for ever on what follows
    rules = {"good": keyword("refund", "back"), "stubborn": stubborn, "slow": slow}
    found = apply_rules(rules, [*TEXTS, "a" * 60 + "!"], ())
    assert found.votes.tolist() == [[0, -1, -1], *[[-1] * 3] * 4], "nothing it said before counts"
    told = {fault.where: fault.problem for fault in found.faults}
    assert "did not return" in told["stubborn"] and "on item 1" in told["stubborn"]
    assert "on item 4" in told["slow"] and {fault.about for fault in found.faults} == {"rule"}
    assert signal.getsignal(signal.SIGALRM) == before and signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_an_expression_among_words_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rules.txt"
    path.write_text("refund\tmoney, /back/\nrefund\t/a{2,3}/\n")
    with pytest.raises(DataError) as caught:
        read_rules(path, ())
    assert [fault.where for fault in caught.value.faults] == ["line 1"]
    assert "a line of its own" in caught.value.faults[0].problem
