"""The code table: complete, consistent, and never more certain than the documents are."""

from __future__ import annotations

import pytest

from payouts.domain.code_types import Code, CodeClass, Core, Side
from payouts.domain.codes import CODES, Family, lookup

REFUSALS = {CodeClass.REFUSED_RETRY, CodeClass.REFUSED_FINAL, CodeClass.CONFIGURATION}

# Codes that only G1's documents tell, and that are believed when a G2 system says them, as no
# document gives them another meaning there. One more on this list is a decision.
G1_ONLY_PROVING = {
    Side.RESPONSE: set(),
    Side.RESULT: {
        *("12", "13", "18", "19", "20", "23", "24", "25", "28", "29", "31", "33", "34", "35", "36"),
        *("37", "38", "39", "40", "44", "47", "48", "50", "51", "52"),
    },
}


def rows(side: Side, core: Core | None = None) -> list[Code]:
    """Gives the rows of a side, and of a core if one is named."""
    return [row for row in CODES if row.side is side and core in (None, row.core)]


def codes(side: Side, core: Core) -> set[str]:
    """Gives the codes of a side and a core."""
    return {row.code for row in rows(side, core)}


def test_every_documented_code_has_a_row() -> None:
    """The lists of protocol.md §3.2, §4.7 and §5 are complete."""
    broker = {"0", *(str(100000000 + number) for number in range(15))}
    assert codes(Side.RESPONSE, Core.BROKER) == broker
    assert codes(Side.RESPONSE, Core.G2) == {
        *("0", "15", "17", "23", "24", "25", "26", "1001", "1002", "1003", "1004", "1005")
    }
    assert codes(Side.RESPONSE, Core.G1) == {"0", "23", "24", "25", "26", "30"}
    assert codes(Side.RESULT, Core.G2) == {
        *("0", "1", "2", "3", "4", "5", "6", "7", "8", "11", "14", "17", "21", "22", "1001"),
        *("2001", "2006", "2008", "2009", "2010", "2020", "2025", "2028", "2029", "2040"),
    }
    assert codes(Side.RESULT, Core.DARAJA) == {
        *("15", "26", "2007", "2033", "2043", "2051", "2202", "8006", "SFC_IC0003", "R002", "R003")
    }
    g1 = {str(number) for number in range(53)} - {"9", "10", "16", "27"}
    assert codes(Side.RESULT, Core.G1) == g1
    assert {"0", "2033", "49"} <= {row.code for row in rows(Side.QUERY)}


def test_no_code_has_two_rows_on_one_side_and_core() -> None:
    """Each side, core and code is one row, with a meaning and a source."""
    keys = [(row.side, row.core, row.code) for row in CODES]
    assert len(keys) == len(set(keys))
    assert all(row.meaning and row.source for row in CODES)


@pytest.mark.parametrize("row", CODES, ids=lambda row: f"{row.side}-{row.core}-{row.code}")
def test_only_refusals_prove_that_no_money_moved(row: Code) -> None:
    """A refusal of a payment proves it; nothing else does, and a query's code never."""
    expected = row.side is not Side.QUERY and row.klass in REFUSALS
    assert row.proves_unpaid is expected


@pytest.mark.parametrize(
    ("side", "code"),
    [
        (Side.RESPONSE, "17"),
        (Side.RESPONSE, "100000004"),
        (Side.RESPONSE, "100000000"),
        (Side.RESPONSE, "15"),
        (Side.RESPONSE, "30"),
        (Side.RESPONSE, "ResponseCode0"),
        (Side.RESPONSE, ""),
        (Side.RESPONSE, "2001"),
        (Side.RESULT, "15"),
        (Side.RESULT, "17"),
        (Side.RESULT, "22"),
        (Side.RESULT, "26"),
        (Side.RESULT, "41"),
        (Side.RESULT, "42"),
        (Side.RESULT, "43"),
        (Side.RESULT, "45"),
        (Side.RESULT, "46"),
        (Side.RESULT, "49"),
        (Side.RESULT, "2033"),
        (Side.RESULT, "9999"),
        (Side.RESULT, "01"),
        (Side.QUERY, "2001"),
        (Side.QUERY, "2033"),
        (Side.QUERY, "1"),
    ],
)
def test_a_code_that_leaves_room_for_a_payment_proves_nothing(side: Side, code: str) -> None:
    """Ambiguous, duplicate, queued, intermediate, unknown: on either family no proof.

    Proved: calling 17 a final refusal, or 22 a matter of configuration on G2, fails here.
    """
    assert not lookup(side, code).proves_unpaid
    if code != "22":
        assert not lookup(side, code, Family.G1).proves_unpaid


