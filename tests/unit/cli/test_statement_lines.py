"""Lines of statements: payouts, their charges and everything else are told apart by their words."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.cli.statement.lines import Line, LineReader, Sort, Unreadable
from payouts.settings.groups import STATEMENT_PAYMENTS
from payouts.settings.kinds import STATEMENT_FIELDS

NOW = datetime(2026, 11, 28, tzinfo=UTC)
READER = LineReader(timezone(timedelta(hours=3)), re.compile(STATEMENT_PAYMENTS), NOW)
OUT = {"withdrawn": "-12.50", "paid_in": ""}
IN = {"withdrawn": "", "paid_in": "12.50"}
LEVY = "Business Payment to 254712345678 - TERRY LEVY via API"


def read(**cells: str) -> Line | Unreadable | None:
    given = {"receipt": "UKR1234567", "completed": "27-11-2026 12:00:00", "status": "Completed"}
    return READER.read(5, {**given, **cells})


@pytest.mark.parametrize(
    ("money", "reason", "details", "sort"),
    [
        (OUT, "Business Payment to Customer via API", LEVY, Sort.PAYOUT),
        (OUT, "Salary Payment via API", "", Sort.PAYOUT),
        (OUT, "Promotion Payment", "", Sort.PAYOUT),
        (OUT, "", LEVY, Sort.PAYOUT),
        (OUT, "Salary Payment Withdrawal Charge Paid", LEVY, Sort.PAYOUT),
        (OUT, "B2C Payment", "", Sort.PAYOUT),
        (OUT, "Business Payment Charge", "", Sort.CHARGE),
        (OUT, "", "Business Payment Charge", Sort.CHARGE),
        (OUT, "Fee For B2C Payment", "", Sort.CHARGE),
        (OUT, "Salary Payment Withdrawal Charge Paid Fee", "", Sort.CHARGE),
        (OUT, "", "Excise duty", Sort.CHARGE),
        (OUT, "Business Pay Bill", "Pay Bill to 888880 - KPLC Acc. 1", Sort.UNKNOWN),
        (OUT, "Organization Settlement", "", Sort.UNKNOWN),
        (OUT, "Reversal of Business Payment", "", Sort.UNKNOWN),
        (IN, "Pay Bill Online", "Pay Bill from 254712345678 - JANE", Sort.INCOMING),
        (IN, "Business Payment Reversal", "", Sort.REVERSAL),
        (IN, "", "Reversed: Business Payment to 254712345678", Sort.REVERSAL),
    ],
)
def test_words_tell_what_a_line_is(
    money: dict[str, str], reason: str, details: str, sort: Sort
) -> None:
    """The reason decides, else what stands before the receiver; a person's name never does."""
    line = read(**money, reason=reason, details=details)
    assert isinstance(line, Line)
    assert (line.sort, line.minor) == (sort, 1250)


def test_a_line_keeps_what_is_compared_and_no_text() -> None:
    """The receipt, the instant, the money, ids, the receiver; its repr names none."""
    line = read(
        **OUT,
        details=f"{LEVY}. Original conversation ID is 600000_ORG_a-1.",
        party="0712***678 - T",
    )
    assert isinstance(line, Line)
    assert line.at == datetime(2026, 11, 27, 9, tzinfo=UTC)
    assert line.own_ids == ("600000_ORG_a-1.", "600000_ORG_a-1")
    assert (line.receipts, line.receiver) == (("UKR1234567",), "254712***678")
    assert "2547" not in repr(line)


def test_a_reversal_names_the_payment_that_came_back() -> None:
    """By the linked receipt, else by one in its details, else by its own."""
    line = read(**IN, details="Reversal of UKR7654321", linked="UKR0000001")
    assert isinstance(line, Line)
    assert line.receipts == ("UKR0000001", "UKR7654321", "UKR1234567")


@pytest.mark.parametrize(
    ("status", "completed"),
    [("Completed", True), ("COMPLETED", True), ("Failed", False), ("Pending", False), ("", False)],
)
def test_only_what_is_completed_counts_as_paid(status: str, completed: bool) -> None:
    """Any other status moves no money."""
    line = read(**OUT, status=status)
    assert isinstance(line, Line)
    assert line.completed is completed


def test_one_column_of_money_is_what_left() -> None:
    """Without columns for both directions the sign is the exporter's habit."""
    for text in ("12.50", "-12.50"):
        line = read(amount=text, reason="Salary Payment")
        assert isinstance(line, Line)
        assert (line.sort, line.minor) == (Sort.PAYOUT, 1250)


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ({**OUT, "receipt": ""}, "receipt"),
        ({**OUT, "receipt": "a b"}, "receipt"),
        ({**OUT, "receipt": "é" * 10}, "receipt"),
        ({**OUT, "completed": ""}, "time"),
        ({**OUT, "completed": "01-01-1970 00:00:00"}, "time"),
        ({**OUT, "completed": "01-01-2099 00:00:00"}, "time"),
        ({"withdrawn": "1.005"}, "amount"),
    ],
)
def test_what_cannot_be_read_is_told(cells: dict[str, str], why: str) -> None:
    """One wrong year would make the whole window wrong, so it is no time at all."""
    line = read(**cells)
    assert isinstance(line, Unreadable)
    assert (line.number, why in line.why) == (5, True)


def test_captions_and_blank_lines_are_no_lines() -> None:
    """What has neither receipt nor money."""
    assert read(receipt="", completed="", details="Total", withdrawn="", paid_in="") is None


@given(st.dictionaries(st.sampled_from(STATEMENT_FIELDS), st.text(max_size=100)))
def test_no_cells_break_the_reader(cells: dict[str, str]) -> None:
    """Every row is a line, unreadable or none."""
    line = READER.read(1, cells)
    assert line is None or isinstance(line, Line | Unreadable)
