"""What an operator sees of payouts, runs, books and accounts, from the real database."""

import json
from pathlib import Path

import asyncpg
import pytest
from cli_bed import LOST, RECEIVER, Worker

from payouts.domain.payout import State
from payouts.storage.schema import head
from tests.command_line import payouts

pytestmark = pytest.mark.servers


async def test_a_fresh_database_is_upgraded_once(empty_database_url: str) -> None:
    """Before: exit 1 and what to do. After: the revision; again: nothing changes."""
    environ = {"PAYOUTS_DATABASE_URL": empty_database_url}
    before = await payouts("db", "current", environ=environ)
    assert (before.status, before.out) == (1, "none\n")
    assert "payouts db upgrade" in before.err
    refused = await payouts("list", environ=environ)
    assert (refused.status, refused.out) == (1, "")
    assert "payouts db upgrade" in refused.err
    assert (await payouts("db", "upgrade", environ=environ)).status == 0
    after = await payouts("db", "current", "--json", environ=environ)
    assert after.json == {"revision": head(), "needed": head(), "current": True}
    assert "nothing was changed" in (await payouts("db", "upgrade", environ=environ)).err


async def test_a_database_that_is_away_is_one_line() -> None:
    """Exit 1, no traceback, no password."""
    environ = {"PAYOUTS_DATABASE_URL": "postgresql://me:s3cret@127.0.0.1:1/x"}
    ran = await payouts("list", environ=environ)
    assert ran.status == 1
    assert "The database does not answer" in ran.err
    assert "s3cret" not in ran.err


async def test_show_tells_state_reason_next_step_and_timeline(
    worker: Worker, environ: dict[str, str]
) -> None:
    """In words for people, and as one object for programs; the receiver is masked in both."""
    payout = await worker.submitting("a-1", run_id="r-1", metadata={"name": "Juma"})
    await worker.answered(payout, State.IN_DOUBT, LOST)
    told = await payouts("show", "a-1", environ=environ)
    assert told.status == 0
    for said in (
        "in_doubt",
        "It may have been taken, or not.",
        "Noted here timeout (ambiguous): Late.",
        "The gateway is asked again (0 asked so far).",
        "KES 12.50",
        "2547****5678",
        "600000_ORG_a-1",
        "Timeline",
    ):
        assert said in told.out
    record = (await payouts("show", "a-1", "--json", environ=environ)).json
    assert record["state"] == "in_doubt"
    assert record["explanation"]["at"] == record["next_action_at"]
    assert [entry["to_state"] for entry in record["timeline"]] == ["submitting", "in_doubt"]
    assert record["metadata_keys"] == ["name"]
    assert "Juma" not in told.out + json.dumps(record)


async def test_show_of_an_ended_payout_tells_receipt_and_event(
    worker: Worker, environ: dict[str, str]
) -> None:
    """Exactly one completion event; free text of the gateway has its numbers masked."""
    paid, refused = await worker.submitting("a-1"), await worker.submitting("a-2")
    await worker.ended(paid)
    await worker.ended(refused, fails=True)
    record = (await payouts("show", "a-1", "--json", environ=environ)).json
    assert record["transaction_id"] == "Ra-1"
    assert [event["type"] for event in record["events"]] == ["payout.succeeded"]
    told = await payouts("show", "a-2", environ=environ)
    assert "Receiver 2547****5678 is not registered." in told.out


async def test_show_of_an_unknown_payout_says_where_it_may_be(environ: dict[str, str]) -> None:
    """Exit 1; in the queue or among the dead letters."""
    ran = await payouts("show", "nobody", environ=environ)
    assert (ran.status, ran.out) == (1, "")
    assert "dead letters" in ran.err


async def test_list_filters_by_state_run_account_and_age(
    worker: Worker, environ: dict[str, str]
) -> None:
    """Newest first; filters narrow together; a cut list says so."""
    for number in range(3):
        await worker.submitting(f"a-{number}", run_id="r-1")
    await worker.answered(await worker.submitting("b-1", run_id="r-2"), State.IN_DOUBT, LOST)

    async def listed(*arguments: str) -> list[str]:
        ran = await payouts("list", "--json", *arguments, environ=environ)
        assert ran.status == 0
        return [one["payout_id"] for one in ran.json]

    assert await listed() == ["b-1", "a-2", "a-1", "a-0"]
    assert await listed("--state", "in_doubt") == ["b-1"]
    assert await listed("--run", "r-1", "--limit", "2") == ["a-2", "a-1"]
    assert await listed("--run", "r-1", "--state", "in_doubt") == []
    assert await listed("--account", "other") == []
    assert await listed("--older-than", "1h") == []
    assert len(await listed("--newer-than", "1h")) == 4
    assert await listed("--newer-than", "2100-01-01T00:00:00Z") == []
    told = await payouts("list", "--limit", "1", environ=environ)
    assert "2547****5678" in told.out
    assert "There may be more" in told.err


async def test_run_show_counts_and_sums(worker: Worker, environ: dict[str, str]) -> None:
    """By state and by reason, with what is open."""
    one, two = [await worker.submitting(f"a-{n}", run_id="r-1") for n in range(2)]
    await worker.submitting("a-3", run_id="r-1")
    await worker.ended(one)
    await worker.ended(two, fails=True)
    record = (await payouts("run", "show", "r-1", "--json", environ=environ)).json
    assert (record["total"], record["open"]) == (3, 1)
    assert {(one["state"], one["count"], one["sum"]) for one in record["states"]} == {
        ("submitting", 1, "12.50"),
        ("succeeded", 1, "12.50"),
        ("failed", 1, "12.50"),
    }
    told = await payouts("run", "show", "r-1", environ=environ)
    assert "refused-final" in told.out
    assert "KES 37.50" in told.out
    assert (await payouts("run", "show", "r-9", environ=environ)).status == 1