@pytest.mark.parametrize(
    ("side", "code", "klass"),
    [
        (Side.RESPONSE, "0", CodeClass.ACCEPTED),
        (Side.RESPONSE, "00000000", CodeClass.ACCEPTED),
        (Side.RESPONSE, " 000000000\n", CodeClass.ACCEPTED),
        (Side.RESPONSE, "100000000", CodeClass.QUEUED),
        (Side.RESPONSE, "15", CodeClass.DUPLICATE),
        (Side.RESPONSE, "26", CodeClass.REFUSED_RETRY),
        (Side.RESPONSE, "100000002", CodeClass.REFUSED_RETRY),
        (Side.RESPONSE, "100000007", CodeClass.CONFIGURATION),
        (Side.RESPONSE, "1003", CodeClass.CONFIGURATION),
        (Side.RESPONSE, "1002", CodeClass.REFUSED_FINAL),
        (Side.RESULT, "0", CodeClass.COMPLETED),
        (Side.RESULT, "000", CodeClass.COMPLETED),
        (Side.RESULT, "1", CodeClass.REFUSED_FINAL),
        (Side.RESULT, "2001", CodeClass.CONFIGURATION),
        (Side.RESULT, "8006", CodeClass.CONFIGURATION),
        (Side.RESULT, "18", CodeClass.CONFIGURATION),
        (Side.RESULT, "43", CodeClass.INTERMEDIATE),
        (Side.QUERY, "0", CodeClass.ACCEPTED),
        (Side.QUERY, "2033", CodeClass.NOT_FOUND),
        (Side.QUERY, "49", CodeClass.NOT_FOUND),
    ],
)
def test_a_code_is_looked_up_by_its_side(side: Side, code: str, klass: CodeClass) -> None:
    """The same number is another thing in a Response, in a Result and about a query."""
    assert lookup(side, code).klass is klass


def test_only_all_zeros_are_success() -> None:
    """A failed time-out acknowledgement's 000000001 and the like are no success."""
    for code in ("000000001", "00000010", "1", "O", "0.0"):
        for side in Side:
            assert lookup(side, code).klass not in {CodeClass.ACCEPTED, CodeClass.COMPLETED}


def test_where_cores_differ_the_fallback_is_never_more_certain_than_g2() -> None:
    """A row of another core decides for G2 only where G2 is silent, and those are listed."""
    for side, expected in G1_ONLY_PROVING.items():
        found = {
            row.code
            for row in rows(side, Core.G1)
            if row.proves_unpaid and lookup(side, row.code).core is Core.G1
        }
        assert found == expected


@pytest.mark.parametrize("side", list(Side))
def test_a_success_of_one_core_is_no_refusal_of_another(side: Side) -> None:
    """No code completes or is accepted on one core and proves the opposite on another."""
    good = {CodeClass.ACCEPTED, CodeClass.COMPLETED, CodeClass.QUEUED, CodeClass.INTERMEDIATE}
    by_code: dict[str, set[bool]] = {}
    for row in rows(side):
        by_code.setdefault(row.code, set()).add(row.klass in good)
    assert all(len(kinds) == 1 for kinds in by_code.values())


def test_an_unknown_code_is_ambiguous() -> None:
    """What the table does not know may mean anything."""
    row = lookup(Side.RESULT, "SFC_IC9999")
    assert row.klass is CodeClass.AMBIGUOUS
    assert not row.proves_unpaid
