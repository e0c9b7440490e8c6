"""The database is lost and an older dump restored, by the page that an operator would follow."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from ops.local import LocalStack
from tests.acceptance.world import World, running_world
from tests.faults.drill import Shell, Typed
from tests.statements import ledger_at, of_ledger

pytestmark = [pytest.mark.servers, pytest.mark.faults, pytest.mark.timeout(400)]

DONE = [f"done-{number}" for number in range(5)]
# Each is in the state of its name when the dump is made.
OPEN = ["received-1", "waiting-1", "accepted-1", "doubt-1", "submitting-1"]
REFUSED, AGAIN, SECOND = "refused-1", "again-1", "again-1-r2"
NEW = [f"new-{number}" for number in range(5)]
LATE = [f"late-{number}" for number in range(3)]
FRESH = "fresh-1"
STATES = {
    **dict.fromkeys(DONE, "succeeded"),
    "received-1": "received",
    "waiting-1": "waiting",
    "accepted-1": "accepted",
    "doubt-1": "in_doubt",
    "submitting-1": "submitting",
    REFUSED: "waiting",
    AGAIN: "failed",
}
# Before the dump everything takes its time, so that each state is there to be dumped.
SLOW = {
    "PAYOUTS_AMBIGUOUS": "hold",
    "PAYOUTS_RESULT_DEADLINE_S": "600",
    "PAYOUTS_RETRY_FIRST_S": "600",
    "PAYOUTS_RETRY_CAP_S": "900",
    "PAYOUTS_TRIES_AT_ONCE": "1",
    "PAYOUTS_REQUEST_TIMEOUT_S": "60",
    "PAYOUTS_WORKER_LEASE_S": "60",
}
BEFORE = {
    "waiting-1|refused-1": ["refuse_before:100000001"],
    "accepted-1": ["result_never"],
    "doubt-1": ["drop_answer", "result_never"],
    "submitting-1": ["slow_answer:120", "result_never"],
    "ORG_again-1": ["result_failed:2040"],
}
AFTER = {
    "refused-1": ["refuse_before:100000005"],
    "late-": ["result_late:12"],
}


def command(payout_id: str) -> dict[str, object]:
    number = sum(ord(letter) * place for place, letter in enumerate(payout_id, 1)) % 10_000
    run = {"run_id": "stopped"} if payout_id == "received-1" else {}
    return {"payout_id": payout_id, "amount": "250.75", "msisdn": f"25471100{number:04}", **run}


def script(rules: Mapping[str, Sequence[str]], *, forgets: bool) -> str:
    """Makes the gateway's rules; one that forgets pays each id as often as it comes."""
    also = ["forget_duplicates"] if forgets else []
    listed: list[dict[str, Any]] = [
        {"when": {"id": f"({pattern})"}, "do": [*also, *do]} for pattern, do in rules.items()
    ]
    return json.dumps({"rule": [*listed, {"do": also or "none"}]})


