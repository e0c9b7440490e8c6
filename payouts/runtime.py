"""How a deployable runs: its event loop, its signals, its children. No module state."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
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
_TOLD_BY: Final = (signal.SIGTERM, signal.SIGINT)
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
    processes: int = 1,
) -> int:
    """Load the settings, then run `main(settings, stop)` on uvloop until SIGTERM or SIGINT.

    With several processes each is a child of this one, and loads the settings for itself. Returns
    the exit code, in each child as well: 0 drained, 1 failed, 2 settings not usable, told before
    anything connects.
    """
    try:
        settings = load()
        loop_factory = _loop_factory()
        if processes > 1:
            code = supervise(processes)
            if code is not None:
                return code
            settings = load()  # Secrets may have been changed since.
        with collecting_seldom(), asyncio.Runner(loop_factory=loop_factory) as runner:
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
    for number in _TOLD_BY:
        loop.add_signal_handler(number, stop.set)
    await main(stop)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415 - it does not exist on Windows

    return uvloop.new_event_loop


def supervise(processes: int) -> int | None:
    """Fork so many children; restart what dies; pass SIGTERM and SIGINT on.

    So what is loaded is loaded once, and a child that follows a dead one is there at once. To be
    called without a running loop, and before anything connects.

    Returns None in each child, which goes on as if it had been started on its own. In the parent
    it returns 0 if all children ended with 0 after a signal. A child that says that its settings
    are not usable (exit 2) ends the others at once, as restarting cannot help.

    Raises:
        SettingsError: the system cannot fork.
    """
    if not hasattr(os, "fork"):
        raise SettingsError(("--processes: this system cannot fork; start one process each.",))
    # What a child never writes to is shared with its parent.
    gc.collect()
    gc.freeze()
    return _Children(processes).run()


class _Children:
    def __init__(self, processes: int) -> None:
        self._running: dict[int, int] = {}
        self._due = dict.fromkeys(range(processes), 0.0)
        self._rest_s = dict.fromkeys(range(processes), _RESTART_FIRST_S)
        self._born: dict[int, float] = {}
        self._stopping = False
        self._told = False
        self._code = 0

    def run(self) -> int | None:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # Where it is ignored no end can be told.
        for number in _TOLD_BY:
            signal.signal(number, self._hear)
        while self._running or not self._stopping:
            if self._stopping:
                self._tell()
            elif self._is_child():
                return None
            self._collect()
            time.sleep(_LOOK_EVERY_S)
        return self._code

    def _hear(self, *_: object) -> None:
        # Only noted: a handler that runs while a child is being started would miss that child.
        self._stopping = True

    def _is_child(self) -> bool:
        """Start who is due; tell whether this is one of those who were started."""
        now = time.monotonic()
        for index in [one for one, at in self._due.items() if at <= now]:
            if self._stopping:
                return False
            del self._due[index]
            pid = _fork()
            if not pid:
                os.environ[CHILD_INDEX] = str(index)
                return True
            self._running[index] = pid
            self._born[index] = now
        return False

    def _collect(self) -> None:
        for index, pid in list(self._running.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended:
                continue
            code = os.waitstatus_to_exitcode(status)
            del self._running[index]
            if self._stopping and -code in _TOLD_BY:
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
            for pid in self._running.values():  # None has been waited for: the numbers are theirs.
                os.kill(pid, signal.SIGTERM)


def _fork() -> int:
    """Return the child's process id, and 0 in the child, which deals with no signal yet."""
    # Held back, so that a child never hears with its parent's handler, and misses it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _TOLD_BY)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if not pid:
            for number in _TOLD_BY:
                signal.signal(number, signal.SIG_DFL)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
