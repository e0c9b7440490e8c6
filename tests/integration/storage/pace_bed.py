"""What tests of the pace share: how a pace is opened, and who hears what it tells."""

from collections.abc import Awaitable, Callable

from payouts.domain.signals import Signal
from payouts.domain.values import AccountName
from payouts.storage.pace import PostgresPace

FREE = AccountName("free")
RATE = 200.0

Open = Callable[[float], Awaitable[PostgresPace]]


class Ears:
    """Remembers signals."""

    def __init__(self) -> None:
        self.heard: list[tuple[Signal, dict[str, object]]] = []

    def emit(self, signal: Signal, /, **fields: object) -> None:
        """Take a signal down."""
        self.heard.append((signal, fields))