class Drill:
    """One disaster, from the first payout to the last check."""

    def __init__(self, world: World, stack: LocalStack, folder: Path, *, forgets: bool) -> None:
        self.world = world
        self.stack = stack
        self.folder = folder
        self.forgets = forgets
        self.heard: dict[str, list[tuple[str, str]]] = {}
        self.shell = Shell(
            variables={
                **world.environ,
                "PAYOUTS_OPERATOR": "Amina Njeri",
                "PAYOUTS_RESOLVE_AFTER_S": "1",
                "MAINTENANCE_URL": stack.postgresql.url(),
                "DUMP": str(folder / "payouts.dump"),
                "STATEMENT": str(folder / "statement.csv"),
                "UNPAID": REFUSED,
                "RETRIED": AGAIN,
            }
        )

    def gateway(self, rules: Mapping[str, Sequence[str]]) -> None:
        """Has the gateway go by these rules from now on."""
        self.world.simulator.install_faults(script(rules, forgets=self.forgets))

    async def order(self, *typed: str) -> None:
        """Gives orders by command."""
        for line in typed:
            done = await self.shell.type(f"payouts {line} --reason drill")
            assert done.status == 0, done

    async def states(self) -> dict[str, str]:
        """Gives the state of each payout in the books."""
        rows = await self.world.connection.fetch("SELECT payout_id, state FROM payouts")
        return {row["payout_id"]: row["state"] for row in rows}

    async def stands(self, wanted: Mapping[str, str], within_s: float = 60) -> None:
        """Waits until payouts are in these states."""

        async def so() -> bool:
            found = await self.states()
            return all(found.get(one) == state for one, state in wanted.items())

        await self.world.until(so, f"payouts stand as {wanted}", within_s)

    async def kill_all(self) -> None:
        """Ends every process as a power cut would."""
        for process in self.world.processes:
            process.kill()
            await process.child.wait()

    async def live_until_the_dump(self) -> None:
        """Brings one payout into each state, kills the worker and makes the dump."""
        world = self.world
        self.gateway(BEFORE)
        await world.start_callback_server(**SLOW)
        await world.start_worker(**SLOW)
        await world.listen()
        await self.order("run pause stopped")
        await world.publish(*map(command, [*DONE, *OPEN, REFUSED, AGAIN]))
        await self.stands(STATES)
        await world.all_ended([*DONE, AGAIN])
        await self.kill_all()
        for typed in await self.shell.follow("Backups that make this page short"):
            assert typed.status == 0, typed

    async def go_on_after_it(self) -> None:
        """Ends everything that was open, makes more, retries; the last ones are on their way."""
        world = self.world
        self.gateway(AFTER)
        await world.start_callback_server()
        await world.start_worker()
        await self.order("run resume stopped --yes", "reconcile doubt-1", f"retry {AGAIN} --yes")
        # What would be due in ten minutes is due now.
        await world.connection.execute(
            "UPDATE payouts SET next_action_at = now() WHERE state IN ('waiting', 'accepted')"
        )
        await world.publish(*map(command, NEW))
        await world.all_ended([*OPEN, REFUSED, *NEW, SECOND])
        await world.publish(*map(command, LATE))
        await self.stands(dict.fromkeys(LATE, "accepted"))
        self.heard = self.completions()
        assert self.heard[REFUSED][0][0] == "payout.failed"

    def completions(self) -> dict[str, list[tuple[str, str]]]:
        """Gives type and id of each different completion event that downstream has had."""
        return {
            one: sorted({(event["type"], event["id"]) for event in self.world.completions(one)})
            for one in list(self.world.events)
            if self.world.completions(one)
        }

    async def lose_and_restore(self) -> None:
        """Steps 1 to 3 of the page; the old database is left as it is."""
        await self.kill_all()
        await self.world.connection.close()
        restored = self.stack.postgresql.url("restored")
        await self.stack.postgresql.drop_database("restored")
        self.shell = replace(
            self.shell, variables={**self.shell.variables, "PAYOUTS_DATABASE_URL": restored}
        )
        self.world.environ["PAYOUTS_DATABASE_URL"] = restored
        for title in ("2. ", "3. "):
            for typed in await self.shell.follow(title):
                assert typed.status == 0, typed
        self.world.connection = await asyncpg.connect(restored)
        self.gateway({})
        assert await self.states() == STATES

    async def wait_for_results(self) -> None:
        """Step 4: late Results come and are kept, and nothing is paid."""
        world = self.world
        paid = len(world.simulator.ledger())
        await world.start_callback_server()
        await world.start_worker()

        async def told() -> bool:
            count = await world.connection.fetchval(
                "SELECT count(DISTINCT originator_conversation_id) FROM incidents"
                " WHERE kind = 'unmatched' AND originator_conversation_id LIKE '%late-%'"
            )
            return int(count) == len(LATE)

        await world.until(told, "late Results are kept", 60)
        for typed in await self.shell.follow("4. "):
            assert typed.status == 0, typed
        assert len(world.simulator.ledger()) == paid

    async def go_on(self) -> None:
        """Steps 5 to 8, and a payout that nobody has ever sent."""
        await self.write_statement()
        (held,) = await self.shell.follow("5. ")
        assert held.status == 0 or "has ended" in held.out + held.err, held
        (compared,) = await self.shell.follow("6. ")
        assert compared.status == 3, compared
        for one in (*NEW, *LATE, "ORG-r2_again-1"):
            assert one in compared.out
        for typed in await self.shell.follow("7. "):
            assert typed.status == 0, typed
        # The broker's log tells that it was refused; the core has never heard of it.
        left = "in_doubt" if self.forgets else "failed"
        await self.stands({**dict.fromkeys(OPEN, "succeeded"), REFUSED: left}, 120)
        unheard = [one for one in (*OPEN, *NEW, *LATE, FRESH) if one != REFUSED]
        await self.world.publish(*map(command, unheard))
        for typed in await self.shell.follow("8. "):
            assert typed.status == 0, typed
        await self.stands(dict.fromkeys([*unheard, SECOND], "succeeded"), 120)

    async def write_statement(self) -> None:
        """Exports what M-PESA has paid so far."""
        ledger = await ledger_at(self.world.simulator.base_url)
        file = Path(self.shell.variables["STATEMENT"])
        await asyncio.to_thread(file.write_bytes, of_ledger(ledger).content())

    async def check(self) -> Sequence[Typed]:
        """Step 9, with a new statement."""
        await self.write_statement()
        return await self.shell.follow("9. ")

    async def judge(self) -> None:
        """Compares ledger and events, without the product's code."""
        paid = self.world.paid()
        # Of the second submission the gateway's ledger knows the payout that it is of.
        for one in (*DONE, *OPEN, *NEW, *LATE, FRESH, AGAIN):
            assert paid.pop(one) == ["250.75"], one
        assert not paid
        await self.world.all_ended([*LATE, FRESH, REFUSED])
        heard = self.completions()
        for one, before in self.heard.items():
            assert heard[one] == before, one
        assert all(len(ids) == 1 for ids in heard.values()), heard


@pytest.mark.parametrize("forgets", [False, True], ids=["remembers", "forgets"])
async def test_an_older_dump_pays_nobody_twice_and_loses_nobody(
    stack: LocalStack, amqp_url: str, database_url: str, tmp_path: Path, forgets: bool
) -> None:
    """Whatever a payout was when the dump was made, and whether the gateway remembers ids or not.

    The gateway that forgets has no log that can be asked either, only its core. Each payout is
    paid once, ends, and has the completion event that it had before. Proved by leaving out
    `payouts db restored`: the gateway that forgets pays what was new after the dump, and what
    was retried after it, twice.
    """
    callbacks = {"resends": 6, "resend_delay_s": 0.5}
    silent = {"PAYOUTS_QUERY_URL": ""} if forgets else {}
    async with running_world(
        amqp_url, database_url, tmp_path, simulator=callbacks, **silent
    ) as world:
        drill = Drill(world, stack, tmp_path, forgets=forgets)
        await drill.live_until_the_dump()
        await drill.go_on_after_it()
        await drill.lose_and_restore()
        await drill.wait_for_results()
        await drill.go_on()
        typed = await drill.check()
        settled = {one.command.split()[1]: one.status for one in typed}
        assert settled.pop("resolve") == (0 if forgets else 1), typed
        assert set(settled.values()) == {0}, typed
        await drill.judge()
    await stack.postgresql.drop_database("restored")
