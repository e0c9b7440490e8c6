"""Orders by command, on the real database: carried out or refused, asked, told, audited."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from cli_bed import LOST, RECEIVER, Ran, Worker, payouts

from payouts.domain.payout import State

pytestmark = pytest.mark.servers

WHY = ("--reason", "asked by payroll", "--operator", "jane")
YES = (*WHY, "--yes")


def told(ran: Ran) -> list[dict[str, Any]]:
    """Gives the lines that a program is told, one per payout."""
    return [json.loads(line) for line in ran.out.splitlines()]


async def state_of(environ: dict[str, str], payout_id: str) -> str:
    """Gives where a payout stands."""
    record = (await payouts("show", payout_id, "--json", environ=environ)).json
    return str(record["state"])


async def audit(environ: dict[str, str]) -> list[dict[str, Any]]:
    """Gives the audit, newest first."""
    lines: list[dict[str, Any]] = (await payouts("audit", "list", "--json", environ=environ)).json
    return lines


async def received(
    worker: Worker, environ: dict[str, str], payout_id: str, **fields: object
) -> None:
    """Makes a payout that waits to be sent again: nothing of it is on its way."""
    await worker.answered(await worker.submitting(payout_id, **fields), State.WAITING, LOST)


async def aged(environ: dict[str, str]) -> None:
    """Lets every last send be two hours old."""
    connection = await asyncpg.connect(environ["PAYOUTS_DATABASE_URL"])
    try:
        await connection.execute(
            "UPDATE payouts SET last_sent_at = last_sent_at - interval '2 hours'"
        )
    finally:
        await connection.close()


async def test_cancel_asks_with_count_and_sum_and_tells_each_payout(
    worker: Worker, environ: dict[str, str]
) -> None:
    """Without a person and without --yes nothing is done: exit 2. One refused: exit 1."""
    for name in ("a-1", "a-2"):
        await received(worker, environ, name)
    await worker.submitting("a-3")
    asked = await payouts("cancel", "a-1", "a-2", "a-3", "nobody", *WHY, environ=environ)
    assert (asked.status, asked.out) == (2, "")
    assert "Cancel 2 payouts, KES 25.00?" in asked.err
    assert "2 payouts of those named will be refused" in asked.err
    assert await state_of(environ, "a-1") == "waiting"
    ran = await payouts("cancel", "a-1", "a-2", "a-3", "nobody", *YES, environ=environ)
    assert ran.status == 1
    assert ran.out.splitlines() == [
        "a-1  cancelled",
        "a-2  cancelled",
        "a-3  refused: It is being sent at this moment.",
        "nobody  refused: No payout has the id nobody.",
    ]
    assert "2 payouts cancelled. 2 refused." in ran.err
    again = await payouts("cancel", "a-1", "--json", *YES, environ=environ)
    assert again.status == 1
    assert told(again) == [
        {
            "payout_id": "a-1",
            "done": False,
            "refusal": "It has failed already.",
            "state": "failed",
            "held": None,
            "submission": None,
        }
    ]


async def test_a_run_is_cancelled_whole_and_a_mistyped_one_is_an_error(
    worker: Worker, environ: dict[str, str]
) -> None:
    """What has ended is left out of count and sum; nothing left to do is no error."""
    for number in range(3):
        await received(worker, environ, f"a-{number}", run_id="r-1")
    await worker.ended(await worker.submitting("a-9", run_id="r-1"))
    await received(worker, environ, "b-1")
    ran = await payouts("cancel", "--run", "r-1", "--json", *YES, environ=environ)
    assert ran.status == 0
    assert {line["payout_id"] for line in told(ran)} == {"a-0", "a-1", "a-2"}
    assert "Cancel: 3 payouts, KES 37.50 of run r-1." in ran.err
    assert await state_of(environ, "b-1") == "waiting"
    rest = await payouts("cancel", "--run", "r-1", *YES, environ=environ)
    assert (rest.status, rest.out) == (0, "")
    assert "nothing to cancel" in rest.err
    assert (await payouts("cancel", "--run", "r-9", *YES, environ=environ)).status == 1


async def test_nothing_is_ordered_by_nobody(
    worker: Worker, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """--operator goes before PAYOUTS_OPERATOR, that before the login; no name at all: exit 2."""
    for number in range(4):
        await received(worker, environ, f"a-{number}")
    reason = ("--reason", "x", "--yes")
    named = {**environ, "PAYOUTS_OPERATOR": "amina"}
    assert (
        await payouts("cancel", "a-0", "--operator", "jane", *reason, environ=named)
    ).status == 0
    assert (await payouts("cancel", "a-1", *reason, environ=named)).status == 0
    monkeypatch.setattr("getpass.getuser", lambda: "login")
    assert (await payouts("cancel", "a-2", *reason, environ=environ)).status == 0
    assert [line["operator"] for line in await audit(environ)] == ["login", "amina", "jane"]

    def nobody() -> str:
        raise OSError("no such user")

    monkeypatch.setattr("getpass.getuser", nobody)
    refused = await payouts("cancel", "a-3", *reason, environ=environ)
    assert refused.status == 2
    assert "Say who orders this" in refused.err
    blank = await payouts("cancel", "a-3", "--operator", " ", *reason, environ=named)
    assert blank.status == 2
    assert await state_of(environ, "a-3") == "waiting"


async def test_a_reason_never_keeps_a_receivers_number(
    worker: Worker, environ: dict[str, str]
) -> None:
    """The audit cannot forget: what looks like a number is masked before it is written."""
    await received(worker, environ, "a-1")
    reason = ("--reason", f"wrong number {RECEIVER}", "--operator", "jane", "--yes")
    assert (await payouts("cancel", "a-1", *reason, environ=environ)).status == 0
    connection = await asyncpg.connect(environ["PAYOUTS_DATABASE_URL"])
    try:
        written = await connection.fetchval("SELECT reason FROM audit")
    finally:
        await connection.close()
    assert written == "wrong number 2547****5678"


async def test_hold_and_release_stop_and_free_an_open_payout(
    worker: Worker, environ: dict[str, str]
) -> None:
    """`list --held` finds it, `show` says who and how to go on; releasing asks first."""
    await received(worker, environ, "a-1", run_id="r-1")
    await received(worker, environ, "a-2", run_id="r-1")
    assert (await payouts("hold", "a-1", *WHY, environ=environ)).status == 0
    listed = (await payouts("list", "--held", "--json", environ=environ)).json
    assert [one["payout_id"] for one in listed] == ["a-1"]
    shown = (await payouts("show", "a-1", environ=environ)).out
    assert "held by operator jane" in shown
    assert "`payouts release a-1` lets it go on" in shown
    assert "asked by payroll" in shown
    run = await payouts("run", "show", "r-1", environ=environ)
    assert "held: 1 payout, KES 12.50" in run.out
    assert (await payouts("release", "a-1", *WHY, environ=environ)).status == 2
    freed = await payouts("release", "--run", "r-1", *YES, environ=environ)
    assert freed.out == "a-1  released\n"
    assert "1 payout held: held by operator jane." in freed.err
    assert (await payouts("list", "--held", "--json", environ=environ)).json == []


async def test_a_run_is_paused_before_it_begins_and_resumed(
    worker: Worker, environ: dict[str, str]
) -> None:
    """What comes of it is held; show tells why; resuming tells count and sum and asks."""
    paused = await payouts("run", "pause", "r-1", "--json", *WHY, environ=environ)
    assert (paused.status, paused.json["paused"]) == (0, True)
    await worker.submitting("a-1", run_id="r-1")
    assert await state_of(environ, "a-1") == "received"
    shown = (await payouts("show", "a-1", "--json", environ=environ)).json
    assert "while its run r-1 is paused (asked by payroll" in shown["explanation"]["next"]
    run = (await payouts("run", "show", "r-1", "--json", environ=environ)).json
    assert run["paused_reason"].startswith("asked by payroll")
    assert run["held"] == [{"currency": "KES", "count": 1, "sum": "12.50"}]
    refused = await payouts("release", "a-1", *YES, environ=environ)
    assert refused.status == 1
    assert "resume --run" in refused.out
    asked = await payouts("resume", "--run", "r-1", *WHY, environ=environ)
    assert asked.status == 2
    assert "Waiting to be sent: 1 payout, KES 12.50." in asked.err
    done = await payouts("run", "resume", "r-1", *YES, environ=environ)
    assert done.status == 0
    assert (await payouts("resume", "--run", "r-1", *YES, environ=environ)).status == 1
    assert (await payouts("list", "--held", "--json", environ=environ)).json == []
    assert [line["action"] for line in await audit(environ)] == ["resume-run", "pause-run"]


async def test_resolve_needs_doubt_evidence_and_time(
    worker: Worker, environ: dict[str, str]
) -> None:
    """Not paid: refused while the last send is fresh. Paid: by a receipt, once."""
    for name in ("a-1", "a-2", "a-3"):
        await worker.answered(await worker.submitting(name), State.IN_DOUBT, LOST)
    evidence = ("--evidence", "portal, 12:30, no line", "--operator", "jane", "--yes")
    fresh = await payouts("resolve", "a-1", "--not-paid", *evidence, environ=environ)
    assert fresh.status == 1
    assert "too short a time ago" in fresh.out
    await aged(environ)
    done = await payouts("resolve", "a-1", "--not-paid", *evidence, environ=environ)
    assert (done.status, done.out) == (0, "a-1  failed\n")
    paid = await payouts("resolve", "a-2", "--paid", "SKU7X1", *evidence, environ=environ)
    assert paid.status == 0
    record = (await payouts("show", "a-2", "--json", environ=environ)).json
    assert (record["state"], record["transaction_id"]) == ("succeeded", "SKU7X1")
    assert [event["type"] for event in record["events"]] == ["payout.succeeded"]
    twice = await payouts("resolve", "a-3", "--paid", "SKU7X1", *evidence, environ=environ)
    assert twice.status == 1
    assert "belongs to payout a-2" in twice.out


async def test_a_retry_of_what_an_operator_declared_unpaid_takes_another_one(
    worker: Worker, environ: dict[str, str]
) -> None:
    """Four eyes: the same person is refused, whatever the spelling; show says so."""
    await worker.answered(await worker.submitting("a-1"), State.IN_DOUBT, LOST)
    await aged(environ)
    evidence = ("--evidence", "portal", "--operator", "Jane", "--yes")
    assert (await payouts("resolve", "a-1", "--not-paid", *evidence, environ=environ)).status == 0
    next_step = (await payouts("show", "a-1", "--json", environ=environ)).json["explanation"][
        "next"
    ]
    assert "by another operator than Jane (four eyes)" in next_step
    same = await payouts("retry", "a-1", *YES, environ=environ)
    assert same.status == 1
    assert "another operator" in same.out
    other = ("--reason", "checked too", "--operator", "amina", "--yes")
    done = await payouts("retry", "a-1", "--json", *other, environ=environ)
    assert (done.status, told(done)[0]["submission"]) == (0, "a-1-r2")


async def test_a_retry_is_a_second_submission_that_both_sides_tell(
    worker: Worker, environ: dict[str, str]
) -> None:
    """The first keeps its id and its end; the second has its own; a third follows the second."""
    await worker.ended(await worker.submitting("a-1"), fails=True)
    asked = await payouts("retry", "a-1", *WHY, environ=environ)
    assert asked.status == 2
    assert "Pay again 1 payout, KES 12.50?" in asked.err
    done = await payouts("retry", "a-1", *YES, environ=environ)
    assert (done.status, done.out) == (0, "a-1  submitted again as a-1-r2\n")
    first = (await payouts("show", "a-1", "--json", environ=environ)).json
    second = (await payouts("show", "a-1-r2", "--json", environ=environ)).json
    assert (first["state"], second["state"]) == ("failed", "received")
    assert first["explanation"]["next"].endswith("It was submitted again as a-1-r2.")
    assert second["retry_of"] == "a-1"
    assert second["originator_conversation_id"] == "600000_ORG-r2_a-1"
    for record in (first, second):
        assert [one["payout_id"] for one in record["submissions"]] == ["a-1", "a-1-r2"]
        assert [one["action"] for one in record["orders"]] == ["retry"]
    again = await payouts("retry", "a-1", *YES, environ=environ)
    assert again.status == 1
    assert "look at that one" in again.out
    shown = await payouts("show", "a-1-r2", environ=environ)
    assert "Submissions, each under an id of its own" in shown.out
    assert "Orders of operators" in shown.out


async def test_reconcile_has_doubts_asked_about_now(
    worker: Worker, environ: dict[str, str]
) -> None:
    """By id, by run, or all in doubt; what cannot be asked about says why; nobody has to agree."""
    for number in range(3):
        payout = await worker.submitting(f"a-{number}", run_id="r-1")
        await worker.answered(payout, State.IN_DOUBT, LOST)
    await received(worker, environ, "a-9", run_id="r-1")
    ran = await payouts("reconcile", "a-0", "a-9", "--json", *WHY, environ=environ)
    assert ran.status == 1
    assert [line["done"] for line in told(ran)] == [True, False]
    for which in (("--run", "r-1"), ("--in-doubt",)):
        ran = await payouts("reconcile", *which, "--json", *WHY, environ=environ)
        assert ran.status == 0
        assert {line["payout_id"] for line in told(ran)} == {"a-0", "a-1", "a-2"}
    record = (await payouts("show", "a-1", "--json", environ=environ)).json
    assert record["ask_now"] is True
    assert datetime.fromisoformat(record["next_action_at"]) <= datetime.now(UTC)


async def test_events_are_published_again_with_the_same_id(
    worker: Worker, environ: dict[str, str]
) -> None:
    """Only of what has ended."""
    await worker.ended(await worker.submitting("a-1", run_id="r-1"))
    await worker.submitting("a-2", run_id="r-1")
    before = (await payouts("show", "a-1", "--json", environ=environ)).json["events"]
    connection = await asyncpg.connect(environ["PAYOUTS_DATABASE_URL"])
    try:
        await connection.execute("UPDATE events SET published_at = now()")
        ran = await payouts("events", "republish", "--run", "r-1", *WHY, environ=environ)
        assert (ran.status, ran.out) == (0, "a-1  to be published again\n")
        assert await connection.fetchval("SELECT published_at FROM events") is None
    finally:
        await connection.close()
    assert (await payouts("show", "a-1", "--json", environ=environ)).json["events"] == before
    refused = await payouts("events", "republish", "a-2", *WHY, environ=environ)
    assert refused.status == 1


async def test_the_audit_is_listed_and_verified(worker: Worker, environ: dict[str, str]) -> None:
    """A changed line breaks the chain; a kept head is found until lines are cut off."""
    for number in range(3):
        await received(worker, environ, f"a-{number}")
        await payouts("cancel", f"a-{number}", *YES, environ=environ)
    listed = await payouts("audit", "list", "--limit", "2", environ=environ)
    assert listed.status == 0
    assert "jane" in listed.out
    assert "--before 2" in listed.err
    page = await payouts("audit", "list", "--before", "2", "--json", environ=environ)
    assert [line["number"] for line in page.json] == [1]
    head = (await payouts("audit", "verify", environ=environ)).out.strip()
    await payouts("pause", "default", *WHY, environ={**environ, "PAYOUTS_SHORTCODE": "600000"})
    kept = await payouts("audit", "verify", "--head", head, "--json", environ=environ)
    assert (kept.status, kept.json["entries"], kept.json["head_found"]) == (0, 4, True)
    lost = await payouts("audit", "verify", "--head", "f" * 64, environ=environ)
    assert lost.status == 1
    assert "cut off or written anew" in lost.err
    connection = await asyncpg.connect(environ["PAYOUTS_DATABASE_URL"])
    try:
        await connection.execute("SET session_replication_role = 'replica'")  # No triggers.
        await connection.execute("UPDATE audit SET operator = 'amina' WHERE number = 2")
    finally:
        await connection.close()
    broken = await payouts("audit", "verify", "--json", environ=environ)
    assert (broken.status, broken.json["whole"], broken.json["broken_at"]) == (1, False, 2)


async def test_a_restored_database_sends_nothing_and_asks_about_all(
    worker: Worker, environ: dict[str, str]
) -> None:
    """Count and sum are told and asked; accounts that the dump does not know are paused too."""
    await received(worker, environ, "a-1")
    await worker.answered(await worker.submitting("a-2"), State.ACCEPTED, LOST)
    await worker.ended(await worker.submitting("a-3"))
    asked = await payouts("db", "restored", *WHY, environ=environ)
    assert asked.status == 2
    assert "Pause all accounts and ask about 2 payouts, KES 25.00?" in asked.err
    done = await payouts("db", "restored", "--json", *YES, environ=environ)
    assert (done.status, done.json["asked_about"]) == (0, 2)
    accounts = (await payouts("accounts", "--json", environ=environ)).json
    assert [one["paused"] for one in accounts] == [True]
    assert "restored" in accounts[0]["paused_reason"]
    shown = (await payouts("show", "a-1", "--json", environ=environ)).json
    assert shown["ask_now"] is True


async def test_accounts_tell_what_is_open_also_where_nobody_serves_them(
    worker: Worker, environ: dict[str, str]
) -> None:
    """Count, sum and holds; an account that is not configured here but has open payouts."""
    await received(worker, environ, "a-1")
    await payouts("hold", "a-1", *WHY, environ=environ)
    connection = await asyncpg.connect(environ["PAYOUTS_DATABASE_URL"])
    try:
        await connection.execute(
            """INSERT INTO accounts (name, utility_balance_minor, balance_at)
               VALUES ('default', 250000, now() - interval '3 minutes') ON CONFLICT (name)
               DO UPDATE SET utility_balance_minor = 250000,
                   balance_at = now() - interval '3 minutes'"""
        )
        await connection.execute(
            """INSERT INTO workers (name, started_at, heartbeat_at, accounts, cut_off)
               VALUES ('w', now(), clock_timestamp(), '{default}', '{default}')"""
        )
        await connection.execute(
            """INSERT INTO payouts (payout_id, account, amount_minor, currency, msisdn, command_id,
                   originator_conversation_id, state, next_action_at, created_at)
               VALUES ('old-1', 'closed', 700, 'KES', '254700000009', 'BusinessPayment',
                   '600009_ORG_old-1', 'received', now(), now())"""
        )
    finally:
        await connection.close()
    ran = await payouts("accounts", environ=environ)
    assert "closed (not configured)" in ran.out
    assert "1 payout, KES 7.00" in ran.out
    assert "1 payout, KES 12.50, 1 held" in ran.out
    assert "2,500.00 (3 min ago)" in ran.out
    assert "cut off from 1 worker" in ran.out
    assert "Account closed is not configured here" in ran.err
    known = await payouts("pause", "closed", *WHY, environ=environ)
    assert known.status == 0
    unknown = await payouts("pause", "clsoed", *WHY, environ=environ)
    assert unknown.status == 2
    assert "known: closed, default" in unknown.err
    record = (await payouts("accounts", "--json", environ=environ)).json
    assert [(one["account"], one["configured"]) for one in record] == [
        ("closed", False),
        ("default", True),
    ]
    assert record[1]["cut_off_workers"] == 1
    assert timedelta(minutes=2) < datetime.now(UTC) - datetime.fromisoformat(
        record[1]["balance_at"]
    )


async def test_orders_in_a_closed_database_say_how_far_they_came(environ: dict[str, str]) -> None:
    """Exit 1 with one line; nothing is taken for done."""
    away = {"PAYOUTS_DATABASE_URL": "postgresql://me:s3cret@127.0.0.1:1/x"}
    ran = await payouts("cancel", "a-1", *YES, environ=away)
    assert ran.status == 1
    assert "The database does not answer" in ran.err
    assert "s3cret" not in ran.err
    assert ran.out == ""
