"""Keeps a number of workers and callback servers alive: each death is followed by a birth."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ops.demo.children import die_with_parent
from ops.local.processes import tail
from payouts.runtime import EXIT_USAGE
from tests.faults.nursery import ROOT, Birth, Child, Nursery
from tests.faults.plans import CALM, PEACE, Fate, Plan
from tests.faults.points import Process

RANDOM: Final = "random instant"
DRAINED: Final = "drained"
LAST: Final = "end of killing"
STOP_S: Final = 20.0
LOOK_S: Final = 0.1
WEARY: Final = 0.3
# One that is told to drain before it listens to signals ends as any program does.
DRAINED_WITH: Final = (0, -signal.SIGTERM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """One death. `cause` is a point, or one of the words above; `at` is the wall clock's time."""

    process: Process
    pid: int
    at: float
    cause: str


@dataclass(slots=True)
class _Life:
    child: Child
    fate: Fate
    killed: str = ""


class Keeper:
    """One task a slot: born, dead, born again with the next fate of the plan.

    Args:
        nursery: where processes are born.
        environ: their settings.
        folder: for their logs and the record of deaths at points.
        plan: hands out fates until `calm`.
        crowded: whether so much is open that those born now are left in peace until it is less:
            a machine that is slower than the deaths would never come to anything.
    """

    def __init__(
        self,
        nursery: Nursery,
        environ: Mapping[str, str],
        folder: Path,
        plan: Plan,
        *,
        crowded: Callable[[], bool] = lambda: False,
    ) -> None:
        self._crowded = crowded
        self._nursery = nursery
        self._environ = environ
        self._folder = folder
        self._plan = plan
        self._record = folder / "deaths"
        self._record.touch()
        self._read = 0
        self._pending: dict[int, tuple[str, float]] = {}
        self._lives: dict[tuple[Process, int], _Life] = {}
        self._slots: list[asyncio.Task[None]] = []
        self._calm = False
        self._stopping = False
        self.deaths: list[Death] = []
        self.births = 0
        self.unexpected: list[str] = []

    def start(self, **wanted: int) -> None:
        """Keep so many processes of each kind alive from now on."""
        for name, count in wanted.items():
            for slot in range(count):
                task = asyncio.create_task(self._keep(Process(name), slot))
                self._slots.append(task)

    def calm(self) -> None:
        """End whoever is armed; those born from now on are left in peace."""
        self._calm = True
        for life in self._lives.values():
            if life.fate is not CALM and life.child.alive:
                life.killed = LAST
                life.child.kill()

    async def stop(self) -> None:
        """Let all drain; what takes too long is killed and told as unexpected."""
        self._stopping = True
        for life in self._lives.values():
            life.child.signal(signal.SIGTERM)
        _, late = await asyncio.wait(self._slots, timeout=STOP_S)
        for life in self._lives.values():
            if life.child.alive:
                self.unexpected.append(f"{life.child.birth.process} did not drain")
                life.child.kill()
        await asyncio.gather(*late)

    async def abandon(self) -> None:
        """Kill whoever is left and end all tasks: for the end of a round, however it ends."""
        self._stopping = True
        for task in self._slots:
            task.cancel()
        await asyncio.gather(*self._slots, return_exceptions=True)
        for life in self._lives.values():
            life.child.kill()
        await asyncio.gather(*(life.child.ended for life in self._lives.values()))

    def check(self) -> None:
        """Raise what has gone wrong in keeping processes alive, if anything has."""
        for task in self._slots:
            if task.done() and not task.cancelled():
                task.result()

    async def _keep(self, process: Process, slot: int) -> None:
        life = 0
        while not self._stopping:
            if self._calm:
                fate = CALM
            elif self._crowded():
                fate = PEACE
            else:
                fate = self._plan.fate(process, slot, life)
                life += 1
            current = _Life(child=await self._bear(process, slot, fate), fate=fate)
            self.births += 1
            self._lives[process, slot] = current
            if self._is_late(fate):
                current.killed = LAST
                current.child.kill()
            status = await self._until_dead(current)
            self._bury(current, status)
            if status > 0:
                await asyncio.sleep(WEARY)  # What cannot even start is not started in a frenzy.

    def _is_late(self, fate: Fate) -> bool:
        """Tell whether things have changed while a process with this fate was born."""
        return self._stopping or (self._calm and fate is not CALM)

    async def _until_dead(self, life: _Life) -> int:
        fate, ended = life.fate, life.child.ended
        if fate is PEACE:
            while self._crowded() and not await _within(ended, LOOK_S):
                pass
            life.killed = life.killed or RANDOM
            life.child.kill()
        elif fate.kill_after_s is not None and not await _within(ended, fate.kill_after_s):
            life.killed = RANDOM
            life.child.kill()
        elif fate.term_after_s is not None and not await _within(ended, fate.term_after_s):
            life.child.signal(signal.SIGTERM)
            if not await _within(ended, STOP_S):
                self.unexpected.append(f"{life.child.birth.process} did not drain")
                life.killed = LAST
                life.child.kill()
        return await asyncio.shield(ended)

    def _bury(self, life: _Life, status: int) -> None:
        pid, process = life.child.pid, life.child.birth.process
        if status == EXIT_USAGE:
            raise RuntimeError(tail(Path(life.child.birth.log)))
        self._read_record()
        cause, at = self._pending.pop(pid, ("", time.time()))
        if cause:
            self._plan.killed(cause)
        elif status == -signal.SIGKILL and life.killed:
            cause = life.killed
            self._plan.killed(cause)
        elif status in DRAINED_WITH and (life.fate.term_after_s is not None or self._stopping):
            cause = DRAINED
        else:
            cause = f"ended with {status}"
            self.unexpected.append(f"{process} {pid} {cause}")
        self.deaths.append(Death(process=process, pid=pid, at=at, cause=cause))

    def _read_record(self) -> None:
        with self._record.open("rb") as record:
            record.seek(self._read)
            for line in record.read().splitlines():
                pid, point, at = line.decode().split()
                self._pending[int(pid)] = (point, float(at))
            self._read = record.tell()

    async def _bear(self, process: Process, slot: int, fate: Fate) -> Child:
        birth = Birth(
            process=process,
            # With it, callback servers share one port.
            environ={**self._environ, "PAYOUTS_PROCESS_INDEX": str(slot)},
            record=str(self._record),
            log=str(self._folder / f"{process}-{slot}.log"),
            armed=fate.armed,
            seed=fate.seed,
        )
        return await (real_start(birth) if fate.real else self._nursery.fork(birth))


async def _within(ended: asyncio.Future[int], seconds: float) -> bool:
    done, _ = await asyncio.wait([ended], timeout=seconds)
    return bool(done)


async def real_start(birth: Birth) -> Child:
    """Start `python -m` the deployable, as a person does."""
    with Path(birth.log).open("ab") as log:  # noqa: ASYNC230 - a local file, at once
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", birth.process.value),
            cwd=ROOT,
            env=dict(birth.environ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )
    ended = asyncio.ensure_future(process.wait())

    def send(_: int, what: int) -> None:
        if process.returncode is None:
            os.kill(process.pid, what)

    return Child(number=0, pid=process.pid, birth=birth, ended=ended, send=send)
