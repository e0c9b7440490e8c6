"""The demo's own processes: started with its settings, ready when they say so, ended with it."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp

from ops.local.errors import LocalServerError
from ops.local.processes import tail

ROOT: Final = Path(__file__).resolve().parents[2]
READY_S: Final = 60.0
DRAIN_S: Final = 30.0
_LOOK_EVERY_S: Final = 0.05
_PR_SET_PDEATHSIG: Final = 1


class ChildError(LocalServerError):
    """A process of the demo did not start; its log tells why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """One process of ours and the file with what it said."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raise ChildError if it has ended."""
        if self.process.poll() is not None:
            raise ChildError(f"{self.name} ended with {self.process.returncode}.{tail(self.log)}")

    async def told(self, out: Path, ending: bytes) -> None:
        """Return once what it has written to `out` ends so."""

        async def told() -> bool:
            self.check()
            return (await asyncio.to_thread(out.read_bytes)).endswith(ending)

        await self.until(told)

    async def until(self, ready: Callable[[], Awaitable[bool]]) -> None:
        """Return once `ready` says so.

        Raises:
            ChildError: not in time; with the end of its log.
        """
        deadline = asyncio.get_running_loop().time() + READY_S
        while not await ready():
            if asyncio.get_running_loop().time() > deadline:
                raise ChildError(f"{self.name} is not ready after {READY_S:g} s.{tail(self.log)}")
            await asyncio.sleep(_LOOK_EVERY_S)


class Children:
    """Starts and ends processes; with `keep` they outlive this one.

    Otherwise the system ends them when this process dies, however it dies (Linux).
    """

    def __init__(self, folder: Path, *, keep: bool) -> None:
        self.folder = folder
        self._before = None if keep else die_with_parent()
        self._children: list[Child] = []

    async def simulator(self, environ: Mapping[str, str]) -> Mapping[str, Any]:
        """Start the simulator and return what its ready line tells: its addresses."""
        out = self.folder / "simulator.out"
        child = self.start("simulator", python("ops.simulator"), environ, out=out)
        await child.told(out, b"\n")
        ready: Mapping[str, Any] = json.loads(out.read_bytes())
        return ready

    async def deployable(
        self, name: str, module: str, admin_port: int, environ: Mapping[str, str]
    ) -> None:
        """Start a worker or callback server and return once it says that it is ready."""
        own = {"PAYOUTS_ADMIN_HOST": "127.0.0.1", "PAYOUTS_ADMIN_PORT": str(admin_port)}
        child = self.start(name, python(module), {**environ, **own})
        url = f"http://127.0.0.1:{admin_port}/health/ready"
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:

            async def ready() -> bool:
                child.check()
                with suppress(aiohttp.ClientError, TimeoutError):
                    async with session.get(url) as answer:
                        return answer.status == HTTPStatus.OK
                return False

            await child.until(ready)

    @property
    def pids(self) -> Mapping[str, int]:
        """The process id of each by its name."""
        return {child.name: child.process.pid for child in self._children}

    def check(self) -> None:
        """Raise ChildError if one of them has ended."""
        for child in self._children:
            child.check()

    async def stop(self) -> None:
        """Let all drain, the simulator last; kill by its own id what takes too long."""
        while self._children:
            child = self._children.pop()
            child.process.terminate()
            try:
                await asyncio.to_thread(child.process.wait, DRAIN_S)
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()

    def let_go(self) -> None:
        """Leave all running."""
        self._children.clear()

    def start(
        self,
        name: str,
        command: Sequence[str],
        environ: Mapping[str, str],
        *,
        out: Path | None = None,
    ) -> Child:
        """Start a program; what it says goes to its log, its stdout to `out`."""
        log = self.folder / f"{name}.log"
        with log.open("ab") as said, (out or log).open("ab") as told:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=said,
                start_new_session=True,
                preexec_fn=self._before,  # noqa: PLW1509 - one system call, no lock
            )
        child = Child(name=name, process=process, log=log)
        self._children.append(child)
        return child


def python(module: str) -> tuple[str, ...]:
    """Return what starts a module of ours in our own environment."""
    return (sys.executable, "-m", module)


def die_with_parent() -> Callable[[], None] | None:
    """Return what a child has to do before it begins, to be killed when we die (Linux only)."""
    if not sys.platform.startswith("linux"):
        return None
    # Loaded here: nothing may be imported between fork and exec.
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def before() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return before
