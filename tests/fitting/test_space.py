"""What `--over` means is read exactly, and whatever else is written is refused with its reason."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.errors import UsageError
from graft.fitting.space import (
    FROZEN_RANGES,
    Axis,
    combinations,
    keywords,
    read_given,
    read_request,
    read_space,
    shown,
)
from graft.strategies.frozen import STRATEGIES
from graft.strategies.trained import TRAINED

LORA = keywords("lora")


def test_the_example_of_the_manual() -> None:
    axes = read_space("rate=1e-5..1e-3:log, epochs=1..5,rank=4|8|16", LORA)
    assert axes == (
        Axis("rate", (), 1e-5, 1e-3, log=True),
        Axis("epochs", (), 1.0, 5.0, whole=True),
        Axis("rank", (4, 8, 16)),
    )
    assert [axis.told() for axis in axes] == ["1e-05 to 0.001, log", "1 to 5, whole numbers", "4, 8 or 16"]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("rate=1e-5..1e-3:log/3", (1e-5, 1e-4, 1e-3)),
        ("rate=0..1/5", (0.0, 0.25, 0.5, 0.75, 1.0)),
        ("rate=1e-5..1e-4:log/4", (1e-5, 2.154e-5, 4.642e-5, 1e-4)),
        ("rank=1..64:log/4", (1, 4, 16, 64)),
        ("rank=1..3/9", (1, 2, 3)),
        ("epochs=1..4/4", (1.0, 2.0, 3.0, 4.0)),
        ("epochs=0.5..1/2", (0.5, 1.0)),
        ("dropout=none|0.1", (None, 0.1)),
        ("range_test=true|off", (True, False)),
        ("schedule=cosine|one-cycle", ("cosine", "one-cycle")),
    ],
)
def test_points_and_choices(text: str, values: tuple[object, ...]) -> None:
    (axis,) = read_space(text, LORA)
    assert axis.values == axis.points() == values
    assert [type(v) for v in axis.values] == [type(v) for v in values]


def test_fifteen_points() -> None:
    (axis,) = read_space("rate=1e-5..1e-3:log/15", LORA)
    assert len(axis.values) == 15
    steps = [math.log(b / a) for a, b in zip(axis.values, axis.values[1:], strict=False)]
    assert max(steps) - min(steps) < 1e-3
    assert axis.told() == "15 numbers from 1e-05 to 0.001"


def test_a_grid_goes_through_all_in_order() -> None:
    axes = read_space("epochs=1..2,rank=4|8|16", LORA)
    assert [tuple(s.values()) for s in combinations(axes)] == [(1, 4), (1, 8), (1, 16), (2, 4), (2, 8), (2, 16)]
    with pytest.raises(UsageError, match=r"rate=0\.1\.\.1 is endless.*mixup=0\.\.1 is endless"):
        combinations(read_space("rate=0.1..1,mixup=0..1", LORA))
    with pytest.raises(UsageError, match="12,000 combinations"):
        combinations(read_space("rank=1..120,batch=1..100", LORA))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "nothing is named"),
        ("rate", "'rate': a setting is written"),
        ("rate=", "'rate=': a setting is written"),
        ("rat=1..2", "Did you mean 'rate'?"),
        ("rate=3", "one value"),
        ("rate=3|3.0", "named twice"),
        ("rate=1|2,rate=1..2", "rate is named twice"),
        ("rate=2..1", "to a larger one"),
        ("rate=1..1", "to a larger one"),
        ("rate=0..1:log", "begins above 0"),
        ("rate=0..1:exp", "a range is written"),
        ("rate=0..1/1", "number of points"),
        ("rate=0..1/x", "number of points"),
        ("rate=-1..1", "between 0 and 100"),
        ("rate=nan..1", "between 0 and 100"),
        ("dropout=none..0.9", "to a larger one"),
        ("rank=1.5..3", "rank=1.5"),
        ("rank=1..2..3", "rank=2..3"),
        ("schedule=a..b", "takes words"),
        ("schedule=cosine|steep", "'steep' is not known"),
        ("splits=1..5", "nothing to search"),
    ],
)
def test_what_is_wrong_is_said(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_space(text, LORA)
    assert caught.value.message.startswith("--over: ")
    assert says in caught.value.message


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        read_request("lora", "rate=2..1,foo=1..2", "bar=1,rank=none", grid=False)
    for part in ("rate=2..1", "'foo'", "'bar'", "rank=none"):
        assert part in caught.value.message
    with pytest.raises(UsageError, match="rank: named by --over and by --train"):
        read_request("lora", "rank=1..2", "rank=3", grid=False)


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "zero-shot"])
def test_frozen_strategies_name_their_grid_keys(name: str) -> None:
    allowed = keywords(name)
    strategy = STRATEGIES[name]
    for setting in strategy.settings([1, 10]):  # type: ignore[arg-type]
        for key, value in setting.items():
            assert allowed[key].read(shown(value)) == value
    for key in allowed.keys() & FROZEN_RANGES.keys():
        with pytest.raises(UsageError, match=f"{key}=-1"):
            allowed[key].read("-1")


def test_strategies_without_settings_and_unknown_ones() -> None:
    with pytest.raises(UsageError, match="has no settings"):
        keywords("zero-shot")
    with pytest.raises(UsageError, match="Did you mean 'lora'"):
        keywords("lorra")
    assert all(keywords(name) for name in TRAINED)
    with pytest.raises(UsageError, match="L2N"):
        read_space("normalisation=L2N|L3N", keywords("prototypes"))
    (axis,) = read_space("name_weight=none|3", keywords("named-prototypes"))
    assert axis.values == (None, 3.0)


@given(st.text(alphabet="rateopchsnkdlg=|.,:/0123456789e-+ ", max_size=40))
def test_nothing_that_is_written_breaks_it(text: str) -> None:
    try:
        axes = read_space(text, LORA)
    except UsageError as error:
        assert error.message.startswith("--over: ")
        return
    for axis in axes:
        assert axis.values or axis.low < axis.high


numbers = st.floats(1e-7, 100, allow_nan=False)


@given(low=numbers, high=numbers, log=st.booleans(), points=st.none() | st.integers(2, 40))
def test_ranges_are_read_back(low: float, high: float, log: bool, points: int | None) -> None:
    low, high = min(low, high), max(low, high)
    text = f"rate={low!r}..{high!r}{':log' * log}{f'/{points}' if points else ''}"
    if low == high:
        with pytest.raises(UsageError):
            read_space(text, LORA)
        return
    (axis,) = read_space(text, LORA)
    if points is None:
        assert axis == Axis("rate", (), low, high, log)
        return
    assert axis.values[0] == low and axis.values[-1] == high
    assert list(axis.values) == sorted(set(axis.values)) and len(axis.values) <= points


values = st.none() | st.booleans() | st.integers(-1000, 1000) | st.floats(allow_nan=False, allow_infinity=False)


@given(st.floats(1e-6, 100))
def test_what_is_tried_can_be_written_after_train(value: float) -> None:
    tried = Axis("rate", (), 1e-6, 100.0).rounded(value)
    assert abs(tried - value) <= 5.1e-4 * value
    assert LORA["rate"].read(shown(tried)) == tried
    assert read_given(f"rate={shown(tried)}", LORA) == {"rate": shown(tried)}


@given(value=values)
def test_an_axis_holds_its_own_values_alone(value: object) -> None:
    assert Axis("x", (1, None, "a")).holds(value) == (value is None or (type(value) is int and value == 1))
    whole = Axis("x", (), 1.0, 5.0, whole=True)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    assert whole.holds(value) == (number and value in (1, 2, 3, 4, 5))
