"""The published schemas say what the code does: for commands, events and dead letters."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp.commands import Basic

from ops.docs import asyncapi
from ops.docs.messages import EXAMPLE_COMMAND
from ops.docs.schemas import PRESENT, STATE_OF_TYPE, command_schema, event_schema
from payouts.domain import events
from payouts.domain.commands import FIELDS, REQUIRED, AccountRules, payout_of, validate
from payouts.domain.errors import InvalidCommandError
from payouts.domain.events import Event, event_of, rejection_of
from payouts.domain.payout import Payout, Reason, ReasonSource, State
from payouts.domain.values import AccountName, ConversationId, TransactionId, retry_ids_for
from payouts.messaging.codec import decode_command, encode_command, encode_event
from payouts.messaging.dead import dead_properties
from payouts.messaging.delivery import Delivery

RULES = AccountRules(name=AccountName("default"), shortcode="600000", organisation="ORG")
NOW = datetime(2026, 11, 27, 6, 0, tzinfo=UTC)
COMMAND = jsonschema.Draft7Validator(command_schema())

GOOD: Mapping[str, tuple[object, ...]] = {
    "payout_id": ("a", "salary-2026_11.0042", "x" * 64),
    "amount": ("1", "0.01", "1250.5", "1250.50", "0001.10"),
    "msisdn": ("254712345678", "254112345678", "+254712345678", "0712345678", "0112345678"),
    "command_id": ("BusinessPayment", "SalaryPaymentWithWithdrawalChargePaid", None),
    "account": ("default", None),
    "currency": ("KES", None),
    "run_id": ("salaries-2026-11", None),
    "remark": ("", "Salary & more <November> é 😀", "x" * 255, "two\nlines", None),
    "occasion": ("Christmas", None),
    "not_after": ("2026-11-30T17:00:00+03:00", "2026-11-30t17:00:00.5z", None),
    "metadata": ({}, {"employee": "42", "": "é😀"}, None),
}
BAD: Mapping[str, tuple[object, ...]] = {
    "payout_id": ("", "x" * 65, "a b", "a/b", "é", 7, None, ["a"]),
    "amount": ("0", "0.00", "-1", "1.001", "1,000", "1e3", " 1", "", 1250.5, 1, None, "1" * 14),
    "msisdn": ("254812345678", "25471234567", "071234567", "++254712345678", 254712345678, None),
    "command_id": ("", "TransferFromBankToCustomer", "businesspayment", 1),
    "account": (1, {}),
    "currency": (404,),
    "run_id": ("", "a b", 1),
    "remark": ("x" * 256, "bell\x07", "null\x00", 1, ["x"]),
    "occasion": ("x" * 256, "\ufffe", False),
    "not_after": ("2026-11-30", "2026-11-30T17:00:00", "2026-11-30 17:00:00Z", 1764511200),
    "metadata": ([], "x", {"a": 1}, {"a": None}, {"a": {"b": "c"}}, {"a": "\x01"}),
}
MINIMAL = {"payout_id": "a", "amount": "1", "msisdn": "254712345678"}


def is_valid(fields: Mapping[str, object]) -> bool:
    try:
        validate(decode_command(encode_command(fields)), RULES)
    except InvalidCommandError:
        return False
    return True


def cases(table: Mapping[str, tuple[object, ...]]) -> list[tuple[str, object]]:
    return [(name, value) for name, values in table.items() for value in values]


@pytest.mark.parametrize(("name", "value"), cases(GOOD))
def test_schema_and_code_accept_a_good_field(name: str, value: object) -> None:
    """A field that the contract allows passes the published schema and the worker's check."""
    fields = {**MINIMAL, name: value}

    assert is_valid(fields)
    assert COMMAND.is_valid(fields)


