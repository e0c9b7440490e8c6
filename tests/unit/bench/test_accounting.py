"""CPU and memory of process trees, read from a /proc made for the test, and from the real one."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.bench.accounting import (
    PROC,
    Process,
    cpu_s,
    machine_busy_s,
    peak_mib,
    process_table,
    tree,
)

TICKS = os.sysconf("SC_CLK_TCK")
# Time is counted in hundredths of a second: it uses some before it says that it is up.
BUSY = """
import sys, time
while time.process_time() < 0.1:
    pass
print("up", flush=True)
sys.stdin.read()
"""


def write(proc: Path, pid: int, parent: int, ticks: tuple[int, int, int, int], peak: int) -> None:
    """Writes what the system tells of one process."""
    folder = proc / str(pid)
    folder.mkdir()
    times = " ".join(map(str, ticks))
    stat = f"{pid} (a (bad) name) S {parent} 1 1 0 -1 0 0 0 0 0 {times} 20 0 1 0 0\n"
    (folder / "stat").write_text(stat)
    (folder / "status").write_text(f"Name:\ta\nVmHWM:\t{peak} kB\n")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Gives a system of a server with two children, one of them with a child, and a stranger."""
    write(tmp_path, 10, 1, (1 * TICKS, 2 * TICKS, 3 * TICKS, 4 * TICKS), 1024)
    write(tmp_path, 11, 10, (TICKS, 0, 0, 0), 2048)
    write(tmp_path, 12, 10, (TICKS, 0, 0, 0), 0)
    write(tmp_path, 13, 12, (0, TICKS, 0, 0), 512)
    write(tmp_path, 20, 1, (99 * TICKS, 0, 0, 0), 99)
    (tmp_path / "stat").write_text(f"cpu  {TICKS} 0 {TICKS} 700 300 0 0 {TICKS} 55 0\ncpu0 1\n")
    (tmp_path / "self").mkdir()
    return tmp_path


def test_a_tree_is_a_process_and_all_below_it(proc: Path) -> None:
    """At any depth, and nobody else; who is not there has no tree."""
    table = process_table(proc)
    assert tree(table, [10]) == {10, 11, 12, 13}
    assert tree(table, [12, 20, 77]) == {12, 13, 20}


def test_cpu_of_a_tree_has_that_of_children_that_have_ended(proc: Path) -> None:
    """User and system time, their parents' counts of the dead included, each once."""
    assert cpu_s(process_table(proc), [10]) == pytest.approx(1 + 2 + 3 + 4 + 1 + 1 + 1)


def test_a_circle_of_parents_ends() -> None:
    """Process ids are given out again while the table is being read."""
    table = {1: Process(parent=2, cpu_s=1.0), 2: Process(parent=1, cpu_s=2.0)}
    assert cpu_s(table, [1]) == 3


def test_peaks_of_a_tree_are_added_up(proc: Path) -> None:
    """In MiB; a process that has ended meanwhile adds nothing."""
    table = {**process_table(proc), 99: Process(parent=10, cpu_s=0.0)}
    assert peak_mib(table, [10], proc) == pytest.approx((1024 + 2048 + 512) / 1024)


def test_a_machine_is_busy_unless_it_is_idle_or_waits_for_its_disk(proc: Path) -> None:
    """Guests' time is in that of users already."""
    assert machine_busy_s(proc) == pytest.approx(3)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    """Gives a real process that waits."""
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process


def test_the_real_system_tells_of_a_child(child: subprocess.Popen[str]) -> None:
    """It is ours, has memory, and its CPU time is counted with us once it has ended."""
    assert child.stdout is not None
    assert child.stdout.readline() == "up\n"
    table = process_table()
    assert child.pid in tree(table, [os.getpid()])
    assert peak_mib(table, [child.pid], PROC) > 1
    assert 0.05 < cpu_s(table, [child.pid]) < 5
    before = table[os.getpid()].cpu_s
    child.communicate("")
    deadline = time.monotonic() + 10
    while process_table()[os.getpid()].cpu_s <= before:
        assert time.monotonic() < deadline
