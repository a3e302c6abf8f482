"""Settings of two towers as people write them: what is read, what is fixed, and everything that is wrong named at once."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from graft.errors import UsageError
from graft.recommending.models import kinds_named, with_tower
from graft.towers.sampling import Shares
from graft.towers.training import Training, read_tower


def test_settings_are_read_by_their_kind() -> None:
    found = read_tower(
        "dims=16, temperature=0.2,epochs=none,left=1,random=3,logq=off,margin=0.3,loss=triplet,before=none"
    )
    assert found == {
        "dims": 16,
        "temperature": 0.2,
        "epochs": None,
        "training": {
            "negatives": {"random": 3.0, "in_batch": 0.0, "same_category": 0.0, "left": 1.0},
            "logq": False,
            "margin": 0.3,
            "loss": "triplet",
            "before": None,
        },
    }
    made = Training.of(found["training"])
    assert made.negatives.scaled() == Shares(random=0.75, in_batch=0, left=0.25) and not made.logq and made.batch == 256
    assert read_tower("") == {} and Training.of({}) == Training() and Training.of(asdict(made)) == made


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("temprature=1", ("'temperature'",)),
        ("epochs", ("key=value",)),
        ("epochs=1.5,logq=perhaps", ("epochs=1.5", "int or none", "logq=perhaps")),
        ("dims=1,loss=hinge,margin=nan,epochs=0", ("dims=1", "loss='hinge'", "margin=nan", "epochs=0")),
        ("left=-1,rate=inf", ("left=-1", "rate=inf")),
        ("random=0", ("all are 0",)),
    ],
)
def test_all_that_is_wrong_is_named(text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        read_tower(text)
    assert caught.value.message.startswith("--tower: ") or "key=value" in words
    assert all(word in caught.value.message for word in words), caught.value.message


def test_given_settings_are_not_tried_otherwise() -> None:
    (tower,) = [kind for kind in with_tower(None, {"temperature": 0.3}) or () if kind.name == "two-tower"]
    assert [(s["temperature"], s["epochs"]) for s in tower.grid()] == [(0.3, 3), (0.3, 6)]
    assert with_tower(None, {}) is None
    with pytest.raises(UsageError, match="Add two-tower"):
        with_tower(kinds_named("als"), {"temperature": 0.3})
