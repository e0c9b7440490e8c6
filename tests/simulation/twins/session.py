"""A session with the twin's database: every call goes there, commits in one step, comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from payouts.domain.errors import StoreUnavailableError
from payouts.domain.events import Event, event_id_for, event_of
from payouts.domain.payout import ENDED, Payout, State
from payouts.ports import Clock
from tests.simulation.seams import Far, StoreFaults
from tests.simulation.twins.books import Books, Statement
from tests.simulation.twins.entering import Step, entered
from tests.simulation.twins.rows import EventRow, Line
from tests.simulation.twins.telling import told

# A statement whose client has gone is ended by the server after its own time-out.
LATE_S: Final = 8.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """As `payouts.storage.store.PostgresStore` takes them."""

    show_progress: bool = False
    show_msisdn: bool = False
    repeat_window_s: float = 0.0


class Session:
    """What every part of the twin store shares: the way to the books and back.

    Args:
        books: the database that all processes share.
        far: true time, chance, and what happens at the database's side.
        faults: how badly it is reached at this moment.
        clock: the calling process's own clock.
        settings: which events are written, and whether repeats are looked for.
    """

    def __init__(
        self,
        books: Books,
        far: Far,
        faults: StoreFaults,
        clock: Clock,
        settings: Settings | None = None,
    ) -> None:
        self.books = books
        self._far = far
        self._faults = faults
        self._clock = clock
        self._settings = settings or Settings()

    async def _call(self, by: str, work: Callable[[Statement], T]) -> T:
        """Carry one statement out, or raise as a database that is badly reached makes it."""
        statement, outcome = await self._sent(lambda: Statement(self.books, by), work)
        if statement is not None:
            await self._sent(lambda: statement, lambda _: None)
        return outcome

    async def _sent(
        self, begin: Callable[[], Statement], work: Callable[[Statement], T]
    ) -> tuple[Statement | None, T]:
        """Return what the work returns, and what a missing guard leaves to be written apart."""
        far, faults, random = self._far, self._faults, self._far.random.random
        answer: asyncio.Future[tuple[Statement | None, T]] = (
            asyncio.get_running_loop().create_future()
        )
        drawn = random()
        way_s = random() * faults.latency_s
        if drawn < faults.lost_before:
            far.after(way_s, lambda: _fail(answer, StoreUnavailableError("(never arrived)")))
            return await answer
        late = drawn < faults.lost_before + faults.late
        unheard = late or drawn < faults.lost_before + faults.late + faults.lost_after

        def act() -> None:
            if faults.away:
                _fail(answer, StoreUnavailableError("(away)"))
                return
            statement = begin()
            apart: Statement | None = None
            try:
                outcome = work(statement)
                if statement.events and "event in the same commit" in self.books.without:
                    apart = statement.apart()
                self.books.commit(statement)
            except Exception as error:  # noqa: BLE001 - a defect must reach the caller, not hang it.
                refusal = error
                far.after(random() * faults.latency_s, lambda: _fail(answer, refusal))
                return
            far.after(random() * faults.latency_s, lambda: back(apart, outcome))

        def back(apart: Statement | None, outcome: T) -> None:
            if unheard or faults.away:
                _fail(answer, StoreUnavailableError("(outcome not heard)"))
            elif not answer.done():
                answer.set_result((apart, outcome))

        if late:
            far.after(way_s, lambda: _fail(answer, StoreUnavailableError("(given up)")))
            way_s += random() * LATE_S
        far.after(way_s, act)
        return await answer

    def _completion_event(self, payout: Payout) -> Event | None:
        return event_of(payout, show_msisdn=self._settings.show_msisdn) if payout.ended else None

    def _enter(
        self, statement: Statement, before: Payout, step: Step
    ) -> tuple[Payout, Event | None]:
        """Move a payout as the one statement does: its row, its entry, its event."""
        after = entered(before, step, statement.without)
        statement.update(before, after)
        reason = step.reason
        statement.line(
            after.payout_id,
            Line(
                step.at,
                step.actor,
                step.kind,
                after.attempts,
                before.state,
                after.state,
                None if reason is None else reason.source.value,
                None if reason is None else reason.code,
                step.detail,
                None,
                step.conversation_id,
                step.transaction_id,
            ),
        )
        if after.state in ENDED:
            event = statement.completion_event(after, show_msisdn=self._settings.show_msisdn)
            return after, event
        if self._settings.show_progress and after.state in {State.ACCEPTED, State.IN_DOUBT}:
            self._progress(statement, after, step)
        return after, None

    def _progress(self, statement: Statement, payout: Payout, step: Step) -> None:
        kind = f"payout.{payout.state.value}"
        event_id = event_id_for(payout.payout_id, kind, step.at.isoformat())
        if event_id not in statement.tables.events:
            row = EventRow(event_id, payout.payout_id, kind, step.at, {"payout": payout})
            statement.event(row, told(row, payout, show_msisdn=self._settings.show_msisdn))


def _fail(answer: asyncio.Future[T], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
