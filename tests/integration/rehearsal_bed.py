"""Services of a file of containers, started as plain processes with what the file says of them."""

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.local.processes import plain_environment

PROJECT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60.0
ROWS = "payout_id,msisdn,amount\nr-1,254700002000,150.00\nr-2,254700002001,99.50\n"


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """The file's services, and by what its places are exchanged here."""

    services: Mapping[str, Any]
    places: Mapping[str, str]
    folder: Path

    async def start(self, name: str, *more: str, admin: str = "") -> asyncio.subprocess.Process:
        """Starts a service's command with its variables; `more` takes the place of its own."""
        service = self.services[name]
        variables = {key: self.here(value) for key, value in service["environment"].items()}
        if "PAYOUTS_ADMIN_PORT" in variables:
            variables["PAYOUTS_ADMIN_PORT"] = admin
        with (self.folder / f"{name}{admin}.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "ops.cli", *(more or service["command"])),
                cwd=PROJECT,
                env={**plain_environment(), **_coverage(), **variables},
                stdout=log,
                stderr=log,
            )

    async def healthy(self, name: str, *, admin: str = "") -> None:
        """Returns when the service's health check, as it is in the file, says yes."""
        kind, program, *arguments = self.services[name]["healthcheck"]["test"]
        assert (kind, program) == ("CMD", "python")
        told = [self.here(argument).replace(":9100/", f":{admin}/") for argument in arguments]
        async with asyncio.timeout(DEADLINE_S):
            while True:
                check = await asyncio.create_subprocess_exec(
                    *(sys.executable, *told), stderr=asyncio.subprocess.DEVNULL
                )
                if await check.wait() == 0:
                    return

    def here(self, value: str) -> str:
        """Exchanges the containers' names, ports and folders for ours."""
        for theirs, this in self.places.items():
            value = value.replace(theirs, this)
        return value

    def said(self) -> str:
        """Gives what all processes wrote, for the message of a failing test."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("*.log")))


def _coverage() -> dict[str, str]:
    """Gives what lets coverage measure the processes as well."""
    return {key: value for key, value in os.environ.items() if key.startswith("COVERAGE")}
