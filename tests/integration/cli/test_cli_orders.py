"""Orders by command, on the real database: carried out or refused, asked, told, audited."""

from datetime import UTC, datetime, timedelta

import pytest
from cli_bed import LOST, RECEIVER, WHY, YES, Worker, audit_of, connected

from payouts.domain.payout import State
from payouts.runtime import SystemClock
from tests.command_line import payouts

pytestmark = pytest.mark.servers


async def state_of(environ: dict[str, str], payout_id: str) -> str:
    """Gives where a payout stands."""
    record = (await payouts("show", payout_id, "--json", environ=environ)).json
    return str(record["state"])


async def aged(environ: dict[str, str]) -> None:
    """Lets every last send be two hours old."""
    async with connected(environ) as connection:
        await connection.execute(
            "UPDATE payouts SET last_sent_at = last_sent_at - interval '2 hours'"
        )


async def test_cancel_asks_with_count_and_sum_and_tells_each_payout(
    worker: Worker, environ: dict[str, str]
) -> None:
    """Without a person and without --yes nothing is done: exit 2. One refused: exit 1."""
    for name in ("a-1", "a-2"):
        await worker.waiting(name)
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
    assert again.lines == [
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
        await worker.waiting(f"a-{number}", run_id="r-1")
    await worker.ended(await worker.submitting("a-9", run_id="r-1"))
    await worker.waiting("b-1")
    ran = await payouts("cancel", "--run", "r-1", "--json", *YES, environ=environ)
    assert ran.status == 0
    assert {line["payout_id"] for line in ran.lines} == {"a-0", "a-1", "a-2"}
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
        await worker.waiting(f"a-{number}")
    reason = ("--reason", "x", "--yes")
    named = {**environ, "PAYOUTS_OPERATOR": "amina"}
    assert (
        await payouts("cancel", "a-0", "--operator", "jane", *reason, environ=named)
    ).status == 0
    assert (await payouts("cancel", "a-1", *reason, environ=named)).status == 0
    monkeypatch.setattr("getpass.getuser", lambda: "login")
    assert (await payouts("cancel", "a-2", *reason, environ=environ)).status == 0
    assert [line["operator"] for line in await audit_of(environ)] == ["login", "amina", "jane"]

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
    await worker.waiting("a-1")
    reason = ("--reason", f"wrong number {RECEIVER}", "--operator", "jane", "--yes")
    assert (await payouts("cancel", "a-1", *reason, environ=environ)).status == 0
    async with connected(environ) as connection:
        written = await connection.fetchval("SELECT reason FROM audit")
    assert written == "wrong number 2547****5678"


async def test_hold_and_release_stop_and_free_an_open_payout(
    worker: Worker, environ: dict[str, str]
) -> None:
    """`list --held` finds it, `show` says who and how to go on; releasing asks first."""
    await worker.waiting("a-1", run_id="r-1")
    await worker.waiting("a-2", run_id="r-1")
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
    assert [line["action"] for line in await audit_of(environ)] == ["resume-run", "pause-run"]


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


async def test_a_machine_that_is_ahead_takes_no_fresh_send_for_an_old_one(
    worker: Worker, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time of day of an order is the database's. Proved by never asking the database for it."""
    await worker.answered(await worker.submitting("a-1"), State.IN_DOUBT, LOST)
    ahead = timedelta(hours=3)
    monkeypatch.setattr(SystemClock, "now", lambda _: datetime.now(UTC) + ahead)
    evidence = ("--evidence", "portal", "--operator", "jane", "--yes")
    fresh = await payouts("resolve", "a-1", "--not-paid", *evidence, environ=environ)
    assert fresh.status == 1
    assert "too short a time ago" in fresh.out
    assert (await payouts("hold", "a-1", *WHY, environ=environ)).status == 0
    noted = datetime.fromisoformat((await audit_of(environ))[0]["at"])
    assert noted - datetime.now(UTC) < timedelta(hours=1)


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
    assert (done.status, done.lines[0]["submission"]) == (0, "a-1-r2")


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
    await worker.waiting("a-9", run_id="r-1")
    ran = await payouts("reconcile", "a-0", "a-9", "--json", *WHY, environ=environ)
    assert ran.status == 1
    assert [line["done"] for line in ran.lines] == [True, False]
    for which in (("--run", "r-1"), ("--in-doubt",)):
        ran = await payouts("reconcile", *which, "--json", *WHY, environ=environ)
        assert ran.status == 0
        assert {line["payout_id"] for line in ran.lines} == {"a-0", "a-1", "a-2"}
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
    async with connected(environ) as connection:
        await connection.execute("UPDATE events SET published_at = now()")
        ran = await payouts("events", "republish", "--run", "r-1", *WHY, environ=environ)
        assert (ran.status, ran.out) == (0, "a-1  to be published again\n")
        assert await connection.fetchval("SELECT published_at FROM events") is None
    assert (await payouts("show", "a-1", "--json", environ=environ)).json["events"] == before
    refused = await payouts("events", "republish", "a-2", *WHY, environ=environ)
    assert refused.status == 1


async def test_orders_in_a_closed_database_say_how_far_they_came(environ: dict[str, str]) -> None:
    """Exit 1 with one line; nothing is taken for done."""
    away = {"PAYOUTS_DATABASE_URL": "postgresql://me:s3cret@127.0.0.1:1/x"}
    ran = await payouts("cancel", "a-1", *YES, environ=away)
    assert ran.status == 1
    assert "The database does not answer" in ran.err
    assert "s3cret" not in ran.err
    assert ran.out == ""
