"""What the disaster drill shares: the page's commands, and a shell that an operator would have."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ops.local.postgresql import BINARIES, find_installed, find_package

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "restore-the-database.md"
_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
_BLOCK = re.compile(r"^ *```console\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def commands_of(title: str) -> list[str]:
    """Gives the commands of the page's section whose title begins so, as they are typed."""
    parts = _SECTION.split(PAGE.read_text(encoding="utf-8"))
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    text = next(text for name, text in sections.items() if name.startswith(title))
    lines = [line.strip() for block in _BLOCK.findall(text) for line in block.splitlines()]
    found = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    assert found, f"section {title} has no commands"
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """A command that was typed, how it ended and what it said."""

    command: str
    status: int
    out: str
    err: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """An operator's shell, with the variables that the page has them set."""

    variables: Mapping[str, str]

    async def follow(self, title: str) -> Sequence[Typed]:
        """Types the commands of one section, in their order."""
        return [await self.type(command) for command in commands_of(title)]

    async def type(self, command: str) -> Typed:
        """Types one command; `payouts` is this checkout's."""
        whole = f'payouts() {{ "{sys.executable}" -m ops.cli "$@"; }}\n{command}\n'
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", whole),
            cwd=ROOT,
            env={
                "PATH": f"{_client_programs()}{os.pathsep}{os.environ['PATH']}",
                "LANG": "C.UTF-8",
                **self.variables,
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(90):
                out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return Typed(
            command=command,
            status=process.returncode or 0,
            out=out.decode(),
            err=err.decode(),
        )


def _client_programs() -> Path:
    """Gives the folder with `pg_dump` and the like that belongs to the server of the tests."""
    package = find_package()
    found = find_installed() or (package / BINARIES if package is not None else None)
    assert found is not None, "no PostgreSQL"
    return found
