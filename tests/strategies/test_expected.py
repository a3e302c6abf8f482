"""What is known of strategies beforehand."""

from __future__ import annotations

import pytest

from graft.strategies.expected import ADVANTAGE, LABELS, MENDED, advantage, expected_gain, likely_wrong, names_hold
from graft.strategies.frozen import STRATEGIES
from graft.strategies.trained import TRAINED


def test_advantage_is_the_table_between_its_columns() -> None:
    assert set(ADVANTAGE) == set(STRATEGIES)
    for name, row in ADVANTAGE.items():
        assert [advantage(name, k, names=True) for k in LABELS] == pytest.approx(row)
    assert advantage("named-prototypes", 10_000, names=True) == ADVANTAGE["named-prototypes"][-1]
    middle = advantage("named-linear-probe", 50**0.5 * 20**0.5, names=True)
    low, high = sorted((ADVANTAGE["named-linear-probe"][4], ADVANTAGE["named-linear-probe"][5]))
    assert low <= middle <= high
    assert advantage("contrastive", 5, names=True) == 0.0


def test_names_hold_when_they_beat_chance() -> None:
    assert names_hold(0.62, 10, 10)
    assert not names_hold(0.0, 6, 6) and not names_hold(1 / 6, 30, 6)
    assert not names_hold(0.5, 1000, 2)
    assert names_hold(0.73, 16, 2)
    assert names_hold(0.0, 0, 10)  # nothing seen yet: expected to help


def test_a_share_of_the_mistakes_is_expected_to_be_mended() -> None:
    share = MENDED["contrastive", "text"][LABELS.index(10)]
    assert expected_gain("contrastive", "text", 10, 0.3) == pytest.approx(0.3 * share)
    assert expected_gain("contrastive", "text", 10, 0.0) == 0
    assert expected_gain("contrastive", "image", 10, 0.3) == expected_gain("lora", "text", 10, 0.3) == 0
    assert {(name, kind) for name, rung in TRAINED.items() for kind in rung.climbed} >= MENDED.keys()
    assert all(len(shares) == len(LABELS) and min(shares) >= 0 and max(shares) < 0.2 for shares in MENDED.values())


def test_two_mistakes_on_a_few_items_are_reckoned_beside_eight_of_forty() -> None:
    assert likely_wrong(2, 32) == pytest.approx(10 / 72)
    assert likely_wrong(0, 0) == pytest.approx(0.2)
    assert likely_wrong(30_000, 100_000) == pytest.approx(0.3, abs=1e-3)
