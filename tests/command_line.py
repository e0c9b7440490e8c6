"""`payouts` as tests run it: in this process, or as one of its own; never with a number told."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from ops.cli.app import main

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Gives stdout as the one JSON document that it must be."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """Gives the documents that an order tells, one per payout."""
        return [json.loads(line) for line in self.out.splitlines()]


async def payouts(*arguments: str, environ: Mapping[str, str]) -> Ran:
    """Runs `payouts` in this process, with just these settings; nobody is at its keyboard.

    No number of a receiver may stand in what it says. One at a time: streams and environment
    are the process's.
    """
    return _checked(await asyncio.to_thread(_run, arguments, environ))


def _run(arguments: Sequence[str], environ: Mapping[str, str]) -> Ran:
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, environ),
        mock.patch.object(sys, "stdin", io.StringIO()),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        for name in [one for one in os.environ if one.startswith("PAYOUTS_")]:
            if name not in environ:
                del os.environ[name]
        status = main(arguments)
    return Ran(status=status, out=out.getvalue(), err=err.getvalue())


async def payouts_apart(*arguments: str, environ: Mapping[str, str]) -> Ran:
    """Runs `payouts` as a process of its own, beside what the test does."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "ops.cli",
        *arguments,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **environ},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return _checked(Ran(status=process.returncode or 0, out=out.decode(), err=err.decode()))


def _checked(ran: Ran) -> Ran:
    assert "712345" not in ran.out + ran.err, ran
    assert "Traceback" not in ran.err, ran.err
    return ran
