"""Every row of the tables in contract.md §1 and §2, against the running product."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.acceptance.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.servers]

MSISDN = "254712345678"


def command(payout_id: str, **fields: object) -> dict[str, object]:
    return {"payout_id": payout_id, "amount": "150.50", "msisdn": MSISDN, **fields}


async def test_a_new_command_becomes_one_payout_and_one_event(world: World) -> None:
    """The whole way: paid once, to the cent, and told downstream with all that is known."""
    await world.publish(
        command(
            "way-1",
            msisdn="0712345678",
            command_id="SalaryPayment",
            run_id="november",
            remark="Mshahara & <bonus> ]]> é",
            occasion="Jamhuri",
            metadata={"employee": "17"},
        )
    )
    event = await world.ended("way-1")
    assert world.paid()["way-1"] == ["150.50"]
    assert event["specversion"] == "1.0"
    assert event["type"] == "payout.succeeded"
    assert event["subject"] == "way-1"
    data = event["data"]
    assert data["state"] == "succeeded"
    assert data["amount"] == "150.50"
    assert data["currency"] == "KES"
    assert data["msisdn"] == "2547****5678"
    assert data["run_id"] == "november"
    assert data["account"] == "default"
    assert data["command_id"] == "SalaryPayment"
    assert data["metadata"] == {"employee": "17"}
    assert data["originator_conversation_id"] == "600000_ORG_way-1"
    assert data["conversation_id"].startswith("AG_")
    ledger = {e["originator_conversation_id"]: e for e in world.simulator.ledger()}
    assert data["transaction_id"] == ledger["600000_ORG_way-1"]["receipt"]
    assert data["reason"]["source"] == "result"
    assert data["reason"]["code"] == "0"
    assert data["submitted_at"] <= data["completed_at"]
    assert event["amqp"] == {
        "message_id": event["id"],
        "correlation_id": "way-1",
        "type": "payout.succeeded",
        "routing_key": "payout.succeeded",
        "content_type": "application/cloudevents+json",
        "persistent": True,
    }


async def test_absent_values_are_null_and_never_missing(world: World) -> None:
    """An event has every key of the contract, whatever the command left out."""
    await world.publish(command("null-1"))
    data = (await world.ended("null-1"))["data"]
    assert set(data) == {
        "payout_id",
        "run_id",
        "account",
        "state",
        "amount",
        "currency",
        "command_id",
        "msisdn",
        "originator_conversation_id",
        "conversation_id",
        "transaction_id",
        "reason",
        "submitted_at",
        "completed_at",
        "metadata",
    }
    assert data["run_id"] is None
    assert data["metadata"] == {}


async def test_the_same_command_again_pays_nothing_and_repeats_its_event(world: World) -> None:
    """A payout that has ended answers a repeat with its event, under the same id."""
    await world.publish(command("same-1"))
    first = await world.ended("same-1")
    await world.publish(command("same-1", amount="150.5", msisdn="+254712345678"))

    async def twice() -> bool:
        return len(world.completions("same-1")) >= 2

    await world.until(twice, "the event is published again")
    assert {event["id"] for event in world.completions("same-1")} == {first["id"]}
    assert world.paid()["same-1"] == ["150.50"]


async def test_many_copies_at_once_pay_once(world: World) -> None:
    """Copies that are taken in the same instant, and in one batch, are one payout."""
    await world.publish(*[command("copies-1")] * 50)
    await world.ended("copies-1")
    assert world.paid()["copies-1"] == ["150.50"]


async def test_other_content_under_the_same_id_is_a_conflict(world: World) -> None:
    """The first payout is untouched; the second command lies in the dead letters."""
    await world.publish(command("conflict-1"))
    await world.ended("conflict-1")
    other = command("conflict-1", amount="999.00")
    await world.publish(other)
    [(body, headers)] = await world.dead_letters(1)
    assert json.loads(body) == other
    assert headers["x-payouts-reason"] == "conflict"
    assert "amount" in headers["x-payouts-detail"]
    assert world.paid()["conflict-1"] == ["150.50"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"no json", "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[1, 2]", "one JSON object"),
        (b'{"amount": "10"}', "payout_id: is required"),
        (b'{"payout_id": "big-1", "remark": "' + b"x" * 65536 + b'"}', "65536 bytes"),
    ],
    ids=["text", "bytes", "array", "fields", "large"],
)
async def test_an_unreadable_command_is_put_aside_with_the_reason(
    world: World, body: bytes, says: str
) -> None:
    """Whatever arrives keeps its bytes and gains the list of what is wrong; the queue goes on."""
    await world.publish(body)
    [(dead, headers)] = await world.dead_letters(1)
    assert dead == body
    assert headers["x-payouts-reason"] == "invalid"
    assert says in headers["x-payouts-detail"]


async def test_an_invalid_command_with_a_readable_id_is_also_rejected_by_event(
    world: World,
) -> None:
    """Downstream hears of it once per message; a later valid command is a new payout."""
    await world.publish(command("rejected-1", amount=150, currency="USD"))
    await world.dead_letters(1)

    async def heard() -> bool:
        return bool(world.events["rejected-1"])

    await world.until(heard, "the rejection")
    [event] = world.events["rejected-1"]
    assert event["type"] == "payout.rejected"
    assert "amount" in event["data"]["reason"]["description"]
    assert "currency" in event["data"]["reason"]["description"]
    await world.publish(command("rejected-1"))
    assert (await world.ended("rejected-1"))["type"] == "payout.succeeded"


async def test_an_invalid_command_for_a_known_payout_makes_no_event(world: World) -> None:
    """A payout that exists is not called rejected because of a bad repeat."""
    await world.publish(command("known-1"))
    await world.ended("known-1")
    await world.publish(command("known-1", amount=5))
    await world.dead_letters(1)
    assert not [e for e in world.events["known-1"] if e["type"] == "payout.rejected"]


async def test_another_account_than_the_queues_is_invalid(world: World) -> None:
    """A body that names another account than its queue's is refused."""
    await world.publish(command("account-1", account="other"))
    [(_, headers)] = await world.dead_letters(1)
    assert headers["x-payouts-reason"] == "invalid"
    assert "account" in headers["x-payouts-detail"]