@pytest.mark.parametrize(("name", "value"), cases(BAD))
def test_schema_and_code_refuse_a_bad_field(name: str, value: object) -> None:
    """A field that the contract forbids passes neither the schema nor the worker's check."""
    fields = {**MINIMAL, name: value}

    assert not is_valid(fields)
    assert not COMMAND.is_valid(fields)


@pytest.mark.parametrize("name", REQUIRED)
def test_schema_and_code_miss_a_required_field(name: str) -> None:
    """A command without a required field passes neither the schema nor the worker's check."""
    fields = {one: value for one, value in MINIMAL.items() if one != name}

    assert not is_valid(fields)
    assert not COMMAND.is_valid(fields)


@given(
    fields=st.fixed_dictionaries(
        {name: st.sampled_from(GOOD[name]) for name in REQUIRED},
        optional={
            **{n: st.sampled_from(GOOD[n] + BAD[n]) for n in GOOD if n not in REQUIRED},
            "unknown": st.none(),
        },
    )
)
@settings(max_examples=200, deadline=None)
def test_schema_and_code_agree_on_whole_commands(fields: dict[str, object]) -> None:
    """Whatever the combination of fields, schema and code give the same verdict."""
    assert COMMAND.is_valid(fields) == is_valid(fields)


def test_schema_names_every_field_of_a_command() -> None:
    """The schema has the fields of the code, no more and no fewer."""
    properties: Any = command_schema()["properties"]

    assert set(properties) == FIELDS
    assert command_schema()["required"] == list(REQUIRED)


def test_example_command_is_valid() -> None:
    """The command that the pages show can be published as it stands."""
    assert is_valid(EXAMPLE_COMMAND)
    assert COMMAND.is_valid(EXAMPLE_COMMAND)


def payout_in(state: State, *, full: bool) -> Payout:
    """Gives a payout in a state that has an event, with all its optional facts or with none."""
    command = validate(EXAMPLE_COMMAND if full else MINIMAL, RULES)
    ended = state in {State.SUCCEEDED, State.FAILED}
    payout = replace(payout_of(command, RULES, state=state, now=NOW))
    if ended or full:
        reason = Reason(
            source=ReasonSource.RESULT, code="0", klass="completed", description="It is so."
        )
        payout = replace(payout, reason=reason, completed_at=NOW if ended else None)
    if full:
        payout = replace(
            payout,
            submitted_at=NOW,
            conversation_id=ConversationId("AG_1"),
            transaction_id=TransactionId("UKR7A1B2C3"),
        )
    return payout


def real_events() -> Iterator[Event]:
    for state in events.TYPE_OF_STATE:
        for full in (True, False):
            yield event_of(payout_in(state, full=full))
    yield rejection_of("a", ("amount: is required",), message_key="1", account="default", at=NOW)


@pytest.mark.parametrize("event", list(real_events()), ids=lambda event: str(event.type))
def test_real_event_fits_its_schema(event: Event) -> None:
    """A body as the relay publishes it is valid by the schema of its type, and of no other."""
    body = json.loads(encode_event(event))

    jsonschema.Draft7Validator(event_schema(event.type)).validate(body)
    for other in set(STATE_OF_TYPE) - {event.type}:
        assert not jsonschema.Draft7Validator(event_schema(other)).is_valid(body)


@pytest.mark.parametrize("event", list(real_events()), ids=lambda event: str(event.type))
def test_schema_names_every_field_of_an_event(event: Event) -> None:
    """Envelope and data have the fields of the schema, no more and no fewer, absent ones null."""
    body = json.loads(encode_event(event))
    schema: Any = event_schema(event.type)
    data = schema["properties"]["data"]

    assert set(body) == set(schema["properties"]) - {"retryof"} == set(schema["required"])
    assert list(body["data"]) == list(data["properties"]) == data["required"]


