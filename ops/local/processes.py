"""The processes of one local folder: started with its mark, and ended only when they carry it.

Each server gets the mark in its environment, from its first instruction on, so a run that was
interrupted at any point leaves nothing that the next run cannot recognise as its own. A number in
a file would prove less: the system gives process ids out again.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pwd import struct_passwd

from ops.local.errors import LocalServerError

MARK = "PAYOUTS_LOCAL_FOLDER"
POLL_S = 0.02
LOG_TAIL = 25


def start(
    command: Sequence[str | Path],
    *,
    folder: Path,
    log: Path,
    environment: Mapping[str, str],
    user: struct_passwd | None = None,
) -> subprocess.Popen[bytes]:
    """Starts a program in a session of its own, so that Ctrl-C reaches us and not the server.

    Args:
        command: The program and its arguments.
        folder: The folder whose mark the program carries.
        log: Where its output is appended.
        environment: All that it gets beside the mark; nothing of ours is inherited.
        user: Whom it runs as; only root can choose.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(part) for part in command],
            cwd="/",
            env={**environment, MARK: str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=() if user else None,
        )


def let_go(process: subprocess.Popen[bytes] | None) -> None:
    """Lets a child live on after us: `Popen` would warn of it as of one that was forgotten."""
    if process is not None:
        process.returncode = 0


def plain_environment() -> dict[str, str]:
    """Gives what any program needs; settings for other servers (`RABBITMQ_*`, `PG*`) stay out."""
    path = os.environ.get("PATH", "")
    return {"PATH": f"{path}:/usr/sbin:/sbin:/usr/bin:/bin", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


def wait_until(
    ready: Callable[[], bool], *, what: str, within_s: float, log: Path | None = None
) -> None:
    """Returns once `ready` says so.

    Raises:
        LocalServerError: Not within `within_s` seconds; with the last lines of `log`.
    """
    deadline = time.monotonic() + within_s
    while not ready():
        if time.monotonic() > deadline:
            raise LocalServerError(f"{what} took more than {within_s:g} s.{tail(log)}")
        time.sleep(POLL_S)


def tail(log: Path | None) -> str:
    """Gives the last lines of a log, indented, to be put behind a message."""
    if log is None or not log.exists():
        return ""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL:]
    return "\n" + "\n".join(f"    {line}" for line in lines)


def belonging_to(folder: Path) -> tuple[int, ...]:
    """Finds the processes that carry the folder's mark; never this process itself."""
    return tuple(pid for pid in _candidates(folder) if pid != os.getpid())


def end_all(folder: Path, *, within_s: float = 10.0) -> int:
    """Kills what still carries the folder's mark and returns how many processes that were.

    Their data is of no more use, so nobody waits for an orderly shutdown.

    Raises:
        LocalServerError: One of them is still there after `within_s` seconds.
    """
    found = belonging_to(folder)
    for pid in found:
        _kill_marked(pid, folder)
    wait_until(lambda: not belonging_to(folder), what="Ending leftovers", within_s=within_s)
    return len(found)


def children_of(pid: int) -> tuple[int, ...]:
    """Finds the direct children of a process that still runs."""
    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], check=True, capture_output=True, text=True
    ).stdout
    pairs = (line.split() for line in listing.splitlines())
    return tuple(int(child) for child, parent in pairs if int(parent) == pid)


def alive(pid: int) -> bool:
    """Says whether a process id is in use, by a process that is not just waiting to be reaped."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    stat = Path(f"/proc/{pid}/stat")
    with contextlib.suppress(OSError):
        return stat.read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    return not _has_proc()


def _has_proc() -> bool:
    return Path("/proc/self/environ").exists()


def _candidates(folder: Path) -> list[int]:
    if _has_proc():
        return [
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and _carries_mark(int(entry.name), folder)
        ]
    listing = subprocess.run(
        ["ps", "-axEww", "-o", "pid=,command="], check=True, capture_output=True, text=True
    ).stdout
    mark = f" {MARK}={folder} "
    return [int(line.split()[0]) for line in listing.splitlines() if mark in f"{line} "]


def _carries_mark(pid: int, folder: Path) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"{MARK}={folder}".encode() in environment.split(b"\0")


def _kill_marked(pid: int, folder: Path) -> None:
    """Kills through a handle, so that an id that was given out again meanwhile is left alone."""
    with contextlib.suppress(ProcessLookupError):
        if not _has_proc():
            os.kill(pid, signal.SIGKILL)
            return
        handle = os.pidfd_open(pid)
        try:
            if _carries_mark(pid, folder):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)
