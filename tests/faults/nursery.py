"""A fork server: has imported both deployables once, and forks a child for each that is wanted.

A worker or callback server then starts in tens of milliseconds instead of a second, so that ten
thousand of them can live and die in minutes. It has no thread and no loop when it forks, and dies
with whoever started it; its children die with it.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import itertools
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from select import select
from types import TracebackType
from typing import Any, Final, Self

from ops.demo.children import die_with_parent
from tests.faults.points import Process

ROOT: Final = Path(__file__).parents[2]
READY: Final = "ready"
_PR_SET_PDEATHSIG: Final = 1
_FAILED: Final = 70


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth:
    """What is to be born: settings as environment, and where it dies.

    Args:
        armed: which passing of which point kills it; empty: none does.
        record: the file in which a death at a point leaves a line.
        log: where it writes what it says.
        hurried: whether the waits that no setting shortens are shortened.
        jumps: of its wall clock: so many seconds after the start it is so many seconds off.
    """

    process: Process
    environ: Mapping[str, str]
    record: str
    log: str
    armed: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0
    hurried: bool = True
    jumps: tuple[tuple[float, float], ...] = ()


@dataclass(slots=True)
class Child:
    """A process that was born. `ended` gives its exit code, or minus the signal's number."""

    number: int
    pid: int
    birth: Birth
    ended: asyncio.Future[int]
    send: Callable[[int, int], None]

    @property
    def alive(self) -> bool:
        """Tell whether it has not ended, as far as is known here."""
        return not self.ended.done()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens if it has ended."""
        if self.alive:
            self.send(self.number, number)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.signal(signal.SIGKILL)


class Nursery:
    """Starts the fork server, and is how the runner talks to it."""

    def __init__(self, mark: Mapping[str, str]) -> None:
        self._mark = mark
        self._numbers = itertools.count(1)
        self._children: dict[int, Child] = {}
        self._born: dict[int, asyncio.Future[int]] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Return once everything is imported."""
        path = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG")}
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.faults.nursery",
            cwd=ROOT,
            env={**path, **self._mark, "PYTHONPATH": str(ROOT)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )
        if (await self._stdout.readline()).decode().strip() != READY:
            raise RuntimeError("The nursery did not start.")
        self._reader = asyncio.create_task(self._listen(), name="nursery")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Kill every child, then end the fork server."""
        for child in list(self._children.values()):
            child.kill()
        ends = (asyncio.shield(one.ended) for one in self._children.values())
        await asyncio.gather(*ends, return_exceptions=True)
        if self._process is not None:
            if self._process.stdin is not None:
                self._process.stdin.close()
            await self._process.wait()
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)

    async def fork(self, birth: Birth) -> Child:
        """Return once the child exists."""
        number = next(self._numbers)
        loop = asyncio.get_running_loop()
        self._born[number] = born = loop.create_future()
        child = Child(
            number=number, pid=0, birth=birth, ended=loop.create_future(), send=self._signal
        )
        self._children[number] = child
        self._ask({"number": number, "birth": asdict(birth)})
        child.pid = await born
        return child

    @property
    def _stdout(self) -> asyncio.StreamReader:
        if self._process is None or self._process.stdout is None:
            raise RuntimeError("The nursery is not open.")
        return self._process.stdout

    def _ask(self, request: Mapping[str, Any]) -> None:
        if self._process is None or self._process.stdin is None:
            raise RuntimeError("The nursery is not open.")
        self._process.stdin.write(json.dumps(request).encode() + b"\n")

    def _signal(self, number: int, what: int) -> None:
        self._ask({"number": number, "signal": what})

    async def _listen(self) -> None:
        while line := await self._stdout.readline():
            told = json.loads(line)
            number = told["number"]
            if "pid" in told:
                self._born.pop(number).set_result(told["pid"])
            else:
                self._children.pop(number).ended.set_result(told["status"])
        lost = RuntimeError("The nursery has died.")
        for future in [*self._born.values(), *(one.ended for one in self._children.values())]:
            if not future.done():
                future.set_exception(lost)


class _Server:
    """The fork server itself: one thread, no loop; requests in on stdin, answers on stdout."""

    def __init__(self) -> None:
        self._parent = os.getpid()
        self._pids: dict[int, int] = {}
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        os.set_blocking(self._woken, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker)

    def serve(self) -> None:
        pending = b""
        self._tell_text(READY)
        while True:
            readable, _, _ = select([0, self._woken], [], [])
            if self._woken in readable:
                os.read(self._woken, 4096)
                self._reap()
            if 0 in readable:
                read = os.read(0, 1 << 16)
                if not read:
                    return
                *lines, pending = (pending + read).split(b"\n")
                for line in lines:
                    self._serve(json.loads(line))

    def _serve(self, asked: Mapping[str, Any]) -> None:
        number = asked["number"]
        if "signal" in asked:
            # We are its parent: until it is reaped here, its id is nobody else's.
            if number in self._pids:
                os.kill(self._pids[number], asked["signal"])
            return
        pid = os.fork()
        if pid == 0:
            self._live(Birth(**asked["birth"]))
        self._pids[number] = pid
        self._tell_text(json.dumps({"number": number, "pid": pid}))

    def _reap(self) -> None:
        numbers = {pid: number for number, pid in self._pids.items()}
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                number = numbers[pid]
                del self._pids[number]
                code = os.waitstatus_to_exitcode(status)
                self._tell_text(json.dumps({"number": number, "status": code}))

    def _live(self, birth: Birth) -> None:
        """Be the child, to its end; never returns into the server."""
        status = _FAILED
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() == self._parent:
                status = _live(birth)
        except BaseException:  # noqa: BLE001 - whatever it was, this child must not serve
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    @staticmethod
    def _tell_text(text: str) -> None:
        os.write(1, text.encode() + b"\n")


def _live(birth: Birth) -> int:
    os.environ.clear()
    os.environ.update(birth.environ)
    for target, mode, path in ((0, os.O_RDONLY, os.devnull), (1, os.O_WRONLY, birth.log)):
        opened = os.open(path, mode | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, target)
        os.close(opened)
    os.dup2(1, 2)
    record = os.open(birth.record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    from tests.faults.haste import hurry  # noqa: PLC0415 - imported already, by the server only
    from tests.faults.mortal import make_mortal  # noqa: PLC0415 - as above
    from tests.faults.skew import skew  # noqa: PLC0415 - as above

    process = Process(birth.process)
    if birth.hurried:
        hurry()
    if birth.jumps:
        skew(birth.jumps)
    make_mortal(process, birth.armed, record=record, seed=birth.seed)
    return _deployables()[process]()


def _deployables() -> Mapping[Process, Callable[[], int]]:
    import callback_server.app  # noqa: PLC0415 - the runner needs none of it
    import worker.app  # noqa: PLC0415 - as above

    return {
        Process.WORKER: worker.app.run,
        Process.CALLBACK_SERVER: callback_server.app.run,
    }


def serve() -> None:
    """Import all that children need, then serve until stdin ends."""
    import uvloop  # noqa: F401, PLC0415 - the deployables import it late

    import tests.faults.haste  # noqa: PLC0415
    import tests.faults.mortal  # noqa: PLC0415
    import tests.faults.skew  # noqa: F401, PLC0415
    from payouts.storage.schema import head  # noqa: PLC0415

    _deployables()
    head()  # Read once here, from the files of the migrations.
    gc.collect()
    gc.freeze()
    _Server().serve()


if __name__ == "__main__":
    serve()
