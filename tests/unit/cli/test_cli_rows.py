"""Rows become commands by the contract's own check; spreadsheet damage is named."""

import re
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.cli.sending import rows
from ops.cli.sending.columns import read_columns
from ops.cli.sending.csv_file import Row
from ops.cli.sending.rows import Defaults, RowReader, derived_payout_id, derived_run_id
from payouts.domain.commands import AccountRules
from payouts.domain.values import AccountName

RULES = {
    name: AccountRules(
        name=AccountName(name), shortcode="600000", organisation="ORG", max_minor=100_000_00
    )
    for name in ("default", "bonus")
}


def reader(*header: str, run_id: str = "run-1", account: str = "default") -> RowReader:
    """Gives a reader of rows with these columns."""
    columns, problems = read_columns(header)
    assert problems == []
    return RowReader(columns, Defaults(run_id=run_id, account=account), RULES)


def told(*cells: str, header: tuple[str, ...] = ("payout_id", "msisdn", "amount")) -> str:
    """Gives the problems of one row, line by line."""
    _, _, problems = reader(*header).read(Row(line=7, cells=cells))
    return "\n".join(map(str, problems))


def test_a_valid_row_becomes_a_command_with_run_and_account() -> None:
    """What the row does not say comes from the defaults; the number is normalised."""
    command, fields, problems = reader("payout_id", "msisdn", "amount", account="bonus").read(
        Row(line=2, cells=("a-1", "0712000001", "12.5"))
    )
    assert problems == []
    assert command is not None
    assert (command.payout_id, command.msisdn, command.amount_minor) == (
        "a-1",
        "254712000001",
        1250,
    )
    assert (fields["run_id"], fields["account"]) == ("run-1", "bonus")


def test_all_problems_of_a_row_are_told_with_line_and_column() -> None:
    """A person corrects a row once."""
    text = told("a b", "123", "-5")
    assert "line 7, payout_id: must be 1-64" in text
    assert "line 7, msisdn: does not match" in text
    assert "line 7, amount: must be a decimal" in text


@pytest.mark.parametrize(
    ("number", "said"),
    [
        ("2.54712E+11", "scientific notation and lost its last digits"),
        ("2,54712E+11", "scientific notation and lost its last digits"),
        ("712345678", "dropped the leading 0"),
        ("112345678", "dropped the leading 0"),
        ("254712345678.0", "turned the number into a decimal"),
        ("+254 712 345 678", "without blanks"),
        ("0712-345-678", "without blanks"),
        ("caf\udce9", "is not UTF-8"),
    ],
)
def test_what_a_spreadsheet_did_to_a_number_is_explained(number: str, said: str) -> None:
    """One problem per cell, that says what to do and does not repeat the number."""
    text = told("a", number, "5")
    assert text.count("msisdn") == 1
    assert said in text
    assert number not in text


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        ("1E+05", "scientific notation"),
        ("1,250.00", "without currency and separators"),
        ("1 250", "without currency and separators"),
        ("KES 5", "without currency and separators"),
        ("100000.01", "the limits of account default"),
    ],
)
def test_what_is_wrong_with_an_amount_is_explained(amount: str, said: str) -> None:
    """Formats of people and limits of the account are told apart."""
    assert said in told("a", "254712000001", amount)


def test_an_id_in_scientific_notation_is_refused() -> None:
    """A spreadsheet that shortens ids would make different payouts the same."""
    assert "payout_id: a spreadsheet" in told("1E+05", "254712000001", "5")


@pytest.mark.parametrize("cells", [("a", "254712000001"), ("a", "254712000001", "5", "more")])
def test_too_few_or_too_many_cells_are_told(cells: tuple[str, ...]) -> None:
    """A shifted row must not pay a wrong amount."""
    assert "cells where the header names 3 columns" in told(*cells)


def test_empty_cells_beyond_the_header_are_no_problem() -> None:
    """Spreadsheets pad rows."""
    assert told("a", "254712000001", "5", "", "") == ""


def test_an_account_that_is_not_configured_is_told() -> None:
    """The known ones are named."""
    text = told("x", "254712000001", "5", header=("account", "msisdn", "amount"))
    assert text == "line 7, account: no such account is configured; known: bonus, default"


def test_a_row_without_id_gets_the_same_one_each_time() -> None:
    """Derived of run, line and content: sent again, it is the same payout."""
    one, two = (
        reader("msisdn", "amount").read(Row(line=3, cells=("254712000001", "5")))[0]
        for _ in range(2)
    )
    assert one is not None
    assert two is not None
    assert one.payout_id == two.payout_id


def test_derived_ids_differ_by_run_line_and_content() -> None:
    """Two equal rows are two payments, and so are equal rows of two runs."""
    ids = {
        derived_payout_id(run, Row(line=line, cells=cells))
        for run in ("a", "b")
        for line in (2, 3)
        for cells in (("1", "23"), ("12", "3"))
    }
    assert len(ids) == 8


def test_a_derived_run_is_a_valid_id() -> None:
    """It is made of the content's digest alone."""
    assert derived_run_id("ab" * 32) == "run-" + "ab" * 8


CELLS = st.one_of(
    st.text(max_size=20),
    st.from_regex(r"\A[+-]?[0-9]{1,14}([.,][0-9]{0,2})?([eE][+-]?[0-9]{1,2})?\Z"),
    st.from_regex(r"\A\+?[0-9 ()./\u00a0-]{1,16}\Z"),
    st.text("0123456789٠١²eE+-,. \udce9é", max_size=14),
)


@given(name=st.sampled_from(["payout_id", "msisdn", "amount", "remark"]), cell=CELLS)
def test_no_damage_is_overlooked_for_the_sake_of_speed(name: str, cell: str) -> None:
    """What is told of a cell is what it is without any shortcut."""
    never = re.compile("(?!)")
    with mock.patch.multiple(rows, _WHOLE_NUMBER=never, _PLAIN_AMOUNT=never):
        wanted = rows._damage_of(name, cell)
    columns, _ = read_columns(("payout_id", "msisdn", "amount", "remark"))
    fast = RowReader(columns, Defaults(run_id="r", account="default"), RULES)
    cells = tuple(cell if one == name else "" for one in columns.names)
    found = {one.column: one.text for one in fast._damage(Row(line=2, cells=cells))}
    assert found == ({name: wanted} if wanted else {})


def test_fields_are_those_that_were_checked() -> None:
    """The second pass publishes what the first one has read."""
    one = reader("msisdn", "amount", "metadata.Team")
    row = Row(line=2, cells=("0712000001", "5", "Kitchen"))
    _, checked, problems = one.read(row)
    assert problems == []
    assert one.fields(row) == checked
    assert checked["metadata"] == {"Team": "Kitchen"}
