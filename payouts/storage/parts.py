"""What the parts of the store share: the database, the clock, the two settings of events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from payouts.domain.events import Event
from payouts.domain.payout import Payout
from payouts.ports import Clock
from payouts.storage.batch import BatchWriter
from payouts.storage.engine import Database, Sessions
from payouts.storage.rows import completion_event_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Args of every part: `show_progress` writes progress events too, `show_msisdn` unmasks.

    `batches`: the sessions of the batch writers; all else is run by `database`.

    `repeat_window_s`: for how long a payout to the same receiver with the same amount is held
    as a suspicious repeat; 0: never.
    """

    database: Database
    clock: Clock
    batches: Sessions | None = None
    show_progress: bool = False
    show_msisdn: bool = False
    repeat_window_s: float = 0.0


class Part:
    """One responsibility of the store; the facade is made of several."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._database = context.database
        self._batches: Sessions = context.batches or context.database
        self._writers: list[BatchWriter[Any, Any]] = []

    def _completion_event(self, payout: Payout) -> Event | None:
        return completion_event_of(payout, show_msisdn=self._context.show_msisdn)
