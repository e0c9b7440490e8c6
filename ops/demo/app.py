"""The story that the demo tells: servers, schema, simulator, processes, payouts, books."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.text import Text

from ops.cli.screen import Screen
from ops.cli.words import plural
from ops.demo import keeping, salaries
from ops.demo.children import ROOT, Children, die_with_parent
from ops.demo.listener import Listener
from ops.demo.report import judge, print_report
from ops.demo.settings import WAITS, product_environ, simulator_environ
from ops.local import LocalStack
from ops.local.ports import free_ports
from ops.local.processes import plain_environment
from payouts.storage.migrate import upgrade

NAME: Final = "demo"
EXAMPLE: Final = ROOT / "ops" / "examples" / "salaries.csv"
RUN_ID: Final = "salaries-2026-11"
WITHIN_S: Final = 90
_PLAIN: Final = ("TERM", "NO_COLOR", "COLUMNS", "COLORTERM", "HOME", "USER")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a person asked for; `name` is the folder under `.local/`, another one in tests."""

    keep: bool = False
    payouts: int = salaries.SHIPPED
    name: str = NAME


@dataclass(slots=True)
class Demo:
    """One run of the demo, step by step; what a step started is ended with the run."""

    options: Options
    screen: Screen = field(default_factory=Screen)
    began: float = field(default_factory=time.monotonic)

    async def run(self) -> int:
        """Return the exit status: 0 if every payout ended and both books are equal."""
        async with AsyncExitStack() as stack:
            self.step("Starting a private RabbitMQ and a private PostgreSQL")
            servers = await stack.enter_async_context(LocalStack(self.options.name))
            self.step("Creating the schema: payouts db upgrade")
            await asyncio.to_thread(upgrade, servers.database_url)
            children = Children(servers.folder, keep=self.options.keep)
            stack.push_async_callback(children.stop)
            simulator, environ = await self._start(servers, children)
            listener = await stack.enter_async_context(Listener(servers.amqp_url))
            await self._send(environ, self._file(servers.folder))
            self.step("Comparing the books of both sides")
            ledger = str(simulator["admin_url"]) + "/ledger"
            report = await judge(
                servers.database_url,
                ledger,
                listener,
                run_id=RUN_ID,
                expected=self.options.payouts,
            )
            print_report(self.screen, report)
            if self.options.keep:
                await self._keep(servers, simulator, environ)
                children.let_go()
                return 0 if report.fine else 1
            self.step("Stopping everything")
        self.step(f"Done after {time.monotonic() - self.began:.0f} s. Nothing is left running.")
        return 0 if report.fine else 1

    def step(self, text: str) -> None:
        """Say what happens now, and when that is."""
        seconds = f"{time.monotonic() - self.began:5.1f} s  "
        self.screen.err.print(Text(seconds, style="dim").append(text, style="default"))

    async def _start(
        self, servers: LocalStack, children: Children
    ) -> tuple[Mapping[str, Any], dict[str, str]]:
        self.step("Starting the gateway simulator, one callback server and two workers")
        folder = servers.folder
        simulator = await children.simulator(simulator_environ(servers.mark, folder))
        callback, *admin = free_ports(4)
        urls = (servers.amqp_url, servers.database_url)
        environ = {
            **plain_environment(),
            **{name: os.environ[name] for name in _PLAIN if name in os.environ},
            **servers.mark,
            **product_environ(urls, simulator, callback),
            "PAYOUTS_SEND_STATE": str(folder / "sending"),
        }
        await asyncio.gather(
            children.deployable("callback-server", "callback_server", admin[0], environ),
            children.deployable("worker-1", "worker", admin[1], environ),
            children.deployable("worker-2", "worker", admin[2], environ),
        )
        waits = ", ".join(
            f"{name.removeprefix('PAYOUTS_')}={value}" for name, value in WAITS.items()
        )
        self.step(f"All are ready. Waits are short for the demo: {waits}")
        return simulator, environ

    def _file(self, folder: Path) -> Path:
        if self.options.payouts == salaries.SHIPPED:
            return EXAMPLE.relative_to(ROOT)
        made = folder / "salaries.csv"
        with made.open("w", encoding="utf-8", newline="") as file:
            salaries.write(file, self.options.payouts)
        return made

    async def _send(self, environ: Mapping[str, str], file: Path) -> None:
        """Send the file as a person would, and follow the run to its end."""
        within = str(WITHIN_S + self.options.payouts // 50)
        arguments = ("send", str(file), "--run-id", RUN_ID, "--yes", "--wait", "--deadline", within)
        self.step(f"Paying {plural(self.options.payouts, 'salary', 'salaries')}:")
        self.screen.say(f"           $ payouts {shlex.join(arguments)}", style="bold")
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "ops.cli",
            *arguments,
            cwd=ROOT,
            env=dict(environ),
            stdout=asyncio.subprocess.DEVNULL,  # The same tables stand in the report.
            preexec_fn=die_with_parent(),
        )
        try:
            await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _keep(
        self, servers: LocalStack, simulator: Mapping[str, Any], environ: Mapping[str, str]
    ) -> None:
        """Leave everything up, and tell how to look at it and how to stop it."""
        file = servers.folder / "environ"
        file.touch(mode=0o600)
        variables = {name: text for name, text in environ.items() if name.startswith("PAYOUTS_")}
        lines = [f"export {name}={shlex.quote(text)}" for name, text in variables.items()]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        await asyncio.to_thread(servers.keep)
        for line in keeping.told(_short(file), simulator, environ):
            self.screen.line(line)


def _short(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
