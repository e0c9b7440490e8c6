"""The judge finds what is wrong: each kind of violation is planted, and seen to be named."""

from __future__ import annotations

import ast
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import asyncpg
import pytest
import pytest_asyncio

from ops.local import LocalStack
from ops.simulator import SimulatorSettings, running_simulator
from tests.faults.evidence import May, gather
from tests.faults.judge import Judgement, Kind, judge
from tests.faults.planting import PLANTED
from tests.faults.small_world import (
    EVENT_IDS,
    FACTS,
    IN_ORDER,
    PREFIX,
    RETRY_WIRE,
    Case,
    event,
    ledger_line,
    outbox,
    payout_row,
    reason,
    steps,
)

FOLDER = Path(__file__).parent
WITNESSES = ("judge.py", "evidence.py", "collector.py", "proxy.py", "weather.py")
OURS = {"payouts", "worker", "callback_server", "ops", "migrations"}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def books(stack: LocalStack, migrated: str) -> AsyncIterator[asyncpg.Connection]:
    """Gives a database in which each case is played in a transaction that is rolled back."""
    url = await stack.fresh_database(f"judge_{secrets.token_hex(6)}", template=migrated)
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


async def judged(case: Case, books: asyncpg.Connection, folder: Path) -> Judgement:
    """Play a case in a real database and a real gateway's ledger, and have it judged."""
    file = folder / "books.jsonl"
    file.write_bytes(b"".join(map(ledger_line, case.payments)))
    settings = SimulatorSettings(
        port=0, books=str(file), certificate=str(folder.parent / "certificate.pem")
    )
    transaction = books.transaction(isolation="repeatable_read")
    await transaction.start()
    try:
        # Triggers would refuse most of what is planted.
        await books.execute("SET LOCAL session_replication_role = replica")
        for statement in (*IN_ORDER, *case.statements):
            await books.execute(statement)
        async with (
            running_simulator(settings) as simulator,
            aiohttp.ClientSession() as session,
        ):
            return judge(
                await gather(
                    published=case.published.values(),
                    session=session,
                    admin_url=simulator.base_url + "/simulator",
                    connection=books,
                    heard=case.heard,
                    put_aside=case.put_aside,
                    prefixes={"default": PREFIX},
                )
            )
    finally:
        await transaction.rollback()


@pytest.mark.servers
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("plant", "kind"), PLANTED, ids=[f"{plant.__name__}-{kind.name}" for plant, kind in PLANTED]
)
async def test_what_is_planted_is_named(
    plant: Callable[[Case], None], kind: Kind, books: asyncpg.Connection, tmp_path: Path
) -> None:
    """Proved by the plants themselves: without each, the world is in order."""
    case = Case()
    plant(case)
    judgement = await judged(case, books, tmp_path)
    assert kind in judgement.kinds
    with pytest.raises(AssertionError, match=kind.value):
        judgement.require_none()


@pytest.mark.servers
@pytest.mark.asyncio(loop_scope="module")
async def test_a_world_in_order_has_no_violation(books: asyncpg.Connection, tmp_path: Path) -> None:
    """Repeated events, doubt that is allowed and a dead letter that is deserved are in order."""
    case = Case()
    case.heard.append(case.heard[0])
    judgement = await judged(case, books, tmp_path)
    judgement.require_none()
    assert judgement.states == {"succeeded": 1, "failed": 1, "in_doubt": 1}
    assert (judgement.payments, judgement.paid_minor) == (2, 18050)


@pytest.mark.servers
@pytest.mark.asyncio(loop_scope="module")
async def test_a_second_submission_that_is_paid_once_is_in_order(
    books: asyncpg.Connection, tmp_path: Path
) -> None:
    """What failed conclusively may be paid under a second id, once."""
    case = Case()
    case.may("failed-1", May.SUCCEED)
    case.payments.append((RETRY_WIRE, "RECEIPT003", "254712345679", "20.00"))
    FACTS["failed-1-r2"] = ("20.00", "2547****5679", "RECEIPT003", "0")
    EVENT_IDS["failed-1-r2"] = "00000000-0000-0000-0000-000000000003"
    case.heard.append(event("failed-1-r2", "succeeded", originator_conversation_id=RETRY_WIRE))
    case.statements += [
        payout_row(
            "failed-1-r2",
            2000,
            "254712345679",
            "succeeded",
            retry_of="'failed-1'",
            originator_conversation_id=f"'{RETRY_WIRE}'",
            transaction_id="'RECEIPT003'",
            **reason("result", "0"),
        ),
        steps("failed-1-r2", "received", "submitting", "accepted", "succeeded"),
        outbox("failed-1-r2", "payout.succeeded"),
    ]
    judgement = await judged(case, books, tmp_path)
    judgement.require_none()


def test_every_kind_of_violation_is_planted() -> None:
    """A kind that nobody has seen named proves nothing."""
    assert {kind for _, kind in PLANTED} == set(Kind)


def imported_by(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("name", WITNESSES)
def test_the_judge_shares_no_code_with_the_product(name: str) -> None:
    """What would be shared could be wrong on both sides, and nobody would see it.

    Proved by importing `payouts.domain.payout` in the judge.
    """
    imported = imported_by(FOLDER / name)
    assert not {one for one in imported if one.partition(".")[0] in OURS}
    ours = {one for one in imported if one.startswith("tests.")}
    assert ours <= {f"tests.faults.{witness.removesuffix('.py')}" for witness in WITNESSES}
