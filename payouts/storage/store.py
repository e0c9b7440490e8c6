"""The store as the services see it: one object, made of its parts."""

from __future__ import annotations

from typing import Self

from payouts.ports import Clock
from payouts.storage.accounts import Accounts
from payouts.storage.batch_sessions import BatchSessions
from payouts.storage.completions import Completing, Finding
from payouts.storage.doubts import Doubts
from payouts.storage.engine import Database, create_engine
from payouts.storage.figures import Measuring
from payouts.storage.incidents import Incidents
from payouts.storage.intake import Intake
from payouts.storage.outbox import OutboxPart
from payouts.storage.parts import Context
from payouts.storage.schema import check_schema
from payouts.storage.suspects import Suspects
from payouts.storage.sweeps import Sweeps
from payouts.storage.transitions import Transitions
from payouts.storage.workers import Workers


class PostgresStore(
    Intake,
    Transitions,
    Completing,
    Finding,
    Sweeps,
    Doubts,
    Workers,
    Accounts,
    OutboxPart,
    Incidents,
    Suspects,
    Measuring,
):
    """Fulfils `PayoutStore` and `Outbox` on PostgreSQL 15 or newer.

    Use it as an async context: the batch writers run inside; leaving it writes what waits.
    `watched`: all statements go by the engine, where they can be looked at.

    Raises (on entering):
        SchemaError: the database has not the schema that this version needs.
        StoreUnavailableError: the database does not answer.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        show_progress: bool = False,
        show_msisdn: bool = False,
        repeat_window_s: float = 0.0,
        watched: bool = False,
    ) -> None:
        self.database = Database(create_engine(url))
        self.batches = BatchSessions(url)
        super().__init__(
            Context(
                database=self.database,
                batches=self.database if watched else self.batches,
                clock=clock,
                show_progress=show_progress,
                show_msisdn=show_msisdn,
                repeat_window_s=repeat_window_s,
            )
        )

    async def __aenter__(self) -> Self:
        try:
            await check_schema(self.database.engine)
        except BaseException:
            await self._close()
            raise
        for writer in self._writers:
            writer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            for writer in self._writers:
                await writer.stop()
        finally:
            await self._close()

    async def _close(self) -> None:
        try:
            await self.batches.close()
        finally:
            await self.database.close()
