import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payouts.domain.errors import InvalidAmountError, InvalidMsisdnError
from payouts.domain.values import (
    KENYA_MSISDN,
    PayoutId,
    asked_about,
    conversation_id_for,
    format_amount,
    mask_msisdn,
    normalise_msisdn,
    parse_amount,
    payout_named,
    query_id_for,
    retry_ids_for,
)

KENYA = re.compile(KENYA_MSISDN)


@given(st.integers(min_value=1, max_value=10**14))
def test_amounts_survive_writing_and_reading(minor: int) -> None:
    """An amount that is written out reads back as the same number of cents."""
    assert parse_amount(format_amount(minor)) == minor


@pytest.mark.parametrize(
    "text",
    ["0", "0.00", "-1", "+1", "1.234", "1,5", "1e3", " 1", "1 ", "", ".5", "1.", "NaN", "١"],
)
def test_what_is_not_a_plain_decimal_is_no_amount(text: str) -> None:
    """Signs, exponents, blanks, other digits, three decimals and nothing are refused."""
    with pytest.raises(InvalidAmountError):
        parse_amount(text)


@pytest.mark.parametrize(("text", "minor"), [("1", 100), ("1.5", 150), ("70000.00", 7000000)])
def test_missing_decimals_count_as_zero(text: str, minor: int) -> None:
    """One, two or no decimals all mean cents."""
    assert parse_amount(text) == minor


@pytest.mark.parametrize("text", ["254712345678", "+254712345678", "0712345678"])
def test_numbers_are_normalised(text: str) -> None:
    """The international, signed and national forms become one."""
    assert normalise_msisdn(text, KENYA) == "254712345678"


def test_the_newer_range_is_normalised_too() -> None:
    """Numbers that begin with 01 belong to Kenya as well."""
    assert normalise_msisdn("0112345678", KENYA) == "254112345678"


@pytest.mark.parametrize("text", ["", "254612345678", "07123", "2547123456789", "abc", "٢٥٤"])
def test_a_bad_number_is_refused_without_repeating_it(text: str) -> None:
    """The error of a bad number must not carry the number."""
    with pytest.raises(InvalidMsisdnError) as caught:
        normalise_msisdn(text, KENYA)
    assert not text or text not in str(caught.value)


def test_another_market_is_a_matter_of_its_pattern() -> None:
    """The pattern alone decides which numbers a market has."""
    assert normalise_msisdn("251911234567", re.compile(r"2519\d{8}")) == "251911234567"


def test_masking_hides_the_middle() -> None:
    """A masked number shows four digits at each end, a short one none."""
    assert mask_msisdn("254712345678") == "2547****5678"
    assert mask_msisdn("12345678") == "****"


@given(st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True))
def test_a_query_id_never_equals_a_payouts_id(payout_id: str) -> None:
    """No payout id can make a payout's own id look like a question about another payout."""
    asked = datetime(2026, 11, 23, tzinfo=UTC)
    query_id = query_id_for("600000", "ORG", PayoutId("a"), asked)
    assert conversation_id_for("600000", "ORG", PayoutId(payout_id)) != query_id
    assert len(query_id_for("600000", "ORG", PayoutId("x" * 64), asked)) <= 128
    own = query_id_for("600000", "ORG", PayoutId(payout_id), asked)
    assert asked_about(own) == ("600000_ORG", payout_id, asked)
    assert asked_about(conversation_id_for("600000", "ORG", PayoutId(payout_id))) is None


@given(st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True), st.integers(2, 99))
def test_a_payments_id_names_its_submission(payout_id: str, number: int) -> None:
    """Of a first submission and of a later one; an id of another form names none."""
    first = conversation_id_for("600000", "ORG", PayoutId(payout_id))
    retried, later = retry_ids_for(first, PayoutId(payout_id), number)
    assert (payout_named(first), payout_named(later)) == (payout_id, retried)
    question = query_id_for(
        "600000", "ORG", PayoutId(payout_id), datetime(2026, 11, 23, tzinfo=UTC)
    )
    for other in (question, payout_id.replace("_", "-"), f"{first}!", ""):
        assert payout_named(other) is None
