"""What the peer stacks promise of the good case: their statements and their events.

Whole runs of them need `.venv-bench`; the benchmark itself checks the books after each round.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ops.bench.peers.results import Result, event_of, result_of
from ops.bench.peers.table import ANSWERED, ENDED, INSERT, PAYOUTS, address, create

INTENT = {
    "payout_id": "a",
    "originator": "600000_ORG_a",
    "amount": Decimal("10.00"),
    "msisdn": "254712345678",
}
ANSWER = {"of": "a", "to": "accepted", "conversation": "AG_1", "answer": "0"}
RESULT = Result(
    originator="600000_ORG_a", code="0", conversation_id="AG_1", transaction_id="UKQ7Y2X1AB"
)
ENVELOPE = """<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body>
<ResultMsg xmlns="r"><![CDATA[ <Result xmlns="r"><ResultCode>{code}</ResultCode>
<OriginatorConversationID> {originator} </OriginatorConversationID>
<ConversationID>AG_1</ConversationID><TransactionID>UKQ7Y2X1AB</TransactionID></Result>]]>
</ResultMsg></e:Body></e:Envelope>"""


@pytest.fixture
async def engine(empty_database_url: str) -> AsyncIterator[AsyncEngine]:
    """Gives the database of a stack, made twice as by its two processes."""
    engine = create_async_engine(address(empty_database_url, "asyncpg"))
    for _ in range(2):
        async with engine.begin() as connection:
            await connection.run_sync(create)
    yield engine
    await engine.dispose()


@pytest.mark.servers
async def test_a_command_that_comes_again_finds_its_row(engine: AsyncEngine) -> None:
    """Whoever writes no row sends nothing: no second payment."""
    assert await _rows(engine, INSERT, INTENT) == 1
    assert await _rows(engine, INSERT, INTENT) == 0


@pytest.mark.servers
async def test_the_first_result_ends_a_payout_and_the_second_tells_nothing(
    engine: AsyncEngine,
) -> None:
    """Only the Result that ended the payout gives what the event is made of: no second event."""
    await _rows(engine, INSERT, INTENT)
    async with engine.begin() as connection:
        first = (await connection.execute(ENDED, RESULT.row())).one_or_none()
        second = (await connection.execute(ENDED, RESULT.row())).one_or_none()
    assert first is not None
    assert tuple(first) == ("a", Decimal("10.00"), "254712345678")
    assert second is None


@pytest.mark.servers
async def test_an_answer_after_the_result_changes_nothing(engine: AsyncEngine) -> None:
    """A Result can be quicker than the Response; the end stands."""
    await _rows(engine, INSERT, INTENT)
    await _rows(engine, ENDED, RESULT.row())
    assert await _rows(engine, ANSWERED, ANSWER) == 0
    async with engine.begin() as connection:
        states = (await connection.execute(PAYOUTS.select())).all()
    assert [row.state for row in states] == ["succeeded"]


@pytest.mark.parametrize(
    ("code", "state"), [("0", "succeeded"), ("00000000", "succeeded"), ("2001", "failed")]
)
def test_a_result_is_read_and_told(code: str, state: str) -> None:
    """Codes of zeros are success; the event names the payout and masks the receiver."""
    result = result_of(ENVELOPE.format(code=code, originator="600000_ORG_a").encode())
    assert result.originator == "600000_ORG_a"
    event = event_of(
        result,
        ("a", Decimal("10.00"), "254712345678"),
        event_id="1",
        now=datetime(2026, 11, 25, tzinfo=UTC),
    )
    assert event["type"] == f"payout.{state}"
    assert event["subject"] == event["data"]["payout_id"] == "a"
    assert event["data"]["msisdn"] == "2547****5678"


@pytest.mark.parametrize(("code", "originator"), [("", "a"), ("0", "")])
def test_a_result_without_id_or_code_is_refused(code: str, originator: str) -> None:
    """What ends no payout for certain ends none."""
    with pytest.raises(ValueError, match="without an id or a code"):
        result_of(ENVELOPE.format(code=code, originator=originator).encode())


async def _rows(engine: AsyncEngine, statement: Any, values: dict[str, Any]) -> int:
    async with engine.begin() as connection:
        return (await connection.execute(statement, values)).rowcount
