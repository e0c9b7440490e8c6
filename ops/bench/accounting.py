"""What processes have used, as Linux counts it: CPU time of whole process trees, peak memory.

CPU time is user and system time. That of children that have ended is counted with their parent,
so a server that starts a process for each connection loses nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_KIB: Final = 1024
_LONGEST: Final = 4096
# Places in /proc/PID/stat after the command's name: parent, and the four times.
_PARENT: Final = 1
_TIMES: Final = slice(11, 15)
# Places in the first line of /proc/stat: idle, and waiting for a disk.
_IDLE: Final = slice(3, 5)
_KINDS: Final = 8  # What guests use is counted in user time already.


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process: its parent, and the CPU time of itself and its children that have ended."""

    parent: int
    cpu_s: float


Table = Mapping[int, Process]


def process_table(proc: Path = PROC) -> dict[int, Process]:
    """Return all processes there are.

    It is called several times a second beside what is measured: reading through Path objects
    would cost three times as much.
    """
    found = {}
    with os.scandir(proc) as entries:
        names = [entry.name for entry in entries if entry.name.isdigit()]
    for name in names:
        with suppress(OSError):  # It has ended meanwhile.
            found[int(name)] = _process(_read(f"{proc}/{name}/stat"))
    return found


def tree(table: Table, roots: Iterable[int]) -> frozenset[int]:
    """Return the processes at and below `roots`."""
    children: dict[int, list[int]] = {}
    for pid, process in table.items():
        children.setdefault(process.parent, []).append(pid)
    found: set[int] = set()
    waiting = [pid for pid in roots if pid in table]
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting.extend(children.get(pid, ()))
    return frozenset(found)


def cpu_s(table: Table, roots: Iterable[int]) -> float:
    """Return the CPU time of all at and below `roots`."""
    return sum(table[pid].cpu_s for pid in tree(table, roots))


def peak_mib(table: Table, roots: Iterable[int], proc: Path = PROC) -> float:
    """Return the peaks of resident memory of all at and below `roots`, added up.

    Pages that several of them share are counted for each.
    """
    return sum(_peak_kib(proc / str(pid) / "status") for pid in tree(table, roots)) / _KIB


def machine_busy_s(proc: Path = PROC) -> float:
    """Return the CPU time that everybody on this machine has used since it started."""
    line = (proc / "stat").read_text(encoding="ascii").split("\n", 1)[0]
    ticks = [int(part) for part in line.split()[1 : 1 + _KINDS]]
    return (sum(ticks) - sum(ticks[_IDLE])) * _TICK_S


def _read(path: str) -> bytes:
    handle = os.open(path, os.O_RDONLY)
    try:
        return os.read(handle, _LONGEST)
    finally:
        os.close(handle)


def _process(stat: bytes) -> Process:
    # The command's name may hold blanks and brackets; what follows its last bracket does not.
    parts = stat.rpartition(b")")[2].split()
    return Process(parent=int(parts[_PARENT]), cpu_s=sum(map(int, parts[_TIMES])) * _TICK_S)


def _peak_kib(status: Path) -> int:
    with suppress(OSError):
        for line in status.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0
