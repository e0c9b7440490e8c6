"""A connection that cannot even be closed holds nobody up."""

import asyncio

import pytest
from messaging_bed import Bed, until

from payouts.messaging import connection as module

pytestmark = [pytest.mark.servers]


async def test_the_next_connection_does_not_wait_for_the_last_one_to_close(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library writes what it still has to write, for minutes where nobody reads.

    Proved by waiting for it: there was no further connection.
    """
    monkeypatch.setattr(module, "CLOSE_WITHIN_S", 0.05)
    async with Bed(amqp_url) as bed:
        lost = bed.connection._connection
        assert lost is not None
        wire = bed.connection._wire()

        async def never() -> None:
            await asyncio.get_running_loop().create_future()

        monkeypatch.setattr(lost, "close", never)
        await wire.close()
        await until(lambda: bed.connection._connection is not lost and bed.connection.connected)
        await bed.send(b"after")