@pytest.mark.parametrize("state", list(events.TYPE_OF_STATE))
def test_a_second_submission_names_the_one_before_it(state: State) -> None:
    """Its event is its own, and says by `retryof` which payout it belongs to.

    Proved by leaving the attribute out of the body.
    """
    first = payout_in(state, full=True)
    payout_id, own_id = retry_ids_for(first.originator_conversation_id, first.payout_id, 2)
    second = replace(
        first,
        payout_id=payout_id,
        originator_conversation_id=own_id,
        retry_of=first.payout_id,
        held="because",
    )

    body = json.loads(encode_event(event_of(second)))

    jsonschema.Draft7Validator(event_schema(body["type"])).validate(body)
    assert body["subject"] == f"{first.payout_id}-r2"
    assert body["retryof"] == first.payout_id
    assert body["id"] != event_of(first).event_id
    assert "held" not in json.dumps(body)


@pytest.mark.parametrize("event_type", list(STATE_OF_TYPE))
def test_schema_refuses_null_where_a_value_is_promised(event_type: str) -> None:
    """Each field that is promised to be there makes an event invalid when it is null."""
    event = next(one for one in real_events() if one.type == event_type)
    validator = jsonschema.Draft7Validator(event_schema(event_type))
    for name in PRESENT[event_type]:
        body = json.loads(encode_event(replace(event, data={**event.data, name: None})))

        assert not validator.is_valid(body), name


@pytest.mark.parametrize("reason", asyncapi.DEAD_REASONS)
def test_dead_letter_has_the_documented_headers(reason: str) -> None:
    """The headers of a dead letter are those of the published document."""
    delivery = Delivery(
        body=b"{}",
        headers={},
        message_id=None,
        delivery_count=0,
        redelivered=False,
        tag=1,
        properties=Basic.Properties(),
    )
    document: Any = asyncapi.document()
    schema = document["components"]["messages"]["deadLetter"]["headers"]

    at = datetime(2026, 11, 30, tzinfo=UTC)
    headers = dead_properties(delivery, reason=reason, detail="why", at=at).headers

    assert headers is not None
    assert set(headers) == set(schema["properties"])
    jsonschema.Draft7Validator(schema).validate(headers)


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "$ref":
                yield value
            yield from references(value)
    elif isinstance(node, list):
        for one in node:
            yield from references(one)


def at(document: Any, pointer: str) -> Any:
    for step in pointer.removeprefix("#/").split("/"):
        document = document[step.replace("~1", "/").replace("~0", "~")]
    return document


def test_every_reference_of_the_asyncapi_document_resolves() -> None:
    """No `$ref` of the document points nowhere, and operations use messages of their channel."""
    document: Any = asyncapi.document()

    pointers = list(references(document))
    assert pointers
    for pointer in pointers:
        assert isinstance(at(document, pointer), dict), pointer
    for operation in document["operations"].values():
        channel = operation["channel"]["$ref"]
        assert operation["action"] in {"send", "receive"}
        assert all(one["$ref"].startswith(f"{channel}/messages/") for one in operation["messages"])


def test_every_payload_of_the_asyncapi_document_is_a_schema() -> None:
    """Payloads and headers are JSON Schemas of draft 7, which AsyncAPI 3.0 reads by itself."""
    document: Any = asyncapi.document()

    assert document["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= set(document["info"])
    for message in document["components"]["messages"].values():
        for part in ("payload", "headers"):
            jsonschema.Draft7Validator.check_schema(message.get(part, {}))


def test_every_channel_names_its_exchange() -> None:
    """Each channel tells its exchange and routing key, with a value for every parameter."""
    document: Any = asyncapi.document()
    names = {asyncapi.TOPOLOGY.commands, asyncapi.TOPOLOGY.dead_letters, asyncapi.TOPOLOGY.events}

    exchanges = {
        channel["bindings"]["amqp"]["exchange"]["name"] for channel in document["channels"].values()
    }
    assert exchanges == names
    for channel in document["channels"].values():
        for parameter in channel.get("parameters", {}):
            assert f"{{{parameter}}}" in channel["address"]
