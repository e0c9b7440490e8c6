"""Ctrl-C, in order: what was published is waited for and written down before the command ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """Whether the command was asked to stop, and by which signal."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    @property
    def asked(self) -> bool:
        """Whether it was."""
        return self.signal is not None


@contextmanager
def stopping() -> Iterator[Stop]:
    """Give what the first SIGINT, SIGTERM or SIGHUP asks to stop; a second one acts as ever.

    A signal that is ignored, as `nohup` does with SIGHUP, stays ignored. Outside the main thread
    no signal arrives, and nothing is done.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {
        one: handler
        for one in _SIGNALS
        if (handler := signal.getsignal(one)) not in (signal.SIG_IGN, None)
    }

    def restore() -> None:
        for one, handler in before.items():
            signal.signal(one, handler)

    def ask(number: int, _: FrameType | None) -> None:
        stop.signal = signal.Signals(number)
        restore()

    for one in before:
        signal.signal(one, ask)
    try:
        yield stop
    finally:
        restore()
