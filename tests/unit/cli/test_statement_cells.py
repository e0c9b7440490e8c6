"""Cells of statements: read rightly or refused, whatever stands in them, in no time."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.cli.statement.cells import (
    conversations_in,
    instant_of,
    is_receipt,
    money_of,
    own_ids_in,
    receiver_of,
    same_receiver,
)

NAIROBI = timezone(timedelta(hours=3))
NOON = datetime(2026, 11, 27, 9, 5, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "minor"),
    [
        ("", 0),
        ("0.00", 0),
        ("12.5", 1250),
        ("-1,250.50", -125050),
        ("1,131,340.00", 113134000),
        ("1250", 125000),
        ("20.0000", 2000),
        ("Ksh 20.00", 2000),
        ("KES1,000.00", 100000),
        ("-KES 3.00", -300),
        ("Ksh -3.00", -300),
        ("(3.00)", -300),
    ],
)
def test_money_is_read_to_the_cent(text: str, minor: int) -> None:
    """Thousands apart, signs, currencies and brackets are read; nothing is ever a float."""
    assert money_of(text) == minor


@pytest.mark.parametrize(
    "text",
    [
        "1.250,50",
        "1,25",
        "1.005",
        "--1",
        "(3.00",
        "3.00)",
        "1e3",
        "nan",
        "٣",
        "1 000.00",
        "12.50 CR",
    ],
)
def test_money_that_can_be_read_two_ways_is_refused(text: str) -> None:
    """An amount is never guessed."""
    with pytest.raises(ValueError, match="cannot be read"):
        money_of(text)


@pytest.mark.parametrize(
    "text",
    [
        "27-11-2026 12:05:59",
        "27/11/2026 12:05:59",
        "27.11.2026 12:05:59",
        "2026-11-27 12:05:59",
        "2026/11/27 12:05:59",
        "2026-11-27T12:05:59",
        "2026-11-27 12:05:59.123",
        "27-11-2026 12:05:59 PM",
        "20261127120559",
        "2026-11-27T09:05:59Z",
        "2026-11-27T11:05:59+02:00",
    ],
)
def test_instants_are_local_unless_they_say_otherwise(text: str) -> None:
    """Day or year first, with the statement's offset where the text has none."""
    assert instant_of(text, NAIROBI) == NOON


@pytest.mark.parametrize(
    "text",
    [
        "11-27-2026 12:05:59",
        "27-11-26 12:05",
        "31-02-2026 00:00",
        "0000-00-00 00:00",
        "today",
        "",
        "27-11-2026 13:05 PM",
        "2026-11-27 12:05:59+99:00",
        "99999999999999",
        "27-11-2026",
    ],
)
def test_instants_that_are_none_are_refused(text: str) -> None:
    """A month that comes first, two-digit years and days that there are not."""
    with pytest.raises(ValueError, match="cannot be read"):
        instant_of(text, NAIROBI)


@pytest.mark.parametrize(
    ("party", "details", "receiver"),
    [
        ("254712345678 - JUMA OTIENO", "", "254712345678"),
        ("0712345678 - JUMA", "", "254712345678"),
        ("2547****5678 - JUMA", "", "2547****5678"),
        ("254712***678", "", "254712***678"),
        ("2547xxxx5678", "", "2547****5678"),
        ("", "Business Payment to 254712345678 - JUMA via API", "254712345678"),
        ("", "Business Payment to - 0712***678 JUMA", "254712***678"),
        ("", "Salary 20261127001 of November", None),
        ("JUMA OTIENO", "Business Payment", None),
        ("600000 - TWIGA", "", None),
    ],
)
def test_receivers_are_found_where_they_stand(
    party: str, details: str, receiver: str | None
) -> None:
    """In the other party, else behind “to”; other long numbers are references."""
    assert receiver_of(party, details) == receiver


@pytest.mark.parametrize(
    ("told", "same"),
    [
        ("254712345678", True),
        ("254712345679", False),
        ("2547****5678", True),
        ("0712***678", True),
        ("254712***679", False),
        ("2541****5678", False),
        ("712345678", True),
    ],
)
def test_a_hidden_middle_contradicts_nothing(told: str, same: bool) -> None:
    """Only what can be read is compared; a number of another form says nothing."""
    assert same_receiver(told, "254712345678") is same


def test_ids_are_found_in_free_text() -> None:
    """Ours with every submission's form, M-PESA's too; a full stop is read both ways."""
    text = "to 254712345678. Original conversation ID is 600000_ORG_salary-2026.11-7."
    assert list(own_ids_in(text)) == [
        "600000_ORG_salary-2026.11-7.",
        "600000_ORG_salary-2026.11-7",
    ]
    assert list(own_ids_in("ID 600000_ORG-r2_a-1 x")) == ["600000_ORG-r2_a-1"]
    assert not list(own_ids_in("ID SWG_a6ca9221-1ceb and x600000_ORG_a"))
    assert list(conversations_in("is AG_20261127_000041b09c22e613d6c9.")) == [
        "AG_20261127_000041b09c22e613d6c9"
    ]


@given(st.text(max_size=300))
def test_no_text_breaks_a_cell(text: str) -> None:
    """Every reader answers or raises ValueError; nothing else, for any text."""
    for read in (money_of, lambda one: instant_of(one, NAIROBI)):
        with contextlib.suppress(ValueError):
            read(text)
    receiver_of(text, text)
    list(own_ids_in(text))
    list(conversations_in(text))
    is_receipt(text)


@pytest.mark.parametrize("unit", ["1", "1,", "*", "254712345678 ", "600000_ORG_a.", "to -", "AG_1"])
def test_long_cells_take_no_time(unit: str) -> None:
    """64 KiB of anything are looked at no further than the first 2 KiB."""
    cell = unit * (64 * 1024 // len(unit))
    started = datetime.now(UTC)
    for read in (money_of, lambda one: instant_of(one, NAIROBI)):
        with pytest.raises(ValueError, match="cannot be read"):
            read(cell)
    receiver_of(cell, cell)
    list(own_ids_in(cell))
    list(conversations_in(cell))
    is_receipt(cell)
    assert datetime.now(UTC) - started < timedelta(milliseconds=500)
