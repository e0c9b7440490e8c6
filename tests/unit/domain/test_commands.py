from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payouts.domain.commands import (
    COMMAND_IDS,
    AccountRules,
    differences,
    payout_of,
    readable_payout_id,
    validate,
)
from payouts.domain.errors import InvalidCommandError
from payouts.domain.payout import State
from payouts.domain.values import AccountName

RULES = AccountRules(
    name=AccountName("default"),
    shortcode="600000",
    organisation="ORG",
    min_minor=1000,
    max_minor=25_000_000,
)
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
GOOD: dict[str, object] = {"payout_id": "pay-1", "amount": "100.50", "msisdn": "254712345678"}


def problems_of(fields: dict[str, object]) -> tuple[str, ...]:
    with pytest.raises(InvalidCommandError) as caught:
        validate(fields, RULES)
    return caught.value.problems


def test_the_three_required_fields_are_enough() -> None:
    """Everything else has the default that the contract names."""
    command = validate(GOOD, RULES)
    assert command.amount_minor == 10050
    assert command.command_id == "BusinessPayment"
    assert command.account == "default"
    assert command.currency == "KES"
    assert command.run_id is None
    assert command.metadata == {}


@pytest.mark.parametrize("command_id", COMMAND_IDS)
def test_the_five_commands_are_known(command_id: str) -> None:
    """Each of the five B2C commands may be asked for."""
    assert validate({**GOOD, "command_id": command_id}, RULES).command_id == command_id


@pytest.mark.parametrize(
    ("field", "value", "begins"),
    [
        ("payout_id", "a b", "payout_id: must be 1-64"),
        ("payout_id", "x" * 65, "payout_id: must be 1-64"),
        ("payout_id", "", "payout_id: must be 1-64"),
        ("payout_id", 5, "payout_id: must be a JSON string"),
        ("payout_id", None, "payout_id: is required"),
        ("amount", 100, "amount: must be a JSON string"),
        ("amount", "0", "amount: must be a decimal text"),
        ("amount", "1.234", "amount: must be a decimal text"),
        ("amount", "9.99", "amount: must be within 10.00 and 250000.00"),
        ("amount", "250000.01", "amount: must be within"),
        ("msisdn", "12345", "msisdn: does not match"),
        ("msisdn", 254712345678, "msisdn: must be a JSON string"),
        ("command_id", "BusinessPayBill", "command_id: must be one of"),
        ("account", "other", "account: this queue pays from default"),
        ("currency", "USD", "currency: account default pays KES only"),
        ("run_id", "a/b", "run_id: must be 1-64"),
        ("remark", "x" * 256, "remark: must have at most 255"),
        ("remark", "a\x00b", "remark: must not contain control"),
        ("occasion", "x" * 256, "occasion: must have at most 255"),
        ("not_after", "tomorrow", "not_after: must be an RFC 3339 instant"),
        ("not_after", "2026-11-23T10:00:00", "not_after: must be an RFC 3339 instant"),
        ("metadata", {"a": 1}, "metadata: must be a flat JSON object"),
        ("metadata", ["a"], "metadata: must be a flat JSON object"),
        ("metadata", {"a": "x" * 2048}, "metadata: must take at most 2048"),
        ("amonut", "1", "unknown fields: 'amonut'"),
    ],
)
def test_each_rule_of_the_contract_is_checked(field: str, value: object, begins: str) -> None:
    """A broken rule is told with the field's name and what to do."""
    assert any(one.startswith(begins) for one in problems_of({**GOOD, field: value}))


def test_all_problems_are_told_at_once() -> None:
    """A sender corrects everything in one go."""
    assert len(problems_of({"amount": 1, "msisdn": "x", "currency": "USD", "extra": 1})) == 5


def test_an_instant_may_be_written_with_any_offset() -> None:
    """RFC 3339 offsets, `Z` and fractions all name the same instant."""
    for text in ("2026-11-30T17:00:00+03:00", "2026-11-30T14:00:00.000Z", "2026-11-30t14:00:00z"):
        not_after = validate({**GOOD, "not_after": text}, RULES).not_after
        assert not_after == datetime(2026, 11, 30, 14, 0, tzinfo=UTC)


def test_a_repeat_in_another_notation_is_the_same_command() -> None:
    """Content is compared after normalisation, so notation makes no conflict."""
    first = payout_of(validate(GOOD, RULES), RULES, state=State.RECEIVED, now=NOW)
    again = {**GOOD, "amount": "100.5", "msisdn": "0712345678", "currency": "KES"}
    assert differences(validate(again, RULES), first) == ()


def test_other_content_is_told_by_field() -> None:
    """A conflict names the fields that differ and not their values."""
    first = payout_of(validate(GOOD, RULES), RULES, state=State.RECEIVED, now=NOW)
    other = validate({**GOOD, "amount": "100.51", "remark": "x"}, RULES)
    assert differences(other, first) == ("amount", "remark")


def test_a_readable_id_is_found_in_an_invalid_command() -> None:
    """A rejected event can name the payout if its id at least is valid."""
    assert readable_payout_id({"payout_id": "p1"}) == "p1"
    assert readable_payout_id({"payout_id": "no good"}) is None
    assert readable_payout_id({}) is None


@given(
    st.dictionaries(
        st.text(max_size=20) | st.sampled_from(sorted(GOOD)),
        st.none() | st.booleans() | st.integers() | st.text(max_size=300) | st.lists(st.text()),
        max_size=12,
    )
)
def test_any_object_is_read_or_refused_without_personal_data(fields: dict[str, object]) -> None:
    """Whatever a sender publishes is a command or a list of problems, never a crash."""
    try:
        validate(fields, RULES)
    except InvalidCommandError as error:
        assert error.problems
