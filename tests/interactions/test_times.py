"""Moments in the forms people write them."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.interactions.times import Moments

AT = datetime(2000, 7, 30, 18, 45, 3, tzinfo=UTC).timestamp()
DAY = datetime(2000, 7, 30, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("cell", "seconds", "form"),
    [
        ("964982703", AT, "seconds"),
        ("964982703000", AT, "milliseconds"),
        ("964982703000000", AT, "microseconds"),
        ("964982703000000000", AT, "nanoseconds"),
        ("2000-07-30", DAY, "ISO dates"),
        ("2000-07-30 18:45:03", AT, "ISO dates"),
        ("2000-07-30T18:45:03Z", AT, "ISO dates"),
        ("2000-07-30T20:45:03.5+02:00", AT + 0.5, "ISO dates"),
        ("2000/07/30 18:45:03", AT, "year/month/day"),
        ("30/07/2000 18:45:03", AT, "day/month/year"),
        ("30.7.2000", DAY, "day/month/year"),
        ("7/30/2000 6:45:03 PM", AT, "month/day/year"),
        ("7/30/00", DAY, "month/day/year"),
        ("Jul 30, 2000 6:45:03 pm", AT, "dates with month names"),
        ("30th July 2000", DAY, "dates with month names"),
        ("Sun Jul 30 18:45:03 2000", AT, "dates with month names"),
        ("Sun, 30 Jul 2000 18:45:03 GMT", AT, "dates with month names"),
        ("30 Jul 2000 11:45:03 -0700", AT, "dates with month names"),
        ("30-Jul-2000", DAY, "dates with month names"),
    ],
)
def test_forms(cell: str, seconds: float, form: str) -> None:
    moments = Moments.of([cell])
    assert moments.read(pa.array([cell])).tolist() == [pytest.approx(seconds)]
    assert moments.read_cells([cell]).tolist() == [pytest.approx(seconds)]
    assert dict(moments.forms) == {form: 2}


@pytest.mark.parametrize(
    "cell", ["soon", "2000-13-45", "32/13/2000", "25:61", "Jul 2000", "3 Mayor 2000", "inf", "1e300", "1/2", "13 PM"]
)
def test_what_is_no_time(cell: str) -> None:
    assert math.isnan(Moments.of([]).read_cells([cell])[0])


def test_three_forms_in_one_column_are_read_row_by_row_and_counted() -> None:
    moments = Moments.of(["964982703", "30/07/2000"])
    column = pa.array(["964982703", "2000-07-30", "964982703", "30/07/2000", "never", None])
    assert moments.read(column).tolist() == pytest.approx([AT, DAY, AT, DAY, math.nan, math.nan], nan_ok=True)
    assert moments.told() == "seconds 2, ISO dates 1, day/month/year 1"


def test_the_column_tells_day_from_month() -> None:
    april, march = (datetime(2021, month, day, tzinfo=UTC).timestamp() for month, day in ((4, 3), (3, 4)))
    days, months, neither = (Moments.of([*seen, "03/04/2021"]) for seen in (["25/12/2020"], ["12/25/2020"], []))
    assert [moments.read_cells(["03/04/2021"])[0] for moments in (days, months, neither)] == [april, march, march]
    assert [moments.ambiguous for moments in (days, months, neither)] == [False, False, True]


def test_eight_digits_and_years_where_all_cells_are_such() -> None:
    days = Moments.of(["20000730", "20001231"])
    assert days.read(pa.array(["20000730"])).tolist() == [DAY]
    assert Moments.of(["20000730", "964982703"]).read(pa.array(["20000730"])).tolist() == [20000730]
    assert Moments.of(["1970", "2000"]).read(pa.array([1970, 1971])).tolist() == [0, 365 * 86400]
    assert Moments.of(["1", "2000"]).read(pa.array(["2000"])).tolist() == [2000]


def test_typed_columns() -> None:
    moments = Moments.of([])
    assert moments.read(pa.array([datetime(2000, 7, 30, 18, 45, 3), None])).tolist() == pytest.approx(
        [AT, math.nan], nan_ok=True
    )
    assert moments.read(pa.array([date(2000, 7, 30)])).tolist() == [DAY]
    assert moments.read(pa.array([964982703, None])).tolist() == pytest.approx([AT, math.nan], nan_ok=True)
    assert moments.read_cells([datetime(2000, 7, 30, 18, 45, 3), date(2000, 7, 30)]).tolist() == [AT, DAY]


@settings(max_examples=50)
@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2190, 1, 1)),
    st.sampled_from(["%d %B %Y %H:%M:%S", "%a, %d %b %Y %H:%M:%S +0000", "%Y/%m/%d %H:%M:%S"]),
)
def test_dates_written_in_words_come_back(moment: datetime, form: str) -> None:
    exact = moment.replace(microsecond=0, tzinfo=UTC)
    assert Moments.of([]).read_cells([exact.strftime(form)])[0] == exact.timestamp()


@settings(max_examples=50)
@given(st.text(max_size=30))
def test_no_text_breaks_it(cell: str) -> None:
    found = Moments.of([cell]).read_cells([cell])
    assert found.shape == (1,)
    assert not math.isinf(found[0])