async def test_a_late_command_expires_unsent(world: World) -> None:
    """`not_after` in the past fails the payout with class `expired`, and nothing is sent."""
    past = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    await world.publish(command("late-1", not_after=past))
    event = await world.ended("late-1")
    assert event["type"] == "payout.failed"
    assert event["data"]["reason"]["class"] == "expired"
    assert event["data"]["submitted_at"] is None
    assert "late-1" not in world.paid()
    assert world.simulator.request("600000_ORG_late-1") is None


async def test_a_command_in_time_is_paid(world: World) -> None:
    """`not_after` in the future changes nothing."""
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    await world.publish(command("intime-1", not_after=soon))
    assert (await world.ended("intime-1"))["type"] == "payout.succeeded"


@pytest.mark.parametrize(
    ("number", "ends"),
    [
        ("00", "payout.succeeded"),
        ("03", "payout.succeeded"),
        ("04", "payout.succeeded"),
        ("10", "payout.succeeded"),
        ("24", "payout.failed"),
        ("60", "payout.succeeded"),
        ("62", "payout.succeeded"),
        ("63", "payout.succeeded"),
        ("64", "payout.succeeded"),
        ("65", "payout.succeeded"),
        ("66", "payout.succeeded"),
        ("67", "payout.succeeded"),
        ("68", "payout.succeeded"),
        ("69", "payout.succeeded"),
        ("70", "payout.failed"),
        ("75", "payout.failed"),
        ("83", "payout.failed"),
    ],
)
async def test_ordinary_test_numbers_end_at_once(world: World, number: str, ends: str) -> None:
    """Refusals, shapes and Results of the simulator's test numbers lead to the right end."""
    payout_id = f"number-{number}"
    await world.publish(command(payout_id, msisdn=f"2547000001{number}"))
    event = await world.ended(payout_id)
    assert event["type"] == ends
    assert len(world.paid().get(payout_id, [])) == (1 if ends == "payout.succeeded" else 0)


@pytest.mark.parametrize(
    ("number", "ends"),
    [
        ("02", "payout.succeeded"),
        ("09", "payout.failed"),
        ("40", "payout.succeeded"),
        ("41", "payout.succeeded"),
        ("43", "payout.succeeded"),
        ("45", "payout.succeeded"),
        ("47", "payout.succeeded"),
        ("49", "payout.succeeded"),
        ("51", "payout.succeeded"),
        ("52", "payout.succeeded"),
        ("53", "payout.succeeded"),
        ("55", "payout.succeeded"),
        ("57", "payout.succeeded"),
        ("61", "payout.succeeded"),
    ],
)
async def test_doubtful_test_numbers_are_asked_about_and_paid_once(
    world: World, number: str, ends: str
) -> None:
    """Lost answers, lost requests, missing Results: each is asked about, none is paid twice."""
    payout_id = f"doubt-{number}"
    await world.publish(command(payout_id, msisdn=f"2547000001{number}"))
    event = await world.ended(payout_id, within_s=60)
    assert event["type"] == ends
    assert len(world.paid().get(payout_id, [])) == (1 if ends == "payout.succeeded" else 0)


async def test_every_payout_is_told_once(world: World) -> None:
    """At the end each payout had one completion event id, and none was paid twice."""
    for payout_id in list(world.events):
        assert len({event["id"] for event in world.completions(payout_id)}) <= 1
    assert not [payout_id for payout_id, paid in world.paid().items() if len(paid) > 1]
