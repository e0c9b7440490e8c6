"""Several processes under one parent: told to stop at any moment, restarted at a fair pace."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from payouts import runtime

ROOT = Path(__file__).parents[2]
# It drains as our processes do, and says when it listens and when it has ended.
LISTENER = """
import os, pathlib, signal, sys, time
def end(*_):
    pathlib.Path(f"ended-{os.getpid()}").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
pathlib.Path(f"listening-{os.getpid()}").touch()
time.sleep(60)
"""
DEAF = """
import os, pathlib, time
pathlib.Path(f"listening-{os.getpid()}").touch()
time.sleep(60)
"""
PARENT = """
import runpy, sys
from payouts import runtime
code = runtime.supervise(2)
if code is None:
    runpy.run_path("child.py")
sys.exit(code)
"""
# The signal arrives when a child exists that its parent does not know of yet.
EARLY = """
import os, signal
fork = os.fork
def fork_then_hear():
    pid = fork()
    if pid:
        os.kill(os.getpid(), signal.SIGTERM)
    return pid
os.fork = fork_then_hear
"""
# The first child is told while it has its parent's way of hearing yet.
TOLD_AT_BIRTH = """
import os, pathlib, signal
fork, forks = os.fork, []
def fork_and_tell():
    forks.append(None)
    pid = fork()
    if not pid and len(forks) == 1:
        pathlib.Path(f"told-{os.getpid()}").touch()
        os.kill(os.getpid(), signal.SIGTERM)
    return pid
os.fork = fork_and_tell
"""


def supervised(folder: Path, child: str, parent: str = PARENT) -> subprocess.Popen[bytes]:
    (folder / "child.py").write_text(child)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    return subprocess.Popen([sys.executable, "-c", parent], cwd=folder, env=environ)  # noqa: S603


def wait_for(folder: Path, pattern: str, count: int) -> None:
    """Return when so many files are there."""
    deadline = time.monotonic() + 20
    while len(list(folder.glob(pattern))) < count:
        assert time.monotonic() < deadline, pattern
        time.sleep(0.02)


def test_children_are_told_and_waited_for(tmp_path: Path) -> None:
    """SIGTERM reaches each child; the parent ends with 0 after the last one."""
    parent = supervised(tmp_path, LISTENER)
    wait_for(tmp_path, "listening-*", 2)
    parent.terminate()
    assert parent.wait(20) == 0
    assert len(list(tmp_path.glob("ended-*"))) == 2


def test_a_child_that_is_told_before_it_listens_is_no_failure(tmp_path: Path) -> None:
    """It had nothing in hand; the parent ends with 0.

    Proved by taking its death by the signal for a failure: the parent ended with 15.
    """
    parent = supervised(tmp_path, DEAF)
    wait_for(tmp_path, "listening-*", 2)
    parent.terminate()
    assert parent.wait(20) == 0


def test_a_signal_while_a_child_is_started_reaches_it(tmp_path: Path) -> None:
    """Whatever the parent was about when it heard the signal, no child is left behind.

    Proved by telling the children from within the signal's handler: the new one lived on.
    """
    parent = supervised(tmp_path, LISTENER, EARLY + PARENT)
    try:
        assert parent.wait(20) == 0
    finally:
        parent.kill()


def test_a_child_that_is_told_as_it_is_born_dies_of_it(tmp_path: Path) -> None:
    """It never takes the signal for its parent's; another one follows it.

    Proved by not holding signals back: it noted the signal for its parent, and lived on.
    """
    parent = supervised(tmp_path, LISTENER, TOLD_AT_BIRTH + PARENT)
    wait_for(tmp_path, "listening-*", 2)
    parent.terminate()
    assert parent.wait(20) == 0
    (told,) = tmp_path.glob("told-*")
    assert not (tmp_path / told.name.replace("told", "listening")).exists()


@pytest.mark.parametrize(("lived_s", "rest_s"), [(1.0, 8.0), (3600.0, 0.5)])
def test_who_lived_long_is_started_again_at_once(
    lived_s: float, rest_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rests grow for a child that dies of its start, and begin anew after a long life.

    Proved by never beginning anew: a crash a month cost half a minute each.
    """
    now = 10_000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    children = runtime._Children(1)
    children._rest_s[0] = 8.0
    children._born[0] = now - lived_s
    children._rest(0)
    assert children._due[0] == now + rest_s


GARBAGE = """
import gc
from payouts import runtime
before = gc.get_threshold()
async def main(settings, stop):
    first, *_ = gc.get_threshold()
    print(first >= 10_000, gc.get_freeze_count() > 1_000)
runtime.run_until_signal(dict, main)
print(gc.get_threshold() == before, gc.get_freeze_count() == 0)
"""


def test_garbage_is_looked_for_seldom_and_not_among_what_was_there() -> None:
    """While a process runs; afterwards everything is as before.

    Proved by running without: both are as Python has them.
    """
    said = subprocess.run(  # noqa: S603
        [sys.executable, "-c", GARBAGE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["True"] * 4
