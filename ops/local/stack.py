"""Both private servers of one run, under `.local/`: started together, ended together."""

import asyncio
import fcntl
import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self, TypeVar

from ops.local import processes
from ops.local.errors import LocalServerError
from ops.local.places import check_open, default_root
from ops.local.ports import free_ports
from ops.local.postgresql import PostgreSQL
from ops.local.rabbitmq import RabbitMQ

SLOTS = 8
STATE = "stack.json"

Part = TypeVar("Part")


class LocalStack:
    """A RabbitMQ and a PostgreSQL for one run alone, ended with it.

    Runs of the same name do not meet: each takes the first slot (`.local/NAME`, `.local/NAME-2`
    and so on) that no living run holds. What an interrupted run left in a free slot is ended and
    removed first. Data lasts as long as the run.

    Args:
        name: What the run is for, such as `demo` or `test`.
        root: The folder of all slots; `places.default_root()` where it is not given.
    """

    def __init__(self, name: str = "local", *, root: Path | None = None) -> None:
        self._name = name
        self._root = root or default_root()
        self._lock: int | None = None
        self._folder: Path | None = None
        self._rabbitmq: RabbitMQ | None = None
        self._postgresql: PostgreSQL | None = None

    @classmethod
    def attach(cls, name: str, *, root: Path | None = None) -> Self:
        """Gives the stack that `python -m ops.local up` started; it stays when we end.

        Raises:
            LocalServerError: There is none.
        """
        stack = cls(name, root=root)
        folder = stack._root / name
        if not _is_kept(folder):
            raise LocalServerError(f"Nothing is up as {name!r}; run python -m ops.local up {name}.")
        stack._place(folder, json.loads((folder / STATE).read_text(encoding="utf-8"))["ports"])
        return stack

    def start(self) -> None:
        """Returns when both servers take connections.

        Raises:
            ServerNotFoundError: One of them is not installed.
            LocalServerError: One of them does not start, or all slots are taken.
        """
        self._root.mkdir(exist_ok=True)
        self._folder = folder = self._take_slot()
        try:
            check_open(self._root)
            folder.mkdir()
            self._place(folder, list(free_ports(5)))
            _together(self._start_rabbitmq, self._start_postgresql)
        except BaseException:
            try:
                self._end_processes()
            finally:
                self._release()
            raise

    def revive(self) -> None:
        """Starts whichever server is down, on its old port and data: what fault tests leave."""
        if self._lock is None:
            return
        down = [server for server in (self.rabbitmq, self.postgresql) if not server.running]
        _together(*(server.start for server in down))

    def stop(self) -> None:
        """Ends both servers and removes their data; does nothing where nothing was started."""
        if self._lock is None:
            return
        try:
            self._end_processes()
            # While it is ours: whoever has the slot next makes a folder of the same name.
            shutil.rmtree(self.folder, ignore_errors=True)
        finally:
            self._release()

    def keep(self) -> None:
        """Leaves all up when this run ends, until `python -m ops.local down`."""
        state = json.loads((self.folder / STATE).read_text(encoding="utf-8"))
        self._write_state({**state, "kept": True})
        self.rabbitmq.let_go()
        self.postgresql.let_go()
        self._release()

    async def __aenter__(self) -> Self:
        starting = asyncio.ensure_future(asyncio.to_thread(self.start))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            # A thread cannot be called off: what it started would outlive us.
            await asyncio.wait([starting])
            await asyncio.to_thread(self.stop)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.shield(asyncio.to_thread(self.stop))

    @property
    def folder(self) -> Path:
        """Gives the folder of this run, in which more may be kept; it is removed at the end."""
        return _started(self._folder)

    @property
    def rabbitmq(self) -> RabbitMQ:
        """Gives the broker, to be killed and started again."""
        return _started(self._rabbitmq)

    @property
    def postgresql(self) -> PostgreSQL:
        """Gives the database server, to be killed and started again."""
        return _started(self._postgresql)

    @property
    def amqp_url(self) -> str:
        """Gives the address of the broker's default virtual host."""
        return self.rabbitmq.url()

    @property
    def database_url(self) -> str:
        """Gives the address of the database `postgres`."""
        return self.postgresql.url()

    @property
    def mark(self) -> dict[str, str]:
        """Gives what to put into the environment of further processes of this run.

        They are then ended as leftovers where the run is interrupted.
        """
        return {processes.MARK: str(self.folder)}

    async def fresh_database(self, name: str, *, template: str = "template1") -> str:
        """Makes a database of that name and gives its address."""
        return await self.postgresql.create_database(name, template=template)

    async def fresh_vhost(self, name: str) -> str:
        """Makes a virtual host of that name and gives its AMQP address."""
        return await asyncio.to_thread(self.rabbitmq.create_vhost, name)

    def _place(self, folder: Path, ports: list[int]) -> None:
        amqp, management, distribution, names, database = ports
        self._folder = folder
        self._rabbitmq = RabbitMQ(
            folder / "rabbitmq", mark=folder, ports=(amqp, management, distribution, names)
        )
        self._postgresql = PostgreSQL(folder / "postgresql", mark=folder, port=database)
        if self._lock is not None:
            self._write_state({"kept": False, "ports": ports})

    def _start_rabbitmq(self) -> None:
        self.rabbitmq.create()
        self.rabbitmq.start()

    def _start_postgresql(self) -> None:
        self.postgresql.create()
        self.postgresql.start()

    def _take_slot(self) -> Path:
        """Locks the first free slot; clears what interrupted runs left in it and in the others."""
        taken: Path | None = None
        for number in range(1, SLOTS + 1):
            folder = self._root / (self._name if number == 1 else f"{self._name}-{number}")
            if taken is not None and not folder.exists():
                continue
            lock = _try_lock(folder.with_suffix(".lock"))
            if lock is None:
                continue
            if _is_kept(folder):
                os.close(lock)
                continue
            _clear(folder)
            if taken is None:
                taken, self._lock = folder, lock
            else:
                os.close(lock)
        if taken is None:
            raise LocalServerError(f"All {SLOTS} slots of {self._name!r} are in use.")
        return taken

    def _end_processes(self) -> None:
        """Ends the servers, then whatever else carries the run's mark."""
        steps: list[Callable[[], None]] = []
        if self._rabbitmq is not None:
            steps.append(self._rabbitmq.discard)  # An orderly end takes 6 s more.
        if self._postgresql is not None:
            steps.append(self._postgresql.stop)
        try:
            _together(*steps)
        finally:
            if self._folder is not None:
                processes.end_all(self._folder)

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None

    def _write_state(self, state: dict[str, object]) -> None:
        (self.folder / STATE).write_text(json.dumps(state), encoding="utf-8")


def take_down(name: str, *, root: Path | None = None) -> int:
    """Ends a stack that was kept up, or left behind; gives the number of processes ended.

    Raises:
        LocalServerError: A living run holds it.
    """
    folder = (root or default_root()) / name
    if not folder.exists():
        return 0
    lock = _try_lock(folder.with_suffix(".lock"))
    if lock is None:
        raise LocalServerError(f"{name!r} belongs to a run that is still under way.")
    try:
        return _clear(folder)
    finally:
        os.close(lock)


def _clear(folder: Path) -> int:
    ended = processes.end_all(folder)
    if folder.exists():
        shutil.rmtree(folder)
    return ended


def _is_kept(folder: Path) -> bool:
    """Says whether a stack was left up on purpose and is still there."""
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(state.get("kept")) and bool(processes.belonging_to(folder))


def _try_lock(path: Path) -> int | None:
    """Locks a file for as long as this process lives; None where another one holds it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _together(*steps: Callable[[], None]) -> None:
    """Runs all steps at once, to their ends, and raises the first error there was."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        running = [pool.submit(step) for step in steps]
    for future in running:
        future.result()


def _started(part: Part | None) -> Part:
    if part is None:
        raise LocalServerError("The stack was not started.")
    return part
