"""Makes the product's classes die at chosen points: in this process, from outside of their code."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from functools import wraps
from importlib import import_module
from typing import Any, Final

from payouts.mpesa.gate import GatedBody
from payouts.storage.batch import BatchWriter
from tests.faults.points import POINTS, Moment, Place, Point, Process, Seam

DURING_S: Final = 0.002
SOON_S: Final = 0.004
IMPATIENT_S: Final = 1.0

_sending: ContextVar[str] = ContextVar("sending", default="")
Method = Callable[..., Awaitable[Any]]


class Doom:
    """Counts passings of armed points and kills this process at the one that was chosen.

    Args:
        armed: which passing of which point kills, 1 being the first; whatever comes first wins.
            Once the process is `IMPATIENT_S` old, the next passing does.
        record: a file opened for appending that gets one line `pid point instant` a death.
        seed: draws the small delays.
    """

    def __init__(self, armed: Mapping[str, int], *, record: int, seed: int) -> None:
        self._left = dict(armed)
        self._record = record
        self._random = random.Random(seed)  # noqa: S311 - draws delays, no secrets
        self._doomed = False
        self._impatient_at = time.monotonic() + IMPATIENT_S

    def comes(self, point: Point | None) -> bool:
        """Count one passing; tell whether it is the one that kills."""
        if point is None or self._doomed or point.name not in self._left:
            return False
        self._left[point.name] -= 1
        self._doomed = self._left[point.name] <= 0 or time.monotonic() > self._impatient_at
        return self._doomed

    def die(self, point: Point) -> None:
        """End this process as a power cut would, after one line in the record."""
        os.write(self._record, f"{os.getpid()} {point.name} {time.time():.6f}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)

    def die_soon(self, point: Point) -> None:
        """Die within a few milliseconds, while everything goes on."""
        delay_s = self._random.uniform(0.0005, SOON_S)
        asyncio.get_running_loop().call_later(delay_s, self.die, point)

    async def die_during(self, point: Point, step: Awaitable[Any]) -> None:
        """Die while the step is under way, at the latest when it has ended."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._random.uniform(0.0, DURING_S)
        task = asyncio.ensure_future(step)
        # A wait for the task's end would be told of it later than its other waiters.
        while not task.done() and loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0)
        self.die(point)


def make_mortal(process: Process, armed: Mapping[str, int], *, record: int, seed: int) -> None:
    """Put the armed points of this process around the product's classes; to be called once."""
    doom = Doom(armed, record=record, seed=seed)
    by_place: dict[str, dict[Moment, Point]] = {}
    for name in armed:
        point = POINTS[name]
        if point.process is not process:
            raise ValueError(f"{name} is no point of {process}")
        by_place.setdefault(point.place.name, {})[point.moment] = point
    batches: dict[str, dict[Moment, Point]] = {}
    gates: dict[str, dict[Moment, Point]] = {}
    for points in by_place.values():
        place = next(iter(points.values())).place
        match place.seam:
            case Seam.METHOD:
                _around_method(place, points, doom)
            case Seam.BATCH:
                batches[place.target] = points
            case Seam.GATE:
                gates[place.target] = points
    if batches:
        _around_commits(batches, doom)
    if gates:
        _around_gate(gates, doom)


def around(step: Method, points: Mapping[Moment, Point], doom: Doom, *, found: bool) -> Method:
    """Return the step with its points around it."""

    @wraps(step)
    async def mortal(*args: Any, **named: Any) -> Any:
        before = points.get(Moment.BEFORE)
        if before is not None and doom.comes(before):
            doom.die(before)
        during = points.get(Moment.DURING)
        if during is not None and doom.comes(during):
            await doom.die_during(during, step(*args, **named))
        outcome = await step(*args, **named)
        if found and not outcome:
            return outcome
        after, soon = points.get(Moment.AFTER), points.get(Moment.SOON)
        if after is not None and doom.comes(after):
            doom.die(after)
        if soon is not None and doom.comes(soon):
            doom.die_soon(soon)
        return outcome

    return mortal


def target_of(target: str) -> tuple[type, str]:
    """Return the class and the method's name of `package.module:Class.method`."""
    module, _, path = target.partition(":")
    owner, _, method = path.partition(".")
    found: type = getattr(import_module(module), owner)
    return found, method


def _around_method(place: Place, points: Mapping[Moment, Point], doom: Doom) -> None:
    owner, name = target_of(place.target)
    setattr(owner, name, around(getattr(owner, name), points, doom, found=place.found))


def _around_commits(batches: Mapping[str, Mapping[Moment, Point]], doom: Doom) -> None:
    """Give each named batch writer, as it is made, a `write` that dies."""
    make = BatchWriter.__init__

    @wraps(make)
    def made(self: BatchWriter[Any, Any], name: str, write: Method, **named: Any) -> None:
        points = batches.get(name)
        mortal = write if points is None else around(write, points, doom, found=False)
        make(self, name, mortal, **named)

    setattr(BatchWriter, make.__name__, made)


def _around_gate(gates: Mapping[str, Mapping[Moment, Point]], doom: Doom) -> None:
    """Tell requests apart by the method that sends them: all pass the same gate."""
    for target in gates:
        owner, name = target_of(target)
        setattr(owner, name, _telling(target, getattr(owner, name)))
    write = GatedBody.write_with_length

    @wraps(write)
    async def written(self: GatedBody, *args: Any) -> None:
        points = gates.get(_sending.get(), {})
        await around(write, points, doom, found=False)(self, *args)

    setattr(GatedBody, write.__name__, written)


def _telling(target: str, send: Method) -> Method:
    @wraps(send)
    async def told(*args: Any, **named: Any) -> Any:
        _sending.set(target)  # Each submission and each question is a task of its own.
        return await send(*args, **named)

    return told
