"""An event loop in which time is a number and order is a draw, so that a seed is a whole world.

Time stands still while anything can run and jumps to the next timer when nothing can. Which of the
ready callbacks runs next is drawn, so that tasks interleave at every await in any order. A
simulated process is whatever runs in its context; it can be killed or frozen between two steps.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from asyncio import events
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final, TypeVar, cast

T = TypeVar("T")


class Process:
    """A group of tasks that lives, freezes and dies as one.

    Args:
        name: how traces name it.

    `fuse` does something, such as killing it, after so many more of its steps: so a process can
    be struck between any two steps, also of the same instant.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.frozen = False
        self.context: Context = copy_context()
        self.context.run(_PROCESS.set, self)
        self.tasks: list[asyncio.Task[Any]] = []
        self.parked: list[events.Handle] = []
        self.fuse: tuple[int, Callable[[], None]] | None = None

    def burn(self) -> bool:
        """Take one step off the fuse; tell whether it has just done what it is for."""
        if self.fuse is None:
            return False
        left, act = self.fuse
        if left > 0:
            self.fuse = (left - 1, act)
            return False
        self.fuse = None
        act()
        return True

    def __repr__(self) -> str:
        return f"Process({self.name!r})"


_MANY: Final = 500
_PROCESS: Final[ContextVar[Process | None]] = ContextVar("process", default=None)


def present_process() -> Process | None:
    """Return the process in which the present step runs; None: the world itself."""
    return _PROCESS.get()


def _close(task: asyncio.Task[Any]) -> None:
    if task.done():
        return
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    try:
        task.get_coro().close()
    except (RuntimeError, asyncio.CancelledError):
        return  # It wanted to wait while it was dying.


class StuckError(Exception):
    """The simulated world has made more steps than it may: something goes round in circles."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs callbacks in a drawn order, in virtual time; the same seed runs the same way.

    Args:
        draw: the source of the order; used by nobody else.
        most_steps: how many callbacks may run before StuckError ends the world.
    """

    def __init__(self, draw: random.Random, *, most_steps: int = 2_000_000) -> None:
        super().__init__()
        self._draw = draw.random
        self._virtual_s = 0.0
        self._timers: list[tuple[float, int, events.Handle]] = []
        self._count = 0
        self._most_steps = most_steps
        self.steps = 0
        self.problems: list[str] = []
        self.trace: Callable[[float, events.Handle], None] | None = None
        self._todo: list[events.Handle] = []
        self._own_tasks: list[asyncio.Task[Any]] = []

    def time(self) -> float:
        """Return the virtual seconds since the world began."""
        return self._virtual_s

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Context | None = None
    ) -> events.Handle:
        """Have a callback run at this instant; in which order is drawn."""
        handle = events.Handle(callback, args, self, context)
        self._todo.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> events.TimerHandle:
        """Have a callback run at an instant."""
        timer = events.Handle(callback, args, self, context)
        self._count = count = self._count + 1
        heapq.heappush(self._timers, (when, count, timer))
        return cast("events.TimerHandle", timer)  # Nobody asks it when; making one is dear.

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> events.TimerHandle:
        """Have a callback run after a delay."""
        timer = events.Handle(callback, args, self, context)
        self._count = count = self._count + 1
        heapq.heappush(self._timers, (self._virtual_s + delay, count, timer))
        return cast("events.TimerHandle", timer)

    def create_task(
        self,
        coro: Any,
        *,
        name: object = None,
        context: Context | None = None,
    ) -> asyncio.Task[Any]:
        """Start a task and note it with the process in whose context it runs."""
        task: asyncio.Task[Any] = asyncio.Task(
            coro, loop=self, name="t" if name is None else str(name), context=context
        )
        owner = _PROCESS.get() if context is None else context.get(_PROCESS)
        tasks = self._own_tasks if owner is None else owner.tasks
        tasks.append(task)
        if len(tasks) >= _MANY:
            tasks[:] = [one for one in tasks if not one.done()]
        return task

    def start(self, process: Process, coro: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine as a task of this process."""
        return self.create_task(coro, context=process.context.copy())

    def kill(self, process: Process) -> None:
        """End a process between two steps: none of its tasks ever goes on."""
        process.dead = True
        process.parked.clear()
        tasks, process.tasks = process.tasks, []
        for task in tasks:
            process.context.run(_close, task)

    def abandon(self) -> None:
        """End the world itself: nothing that still waits goes on."""
        self._todo.clear()
        self._timers.clear()
        tasks, self._own_tasks = self._own_tasks, []
        for task in tasks:
            _close(task)
        self._todo.clear()

    def freeze(self, process: Process) -> None:
        """Let nothing of this process run until `thaw`; its timers fire meanwhile."""
        process.frozen = True

    def thaw(self, process: Process) -> None:
        """Let a frozen process go on with all that has become ready."""
        process.frozen = False
        parked, process.parked = process.parked, []
        self._todo.extend(parked)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what nobody has handled: in a simulated world it is a defect."""
        error = context.get("exception")
        message = str(context.get("message"))
        if message.startswith("Future exception"):
            return  # An answer to a process that has died.
        if not self.is_closed() and error is not None:
            self.problems.append(f"{message}: {type(error).__name__}: {error}")

    def get_debug(self) -> bool:
        """Tell that nothing is checked twice here."""
        return False

    def _run_once(self) -> None:
        """Run all that can run at this instant, in a drawn order, then let time go on."""
        todo, draw = self._todo, self._draw
        while todo:
            index = int(draw() * len(todo))
            handle = todo[index]
            last = todo.pop()
            if last is not handle:
                todo[index] = last
            if handle._cancelled or not self._may_run(handle):
                continue
            self.steps += 1
            if self.steps > self._most_steps:
                raise StuckError(f"{self.steps} steps by {self._virtual_s:.1f} s")
            if self.trace is not None:
                self.trace(self._virtual_s, handle)
            handle._run()
            if self._stopping:  # type: ignore[attr-defined]
                return
        self._advance()

    @staticmethod
    def _may_run(handle: events.Handle) -> bool:
        """Tell whether a step's process lives and is not frozen; its fuse burns by each step."""
        owner = handle._context.get(_PROCESS)  # type: ignore[attr-defined]
        if owner is None:
            return True
        if owner.fuse is not None and not owner.dead and not owner.frozen:
            owner.burn()
        if owner.frozen and not owner.dead:
            owner.parked.append(handle)
            return False
        return not owner.dead

    def _advance(self) -> None:
        """Jump to the next timer, and take all that are due at that instant."""
        timers, todo = self._timers, self._todo
        while timers:
            when, _, timer = heapq.heappop(timers)
            if timer._cancelled:
                continue
            self._virtual_s = max(self._virtual_s, when)
            todo.append(timer)
            while timers and timers[0][0] <= self._virtual_s:
                todo.append(heapq.heappop(timers)[2])
            return
        raise StuckError(f"nothing is left to do at {self._virtual_s:.1f} s, but somebody waits")

    def _write_to_self(self) -> None:
        """Nobody sleeps here, so that nobody has to be woken."""
