"""`payouts archive` by command: asked, told, audited; and what other commands say of it after."""

from typing import Any

import pytest
from cli_bed import WHY, YES, Worker, audit_of, connected

from payouts.domain.errors import StoreUnavailableError
from payouts.storage.retention import Retention, Sums
from tests.command_line import payouts

pytestmark = pytest.mark.servers

OLD = ("--older-than", "90d")


@pytest.fixture
async def old(worker: Worker, environ: dict[str, str]) -> None:
    """Give two payouts that ended and were told a hundred days ago, and one that is open."""
    await worker.ended(await worker.submitting("a-1", run_id="r-1"))
    await worker.ended(await worker.submitting("a-2", run_id="r-1"), fails=True)
    await worker.submitting("b-1", run_id="r-1")
    async with connected(environ) as connection:
        for statement in (
            "SET session_replication_role = 'replica'",
            (
                "UPDATE payouts SET created_at = created_at - interval '100 days',"
                " completed_at = completed_at - interval '100 days'"
            ),
            "UPDATE events SET published_at = created_at",
        ):
            await connection.execute(statement)


@pytest.mark.usefixtures("old")
async def test_it_asks_with_count_and_sum_and_moves_what_ended(environ: dict[str, str]) -> None:
    """Nobody to answer: exit 2, and nothing is done. --yes: done, and the audit says by whom."""
    asked = await payouts("archive", *OLD, *WHY, environ=environ)
    assert (asked.status, asked.out) == (2, "")
    assert "Archive 2 payouts, KES 25.00 that ended before " in asked.err
    assert await audit_of(environ) == []

    ran = await payouts("archive", *OLD, "--json", *YES, environ=environ)

    assert ran.status == 0
    assert ran.json["archived"] == [{"currency": "KES", "count": 2, "sum": "25.00"}]
    assert "2 payouts, KES 25.00 archived." in ran.err
    (line,) = await audit_of(environ)
    assert (line["operator"], line["action"], line["reason"]) == (
        "jane",
        "archive",
        "asked by payroll",
    )
    again = await payouts("archive", *OLD, *YES, environ=environ)
    assert (again.status, again.out) == (0, "")
    assert "There is nothing to archive." in again.err


@pytest.mark.usefixtures("old")
async def test_other_commands_know_what_was_archived(environ: dict[str, str]) -> None:
    """Shown by its id, counted in its run and in the books; not listed, not retried."""
    before = (await payouts("run", "show", "r-1", "--json", environ=environ)).json
    await payouts("archive", *OLD, *YES, environ=environ)

    shown = await payouts("show", "a-2", environ=environ)
    assert shown.status == 0
    assert "failed" in shown.out
    assert "not kept: the payout was archived" in shown.out
    record = (await payouts("show", "a-2", "--json", environ=environ)).json
    assert record["archived_at"] is not None
    assert [event["type"] for event in record["events"]] == ["payout.failed"]
    run = (await payouts("run", "show", "r-1", "--json", environ=environ)).json
    assert (run["states"], run["reasons"]) == (before["states"], before["reasons"])
    listed = (await payouts("list", "--json", environ=environ)).json
    assert [one["payout_id"] for one in listed] == ["b-1"]
    verified = await payouts("verify", environ=environ)
    assert verified.status == 0
    assert "3 received = 1 succeeded + 1 failed + 1 open" in verified.out
    assert "2 of these are in the archive" in verified.out
    retried = await payouts("retry", "a-2", *YES, environ=environ)
    assert retried.status == 1
    assert "It was archived" in retried.out


@pytest.mark.parametrize("age", ["23h", "0d", "soon", "-3d"])
async def test_a_mistyped_age_connects_nowhere(age: str) -> None:
    """Too young, or no age at all: wrong usage, before anything is opened."""
    ran = await payouts("archive", "--older-than", age, *YES, environ={})
    assert ran.status == 2
    assert "--older-than" in ran.err


async def test_it_may_be_stopped_and_says_how_far_it_came(
    environ: dict[str, str], old: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that goes away in between: exit 1, with what is durable, and what to do."""
    del old
    move = Retention._move

    async def move_once(self: Retention, *where: Any) -> tuple[Sums, int | None]:
        number, before, after, _ = where
        if after:
            raise StoreUnavailableError
        return await move(self, number, before, after, 1)

    monkeypatch.setattr(Retention, "_move", move_once)
    ran = await payouts("archive", *OLD, *YES, environ=environ)
    assert ran.status == 1
    assert "1 payout, KES 12.50 archived before; order it again to go on." in ran.err
