"""How a deployable runs: its event loop, its signals, its children. No module state."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, TypeVar

from payouts.domain.errors import PayoutsError, SettingsError

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
CHILD_INDEX: Final = "PAYOUTS_PROCESS_INDEX"
_RESTART_FIRST_S: Final = 0.5
_RESTART_CAP_S: Final = 30.0
_LONG_LIFE_S: Final = 60.0  # Whoever lived so long has not died of its start.
_LOOK_EVERY_S: Final = 0.2
_COLLECT_AFTER: Final = (20_000, 20, 50)

S = TypeVar("S")


# A worker that slept must not believe that its lease still holds: Linux stops its monotonic clock
# while the machine is suspended, but not this one.
_GOES_ON: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)


class SystemClock:
    """The real time."""

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that only grow, also while the machine sleeps (where it can tell)."""
        return time.monotonic() if _GOES_ON is None else time.clock_gettime(_GOES_ON)

    async def sleep(self, seconds: float) -> None:
        """Let others run for this long."""
        await asyncio.sleep(seconds)


def system_jitter() -> float:
    """Return a random number in [0, 1) to spread retries; not for secrets."""
    return random.random()  # noqa: S311 - spreads load only


@contextmanager
def collecting_seldom() -> Iterator[None]:
    """Have garbage in cycles looked for seldom, and never among what was there at the start.

    Payouts leave hardly any behind, while each makes hundreds of objects: by default they would
    all be looked at every few payouts (docs/decisions/0032).
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def run_until_signal(
    load: Callable[[], S],
    main: Callable[[S, asyncio.Event], Awaitable[None]],
    *,
    module: str,
    processes: int = 1,
) -> int:
    """Load the settings, then run `main(settings, stop)` on uvloop until SIGTERM or SIGINT.

    With several processes each is a child of this one, started as `python -m module`. Returns
    the exit code: 0 drained, 1 failed, 2 settings not usable, told before anything connects.
    """
    try:
        settings = load()
        if processes > 1:
            return supervise(module, processes)
        with collecting_seldom(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_with_signals(lambda stop: main(settings, stop)))
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    except PayoutsError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILED
    return 0


def child_index() -> int | None:
    """Return which of several processes this is, from 0; None if it is the only one."""
    text = os.environ.get(CHILD_INDEX)
    return int(text) if text else None


def admin_port(port: int) -> int:
    """Return this process's own admin port: children count up from the one that is set."""
    return port + (child_index() or 0) if port else 0


async def _with_signals(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await main(stop)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415 - it does not exist on Windows

    return uvloop.new_event_loop


def supervise(module: str, processes: int) -> int:
    """Run `python -m module` so many times; restart what dies; pass SIGTERM and SIGINT on.

    Returns 0 if all children ended with 0 after a signal. A child that says that its settings
    are not usable (exit 2) ends the others at once, as restarting cannot help.
    """
    return _Children(module, processes).run()


class _Children:
    def __init__(self, module: str, processes: int) -> None:
        self._module = module
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._due = dict.fromkeys(range(processes), 0.0)
        self._rest_s = dict.fromkeys(range(processes), _RESTART_FIRST_S)
        self._born: dict[int, float] = {}
        self._stopping = False
        self._told = False
        self._code = 0

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._hear)
        while self._running or not self._stopping:
            if self._stopping:
                self._tell()
            else:
                self._start_due()
            self._collect()
            time.sleep(_LOOK_EVERY_S)
        return self._code

    def _hear(self, *_: object) -> None:
        # Only noted: a handler that runs while a child is being started would miss that child.
        self._stopping = True

    def _start_due(self) -> None:
        now = time.monotonic()
        for index in [one for one, at in self._due.items() if at <= now]:
            if self._stopping:
                return
            del self._due[index]
            environ = {**os.environ, CHILD_INDEX: str(index)}
            self._running[index] = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", self._module], env=environ
            )
            self._born[index] = now

    def _collect(self) -> None:
        for index, child in list(self._running.items()):
            code = child.poll()
            if code is None:
                continue
            del self._running[index]
            if self._told and code == -signal.SIGTERM:
                continue  # It was told before it could listen, and had nothing in hand.
            if self._stopping:
                self._code = self._code or abs(code)
            elif code == EXIT_USAGE:
                self._code = EXIT_USAGE
                self._stopping = True
            else:
                self._rest(index)

    def _rest(self, index: int) -> None:
        """Have a child that died started again, later each time unless it had lived long."""
        now = time.monotonic()
        if now - self._born[index] >= _LONG_LIFE_S:
            self._rest_s[index] = _RESTART_FIRST_S
        self._due[index] = now + self._rest_s[index]
        self._rest_s[index] = min(_RESTART_CAP_S, self._rest_s[index] * 2)

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            for child in self._running.values():
                child.send_signal(signal.SIGTERM)
