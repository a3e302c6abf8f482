"""Axes, ticks, names beside marks, and the pictures built of them."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reports.samples import no_test_part, one_label, pictures

from graft.reports.charts import (
    LETTER,
    Name,
    Spot,
    choice_axis,
    count_axis,
    curve,
    linear_axis,
    place,
    power_axis,
    reliability,
    time_axis,
    time_parts,
    value_axis,
)
from graft.reports.confusion import confusion_view
from graft.reports.ladder import ladder
from graft.reports.vector_map import vector_map
from graft.results import ClassRow, Confusion, Interval, MapPoint

finite = st.floats(0, 1)


@given(st.lists(finite, min_size=1, max_size=20))
def test_a_linear_axis_holds_its_values_and_has_round_ticks(values: list[float]) -> None:
    axis = linear_axis(values, repr, lowest=0.0, highest=1.0)
    assert 0 <= axis.low <= min(values) <= max(values) <= axis.high <= 1
    assert 2 <= len(axis.ticks) <= 12
    ats = [t.at for t in axis.ticks]
    assert ats == sorted(ats, reverse=True)
    assert len({t.text for t in axis.ticks}) == len(ats)
    assert axis.at(axis.low) == 100
    assert axis.at(axis.high) == 0


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20))
def test_a_time_axis_holds_its_values_and_has_ticks(values: list[float]) -> None:
    axis = time_axis(values)
    assert all(0 <= axis.at(v) <= 100 for v in values)
    assert len(axis.ticks) >= 2
    assert all(0 <= t.at <= 100 for t in axis.ticks)


def test_a_decade_is_as_long_as_the_next() -> None:
    axis = time_axis([0.01, 5.0])
    assert axis.at(0.1) - axis.at(0.01) == pytest.approx(axis.at(1) - axis.at(0.1), abs=0.02)
    assert [t.text for t in axis.ticks] == [
        "10\u202fms",
        "30\u202fms",
        "100\u202fms",
        "300\u202fms",
        "1\u202fs",
        "3\u202fs",
    ]


def test_an_axis_of_time_speaks_of_minutes_and_hours() -> None:
    words = [t.text.replace("\u202f", " ") for t in time_axis([0.002, 3600.0]).ticks]
    assert words == ["10 ms", "100 ms", "1 s", "10 s", "1 min", "10 min", "1 h"]
    words = [t.text.replace("\u202f", " ") for t in time_axis([30.0, 7200.0]).ticks]
    assert words == ["30 s", "1 min", "3 min", "10 min", "30 min", "1 h", "3 h"]


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=20))
def test_an_axis_of_counts_has_whole_ticks(values: list[int]) -> None:
    axis = count_axis(values)
    assert all(0 <= axis.at(v) <= 100 for v in values)
    assert 1 <= len(axis.ticks) <= 8
    assert all(axis.at(int(t.text.replace(",", ""))) == t.at for t in axis.ticks)


def test_ten_epochs_have_even_ticks() -> None:
    assert [t.text for t in count_axis(range(1, 11)).ticks] == ["2", "4", "6", "8", "10"]
    assert [(t.text, t.at) for t in count_axis([3]).ticks] == [("3", 50.0)]


@given(st.lists(st.floats(1e-12, 1e12), min_size=1, max_size=20))
def test_an_axis_of_powers_holds_its_values(values: list[float]) -> None:
    axis = power_axis(values)
    assert axis.low <= min(values) <= max(values) <= axis.high
    assert 1 <= len(axis.ticks) <= 7


def test_the_ticks_of_rates() -> None:
    assert [t.text for t in power_axis([1e-6, 0.1]).ticks] == ["1e-6", "1e-5", "1e-4", "1e-3", "0.01", "0.1"]
    assert [t.text for t in power_axis([1e-7, 10], most=4).ticks] == ["1e-7", "1e-4", "0.1"]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_an_axis_of_values_holds_them(values: list[float]) -> None:
    axis = value_axis(values)
    assert axis.low <= min(values) <= max(values) <= axis.high
    assert len({t.text for t in axis.ticks}) >= 1


def test_choices_stand_in_the_middle_of_their_stretch() -> None:
    assert [(t.at, t.text) for t in choice_axis(["a", "b"]).ticks] == [(25.0, "a"), (75.0, "b")]


def test_a_curve_has_a_gap_where_there_is_no_number() -> None:
    x, y = count_axis([0, 4]), linear_axis([0.0, 1.0], repr, lowest=0.0, highest=1.0)
    made = curve([(0, 0.0), (1, 1.0), (2, None), (3, float("nan")), (4, 0.5)], x, y, repr)
    assert made.path == "M0 100L25 0M100 50"
    assert made.points == ((0.0, 100.0, "0.0"), (25.0, 0.0, "1.0"), (100.0, 50.0, "0.5"))


spots = st.builds(
    lambda x, y, half, words: Spot(x, y, y + half, y - half, words),
    st.floats(0, 600),
    st.floats(20, 280),
    st.floats(0, 40),
    st.just(("a-long-name-of-a-strategy", "7")),
)


@given(st.lists(spots, max_size=8))
def test_names_never_cover_one_another(found: list[Spot]) -> None:
    names = place(found, 600)

    def box(spot: Spot, name: Name) -> tuple[float, float, float, float]:
        width = LETTER * len(name.text)
        left = spot.x + name.dx - {"start": 0, "middle": width / 2, "end": width}[name.anchor]
        return left, spot.y + name.dy - 10, left + width, spot.y + name.dy + 3

    boxes = [box(s, n) for s, n in zip(found, names, strict=True) if n]
    for a, b in itertools.combinations(boxes, 2):
        assert a[2] <= b[0] + 0.2 or b[2] <= a[0] + 0.2 or a[3] <= b[1] + 0.2 or b[3] <= a[1] + 0.2
    assert all(b[0] >= -0.2 and b[2] <= 600.2 for b in boxes)


def test_a_lone_mark_has_its_name_beside_it() -> None:
    assert place([Spot(100, 100, 110, 90, ("linear-probe", "5"))], 600) == [Name("linear-probe", 11.0, 4.0, "start")]


def test_the_ladder_climbs_only_where_the_score_does() -> None:
    result = pictures().result
    scores = (0.5, 0.7, 0.6, 0.9)
    chosen = result.strategies[:4]
    made = tuple(
        replace(s, metrics={"accuracy": Interval(v, None, None, 5)}, seconds=10.0**i)
        for i, (s, v) in enumerate(zip(chosen, scores, strict=True))
    )
    view = ladder(replace(result, strategies=made, chosen="prototypes"))
    corners = {(x, y) for x1, y1, x2, y2 in view.steps for x, y in ((x1, y1), (x2, y2))}
    on_it = [(m.x, m.y) in corners for m in view.marks]
    assert on_it == [True, True, False, True]
    assert all(m.low == m.high == m.y for m in view.marks)
    assert [m.row.chosen for m in view.marks] == [False, True, False, False]


def test_a_lower_log_loss_climbs() -> None:
    result = pictures().result
    made = tuple(
        replace(s, metrics={"log_loss": Interval(v, None, None, 5)}, seconds=t)
        for s, v, t in zip(result.strategies, (0.9, 0.4, 0.6), (1.0, 2.0, 4.0), strict=False)
    )
    view = ladder(replace(result, strategies=made, metric="log_loss"))
    assert view.steps[0][1] < view.steps[-1][3]  # downwards on the page is lower, which is better here
    assert len(view.steps) == 2


def test_two_encoders_are_told_apart_and_one_is_chosen() -> None:
    result = pictures().result
    both = result.strategies + tuple(replace(s, encoder=result.encoder.reference) for s in result.strategies)
    view = ladder(replace(result, strategies=both))
    assert [row.number for row in view.rows if row.chosen] == [13]
    assert {row.encoder for row in view.rows} == {"minilm", result.encoder.reference}


def test_what_was_not_measured_has_no_mark() -> None:
    assert ladder(one_label().result).marks == ()
    view = ladder(no_test_part().result)
    assert len(view.rows) == 7
    assert len(view.marks) == 4


def test_reliability_marks_grow_in_area_with_their_items() -> None:
    view = reliability("", [(0.5, 0.25, 1), (0.9, 1.0, 3), (0.1, 0.0, 0)])
    assert [(b.x, b.y) for b in view.bins] == [(50.0, 75.0), (90.0, 0.0)]
    small, large = (b.radius - 2.5 for b in view.bins)
    assert (large / small) ** 2 == pytest.approx(3, rel=0.05)


def test_times_share_the_bar() -> None:
    parts = time_parts({"read": 1.0, "encode": 3.0, "report": 0.0, "total": 4.2})
    assert [(p.name, p.share) for p in parts] == [("read", 25.0), ("encode", 75.0)]


def test_a_small_confusion_is_shown_whole() -> None:
    view = confusion_view(Confusion(("a", "b"), ((3, 1), (0, 4)), "test"))
    assert (view.total, view.wrong, view.compact) == (8, 1, None)
    assert [(p.true, p.predicted, p.n, p.share) for p in view.pairs] == [("a", "b", 1, 0.25)]
    assert view.cells is not None
    assert [[(c.n, c.shade, c.right) for c in row] for row in view.cells] == [
        [(3, 0.75, True), (1, 0.5, False)],
        [(0, 0.0, False), (4, 1.0, True)],
    ]


def test_a_big_confusion_is_a_picture_and_its_worst_pairs() -> None:
    counts_CC = np.diag([5] * 300)
    counts_CC[7, 250], counts_CC[9, 8] = 4, 2
    view = confusion_view(Confusion(tuple(map(str, range(300))), tuple(map(tuple, counts_CC.tolist())), "test"))
    assert view.cells is None
    assert [(p.true, p.predicted, p.n) for p in view.pairs] == [("7", "250", 4), ("9", "8", 2)]
    assert view.compact is not None
    squares = [re.findall(r"M([\d.-]+) ([\d.-]+)h([\d.]+)", path) for path in view.compact.wrong]
    x, y, side = squares[2][0]  # a share of 4/9, whose root is 2/3
    assert (float(x) + float(side) / 2, float(y) + float(side) / 2) == (250.5, 7.5)
    assert sum(path.count("M") for path in view.compact.right) == 300


def points(labels: list[str]) -> tuple[MapPoint, ...]:
    return tuple(MapPoint(float(i), float(i % 7), label, labels[0], str(i)) for i, label in enumerate(labels))


def test_ten_classes_all_have_a_colour_and_distances_stay_true() -> None:
    view = vector_map(points([f"class {i % 10}" for i in range(100)]), "PCA", ())
    assert view is not None
    assert sorted(entry.colour for entry in view.legend if entry.colour is not None) == list(range(10))
    at = {view.data["points"][i][2]: (dot.x * view.aspect, dot.y) for i, dot in enumerate(view.dots)}
    (x0, y0), (x1, y1) = at["0"], at["1"]
    assert x1 - x0 == pytest.approx(y0 - y1, abs=0.3)
    assert all(0 <= dot.x <= 100 and 0 <= dot.y <= 100 for dot in view.dots)


def test_of_more_classes_those_with_most_errors_are_coloured() -> None:
    labels = [f"class {i % 30:02d}" for i in range(90)]
    rows = [ClassRow(f"class {c:02d}", 5, 10, None, 0.1 if c >= 21 else 1.0, None) for c in range(30)]
    view = vector_map(points(labels), "PCA", rows)
    assert view is not None
    assert [entry.name for entry in view.legend] == [f"class {c:02d}" for c in range(21, 30)]
    assert {dot.colour for dot in view.dots} == {None, *range(9)}


def test_a_map_is_thinned_and_may_be_missing() -> None:
    view = vector_map(points(["a", "b"] * 2000), "PCA", ())
    assert view is not None
    assert 1000 <= len(view.dots) <= 1500
    assert len(view.dots) == len(view.data["points"])
    assert vector_map((), "", ()) is None
