"""Commands that came back to their queue too often: each is tried alone, and judged by that."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from payouts.domain.errors import BrokerUnavailableError, StoreUnavailableError
from payouts.ports import Clock, PayoutStore
from payouts.services.patience import Patience

SUSPECT_TRIES: Final = 3
FORGET_WITHIN_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspects:
    """Tells poison from innocents that were in hand beside it when their worker died.

    RabbitMQ blames every delivery in hand for a crash, a deploy or a lost connection. Here one
    suspect at a time is begun in a process, which is written down before; only one that was
    begun `SUSPECT_TRIES` times without coming to an end is poison (decision 0022). All other
    commands go on meanwhile.
    """

    store: PayoutStore
    clock: Clock
    patience: Patience
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @asynccontextmanager
    async def alone(self, body: bytes) -> AsyncIterator[int]:
        """Give how often this suspect had been begun before without an end, in its turn.

        Leaving it in order is an end, and so is what the command cannot help: the database or
        RabbitMQ is away, or this process stops. Any other error, or a crash, is none.
        """
        key = hashlib.sha256(body).hexdigest()
        async with self._turn:
            at = self.clock.now()  # The same in each try, or a lost answer would count twice.
            begun = await self.patience.until_durable(
                "begin a suspect", lambda: self.store.begin_suspect(key, at=at)
            )
            try:
                yield begun
            except (StoreUnavailableError, BrokerUnavailableError, asyncio.CancelledError):
                with suppress(StoreUnavailableError, TimeoutError):
                    async with asyncio.timeout(FORGET_WITHIN_S):
                        await self.store.clear_suspect(key)
                raise
            await self.patience.until_durable(
                "clear a suspect", lambda: self.store.clear_suspect(key)
            )
