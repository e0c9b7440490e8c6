"""Hands each signal to those who want it. What nobody wants costs one look-up."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from payouts.domain.signals import Signal

MAX_COMPLAINTS: Final = 10


class Subscriber(Protocol):
    """Someone who wants signals."""

    def wants(self, signal: Signal) -> bool:
        """Tell whether this signal is of interest; asked once, in advance."""
        ...

    def receive(self, signal: Signal, fields: Mapping[str, object]) -> None:
        """Take one signal; must not block."""
        ...


class Fanout:
    """Fulfils the Telemetry port: never raises, never blocks.

    A subscriber that fails does not keep the others from hearing; `failures` counts it, and the
    first few are told to the standard library's log.
    """

    def __init__(self, subscribers: Sequence[Subscriber]) -> None:
        self._subscribers = {
            signal: tuple(one for one in subscribers if one.wants(signal)) for signal in Signal
        }
        self.failures = 0

    def emit(self, signal: Signal, /, **fields: object) -> None:
        """Tell what happened."""
        for subscriber in self._subscribers[signal]:
            try:
                subscriber.receive(signal, fields)
            except Exception as error:  # noqa: BLE001 - telemetry must not stop a payout
                self._complain(signal, error)

    def _complain(self, signal: Signal, error: Exception) -> None:
        self.failures += 1
        if self.failures <= MAX_COMPLAINTS:
            logging.getLogger("payouts.telemetry").error(
                "a subscriber of %s failed with %s", signal.value, type(error).__name__
            )
