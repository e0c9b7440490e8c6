"""How far a file has come, written down as confirms come in, for whoever sends it again."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from ops.cli.exits import CommandError
from ops.cli.words import count

SUFFIX: Final = ".jsonl"
_VERSION: Final = 1
_HEAD_BYTES: Final = 64 * 1024
_TAIL_BYTES: Final = 4 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What is being sent, as what, and where to.

    Args:
        file: the absolute path. The file may be moved: the path is not part of the name.
        digest: SHA-256 of its content.
        run_id: the run of rows that name none.
        account: the account of rows that name none.
        broker: host, port, virtual host and prefix; no user and no password. Empty
            where it is only rehearsed.
    """

    file: str
    digest: str
    run_id: str
    account: str
    broker: str = ""

    @property
    def name(self) -> str:
        """The journal's file name: another content, run, account or broker is another errand."""
        text = f"{self.digest} {self.run_id} {self.account} {self.broker}"
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32] + SUFFIX


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far an errand has come.

    Args:
        rows: so many rows, from the first on, are confirmed or were known to the database.
        at: when that was written down; None where nothing was yet.
        stopped: it ended in order, so that no row behind these was published.
    """

    rows: int = 0
    at: datetime | None = None
    stopped: bool = True


class Journal:
    """The journal of one errand: there from its first row to its last, held by one process.

    Its first line of JSON tells the errand, each further one how many rows are done. A line that
    a crash tore off is as if it had never been written.
    """

    def __init__(self, path: Path, errand: Errand) -> None:
        self._path = path
        self._errand = errand
        self._handle: int | None = None
        self._writing = threading.Lock()
        self.standing = Standing()

    @classmethod
    def found(cls, path: Path, errand: Errand) -> Self:
        """Return the errand's journal as it stands, held if there is one.

        Raises:
            CommandError: another process is sending, or what stands there is no journal.
        """
        journal = cls(path, errand)
        with suppress(FileNotFoundError):
            journal._hold(os.open(path, os.O_RDWR | os.O_CLOEXEC))
            journal._resume()
        return journal

    @classmethod
    def discard(cls, path: Path) -> None:
        """Remove a journal, whatever stands in it.

        Raises:
            CommandError: another process is sending.
        """
        with suppress(FileNotFoundError):
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            _lock(handle)
            path.unlink()
            os.close(handle)

    def begin(self) -> None:
        """Return once the journal is on disk, and tells that rows are being published.

        Raises:
            CommandError: another process has begun meanwhile, or nothing can be written.
        """
        try:
            if self._handle is None:
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                self._hold(os.open(self._path, flags, 0o600))
            if os.fstat(self._held).st_size == 0:
                self._append({"journal": _VERSION, **asdict(self._errand)})
                _sync_folder(self._path.parent)
        except FileExistsError:
            raise _busy() from None
        except OSError as error:
            raise self._unwritable(error) from None
        self.note(self.standing.rows)

    def note(self, rows: int, *, stopped: bool = False) -> None:
        """Return once it is on disk that the first `rows` rows are done; fewer change nothing.

        Raises:
            CommandError: it cannot be written.
        """
        now = datetime.now(UTC)
        with self._writing:
            if rows < self.standing.rows:
                return
            try:
                self._append({"rows": rows, "at": now.isoformat(), "stopped": stopped})
            except OSError as error:
                raise self._unwritable(error) from None
            self.standing = Standing(rows=rows, at=now, stopped=stopped)

    def finish(self) -> None:
        """Remove the journal: all rows are done."""
        if self._handle is not None:
            self._path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let go of the journal; it stays for the next who sends the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    @property
    def _held(self) -> int:
        if self._handle is None:
            raise CommandError("The journal was not begun. Please report this.")
        return self._handle

    def _hold(self, handle: int) -> None:
        _lock(handle)
        if os.fstat(handle).st_nlink == 0:
            os.close(handle)  # Whoever held it has just finished.
            raise FileNotFoundError
        self._handle = handle

    def _resume(self) -> None:
        try:
            found = read(self._held)
        except ValueError:
            self.close()
            raise CommandError(
                f"{self._path} cannot be read as the journal of this file. Say --restart to do"
                " without it: rows that are not in the database are then published again, under"
                " the same ids."
            ) from None
        self.standing = found.standing
        os.ftruncate(self._held, found.whole)
        os.lseek(self._held, 0, os.SEEK_END)

    def _append(self, record: dict[str, Any]) -> None:
        line = json.dumps(record).encode() + b"\n"
        if os.write(self._held, line) < len(line):
            raise OSError(0, "the disk is full")
        os.fdatasync(self._held)

    def _unwritable(self, error: OSError) -> CommandError:
        return CommandError(
            f"{self._path} cannot be written ({error.strerror}), after"
            f" {count(self.standing.rows)} rows. Send the same file again when that is put right."
        )


class UnkeptJournal(Journal):
    """Stands in where nothing can be kept: it knows how far the errand has come, and forgets it."""

    def __init__(self, errand: Errand) -> None:
        super().__init__(Path(), errand)

    def begin(self) -> None:
        """Do nothing."""

    def _append(self, record: dict[str, Any]) -> None:
        del record


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a journal tells; `whole` bytes of it are whole lines."""

    errand: Errand | None
    standing: Standing
    whole: int


def read(handle: int) -> Told:
    """Return what the first and the last whole lines tell.

    Raises:
        ValueError: it is no journal of this version.
    """
    head = os.pread(handle, _HEAD_BYTES, 0)
    first = head.find(b"\n") + 1
    if not first:
        return Told(errand=None, standing=Standing(), whole=0)
    begin = max(first, os.fstat(handle).st_size - _TAIL_BYTES)
    tail = os.pread(handle, _TAIL_BYTES, begin)
    end = tail.rfind(b"\n") + 1
    lines = tail[:end].splitlines()
    try:
        header = json.loads(head[:first])
        if header.pop("journal") != _VERSION:
            raise ValueError("another version")
        errand = Errand(**header)
        standing = Standing(stopped=False)
        if lines:
            last = json.loads(lines[-1])
            at = datetime.fromisoformat(last["at"])
            standing = Standing(rows=int(last["rows"]), at=at, stopped=bool(last["stopped"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("no journal") from error
    return Told(errand=errand, standing=standing, whole=begin + end)


def _lock(handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise _busy() from None


def _busy() -> CommandError:
    return CommandError(
        "This file is being sent right now, by another process. Wait until that has ended."
    )


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