async def test_verify_proves_books_that_balance(
    worker: Worker, environ: dict[str, str], tmp_path: Path
) -> None:
    """With the other side's statement: equal, exit 0; a doubt is listed and no difference."""
    paid = await worker.submitting("a-1", run_id="r-1")
    await worker.ended(paid)
    await worker.answered(await worker.submitting("a-2"), State.IN_DOUBT, LOST)
    statement = tmp_path / "statement.csv"
    statement.write_text(
        "originator_conversation_id,amount,receipt\n600000_ORG_a-1,12.50,Ra-1\n"
        "600000_ORG_a-2,12.50,R2\n"
    )
    ran = await payouts("verify", "--ledger", str(statement), environ=environ)
    assert ran.status == 0
    assert "2 received = 1 succeeded + 0 failed + 1 open" in ran.out
    assert "The books balance." in ran.out
    record = (await payouts("verify", "--ledger", str(statement), "--json", environ=environ)).json
    assert record["balanced"] is True
    assert record["ledger"]["paid_but_open"] == 1
    assert [one["payout_id"] for one in record["in_doubt"]] == ["a-2"]
    alone = await payouts("verify", "--run", "r-1", "--json", environ=environ)
    assert alone.json["received"] == [{"currency": "KES", "count": 1, "sum": "12.50"}]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("600000_ORG_a-1,12.50,Ra-1\n600000_ORG_a-1,12.50,Rb\n", "paid more than once"),
        ("600000_ORG_a-1,12.51,Ra-1\n", "another amount"),
        ("600000_ORG_a-1,12.50,Rx\n", "another receipt"),
        ("", "succeeded here, not in their ledger"),
        ("600000_ORG_a-1,12.50,Ra-1\n600000_ORG_a-2,12.50,R2\n", "paid, but failed here"),
        ("600000_ORG_a-1,12.50,Ra-1\n600000_ORG_zz,1,R3\n", "paid, but unknown here"),
    ],
)
async def test_verify_finds_each_difference(
    worker: Worker, environ: dict[str, str], tmp_path: Path, lines: str, said: str
) -> None:
    """Exit 1, and which payment it is."""
    await worker.ended(await worker.submitting("a-1"))
    await worker.ended(await worker.submitting("a-2"), fails=True)
    statement = tmp_path / "statement.csv"
    statement.write_text("originator_conversation_id,amount,receipt\n" + lines)
    ran = await payouts("verify", "--ledger", str(statement), environ=environ)
    assert ran.status == 1
    assert said in ran.out
    assert "1 difference between the books and the ledger" in ran.err


async def test_verify_finds_a_missing_event(worker: Worker, environ: dict[str, str]) -> None:
    """An ended payout without its event is a difference of the books in themselves."""
    await worker.ended(await worker.submitting("a-1"))
    connection = await asyncpg.connect(environ["PAYOUTS_DATABASE_URL"])
    try:
        await connection.execute("SET payouts.retention = 'on'")
        await connection.execute("DELETE FROM events")
    finally:
        await connection.close()
    ran = await payouts("verify", environ=environ)
    assert ran.status == 1
    assert "1 ended payouts without their event" in ran.err


async def test_an_account_is_paused_and_resumed_with_reasons(
    worker: Worker, environ: dict[str, str]
) -> None:
    """Who looks sees why; resuming says count and sum of what waits, and asks."""
    await worker.answered(await worker.submitting("a-1"), State.WAITING, LOST)
    ran = await payouts("pause", "default", "--reason", "float empty", "--json", environ=environ)
    assert (ran.status, ran.json["paused"]) == (0, True)
    assert ran.json["paused_reason"].startswith("float empty (")
    assert "no, paused" in (await payouts("accounts", environ=environ)).out
    assert (
        "while account default is paused (float empty"
        in (await payouts("show", "a-1", environ=environ)).out
    )
    asked = await payouts("resume", "default", "--reason", "filled", environ=environ)
    assert asked.status == 2
    assert "Waiting to be sent: 1 payout, KES 12.50." in asked.err
    assert (await payouts("accounts", "--json", environ=environ)).json[0]["paused"] is True
    done = await payouts("resume", "default", "--reason", "filled", "--yes", environ=environ)
    assert done.status == 0
    assert (await payouts("accounts", "--json", environ=environ)).json[0]["paused"] is False


async def test_reading_changes_nothing(worker: Worker, environ: dict[str, str]) -> None:
    """Show, list, run show and verify leave payouts and timeline as they are."""
    await worker.ended(await worker.submitting("a-1", run_id="r"))

    async def standing() -> list[str]:
        connection = await asyncpg.connect(environ["PAYOUTS_DATABASE_URL"])
        try:
            rows = await connection.fetch(
                "SELECT p::text FROM payouts p UNION ALL SELECT t::text FROM timeline t"
                " UNION ALL SELECT e::text FROM events e"
            )
        finally:
            await connection.close()
        return sorted(row[0] for row in rows)

    before = await standing()
    for command in (["show", "a-1"], ["list"], ["run", "show", "r"], ["verify"]):
        assert (await payouts(*command, environ=environ)).status == 0
    assert await standing() == before
    assert RECEIVER in before[0] + before[1] + before[2]
