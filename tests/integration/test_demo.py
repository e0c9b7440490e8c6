"""The demo is the first thing that a person sees: it ends well, and leaves nothing behind."""

import asyncio
import json
import os
import re
import secrets
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ops.local import processes
from ops.local.places import default_root
from ops.local.stack import take_down

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Gives the folder of a demo of this test alone, not yet there."""
    folder = default_root() / f"demonstrated-{secrets.token_hex(4)}"
    yield folder
    folder.with_suffix(".lock").unlink(missing_ok=True)


@asynccontextmanager
async def demo(folder: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Runs the demo as a process of its own, stopped with the test at the latest."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "ops.demo",
        "--name",
        folder.name,
        *arguments,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


def is_gone(folder: Path) -> bool:
    """Says that neither data nor processes are left."""
    return not folder.exists() and not processes.belonging_to(folder)


async def test_the_demo_pays_everybody_once_and_leaves_nothing_running(folder: Path) -> None:
    """Exit 0, equal books, one completion event each; its data is gone too."""
    async with demo(folder, "--payouts", "80") as process:
        out, err = await process.communicate()
    told, said = out.decode(), err.decode()
    assert process.returncode == 0, said + told
    assert "80 payouts, all ended; both books are equal, to the cent." in told
    assert re.search(r"exactly one completion event id +80\b", told)
    assert "Nothing is left running." in said
    assert "25470000" not in told + said
    assert is_gone(folder)


@pytest.mark.parametrize("moment", [b"Starting a private", b"simulator", b"$ payouts"])
async def test_the_demo_cleans_up_when_it_is_interrupted(folder: Path, moment: bytes) -> None:
    """Ctrl-C while servers start, while processes start, and in the middle of the run."""
    async with demo(folder) as process:
        assert process.stderr is not None
        while moment not in (line := await process.stderr.readline()):
            assert line, "the demo ended too early"
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert process.returncode == 130, err + out
    assert b"everything was stopped" in err
    assert is_gone(folder)


async def test_what_is_kept_can_be_used_and_stopped(folder: Path) -> None:
    """The processes outlive the demo; a command of the list works; all is ended by its mark."""
    async with demo(folder, "--payouts", "5", "--keep") as process:
        out, err = await process.communicate()
    try:
        assert process.returncode == 0, err + out
        assert len(processes.belonging_to(folder)) > 4
        script = f"set -e; . {folder}/environ; {sys.executable} -m ops.cli list --limit 1 --json"
        told = await asyncio.to_thread(
            subprocess.run, ["sh", "-c", script], cwd=ROOT, capture_output=True, check=True
        )
        assert len(json.loads(told.stdout)) == 1
        assert stat.S_IMODE((folder / "environ").stat().st_mode) == 0o600
    finally:
        await asyncio.to_thread(take_down, folder.name)
    assert processes.belonging_to(folder) == ()
