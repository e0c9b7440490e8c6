"""What operators see of accounts and of each other's orders; and the order after a restore."""

from datetime import UTC, datetime, timedelta

import pytest
from cli_bed import LOST, WHY, YES, Worker, connected

from payouts.domain.payout import State
from tests.command_line import payouts

pytestmark = pytest.mark.servers


async def test_the_audit_is_listed_and_verified(worker: Worker, environ: dict[str, str]) -> None:
    """A changed line breaks the chain; a kept head is found until lines are cut off."""
    for number in range(3):
        await worker.waiting(f"a-{number}")
        await payouts("cancel", f"a-{number}", *YES, environ=environ)
    listed = await payouts("audit", "list", "--limit", "2", environ=environ)
    assert listed.status == 0
    assert "jane" in listed.out
    assert "--before 2" in listed.err
    page = await payouts("audit", "list", "--before", "2", "--json", environ=environ)
    assert [line["number"] for line in page.json] == [1]
    about = await payouts("audit", "list", "--about", "a-1", "--json", environ=environ)
    assert [(line["number"], line["subject"]) for line in about.json] == [(2, "a-1")]
    head = (await payouts("audit", "verify", environ=environ)).out.strip()
    await payouts("pause", "default", *WHY, environ={**environ, "PAYOUTS_SHORTCODE": "600000"})
    kept = await payouts("audit", "verify", "--head", head, "--json", environ=environ)
    assert (kept.status, kept.json["entries"], kept.json["head_found"]) == (0, 4, True)
    lost = await payouts("audit", "verify", "--head", "f" * 64, environ=environ)
    assert lost.status == 1
    assert "cut off or written anew" in lost.err
    async with connected(environ) as connection:
        await connection.execute("SET session_replication_role = 'replica'")  # No triggers.
        await connection.execute("UPDATE audit SET operator = 'amina' WHERE number = 2")
    broken = await payouts("audit", "verify", "--json", environ=environ)
    assert (broken.status, broken.json["whole"], broken.json["broken_at"]) == (1, False, 2)


async def test_a_restored_database_sends_nothing_and_asks_about_all(
    worker: Worker, environ: dict[str, str]
) -> None:
    """Count and sum are told and asked; accounts that the dump does not know are paused too."""
    await worker.waiting("a-1")
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


async def test_accounts_tell_to_what_throttling_has_slowed_them(environ: dict[str, str]) -> None:
    """The learned pace, and when it was last lowered; nothing where it was not."""
    fresh = (await payouts("accounts", "--json", environ=environ)).json
    assert [(one["pace_tps"], one["pace_lowered_at"]) for one in fresh] == [(None, None)]
    async with connected(environ) as connection:
        await connection.execute(
            "UPDATE accounts SET pace = 34.3, lowered_at = now() - interval '5 seconds'"
        )

    ran = await payouts("accounts", environ=environ)
    (record,) = (await payouts("accounts", "--json", environ=environ)).json

    assert "34.3/s, lowered 5 s ago" in ran.out or "34.3/s, lowered 6 s ago" in ran.out
    assert record["pace_tps"] == 34.3
    assert record["pace_lowered_at"]


async def test_accounts_tell_what_is_open_also_where_nobody_serves_them(
    worker: Worker, environ: dict[str, str]
) -> None:
    """Count, sum and holds; an account that is not configured here but has open payouts."""
    await worker.waiting("a-1")
    await payouts("hold", "a-1", *WHY, environ=environ)
    async with connected(environ) as connection:
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
