"""One try to send a file: a process of its own, watched from outside, stopped where wanted."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from signal import Signals
from typing import Any, Final, Self

from ops.bench.accounting import cpu_s, machine_busy_s, process_table
from ops.demo.children import ROOT
from ops.local import LocalStack
from ops.local.processes import plain_environment
from payouts.storage.migrate import upgrade

LOOK_EVERY_S: Final = 0.01
_KIB: Final = 1024
_JOURNALS: Final = "*.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bed:
    """What a round has of its own: virtual host, database, folder of journals; and the file."""

    servers: LocalStack
    amqp_url: str
    database_url: str
    state: Path
    file: Path

    @property
    def environ(self) -> dict[str, str]:
        """The settings of `payouts send`."""
        return {
            **plain_environment(),
            **self.servers.mark,
            "PAYOUTS_AMQP_URL": self.amqp_url,
            "PAYOUTS_DATABASE_URL": self.database_url,
            "PAYOUTS_SHORTCODE": "600000",
            "PAYOUTS_SEND_STATE": str(self.state),
        }

    def noted(self) -> list[int]:
        """Return how many rows each note of the journal tells; none before the first is sent."""
        journals = list(self.state.glob(_JOURNALS))
        if not journals:
            return []
        lines = journals[0].read_bytes().splitlines(keepends=True)
        return [json.loads(line)["rows"] for line in lines[1:] if line.endswith(b"\n")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """Seconds by a clock, and seconds of CPU of the client, both servers and all others."""

    wall: float
    client: float
    rabbitmq: float
    postgresql: float
    others: float

    def __sub__(self, earlier: Self) -> Used:
        """Return what was used since."""
        return Used(
            **{
                one.name: getattr(self, one.name) - getattr(earlier, one.name)
                for one in fields(self)
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """How one try went.

    Args:
        status: the exit status, negative where a signal ended the process.
        said: all that was said on stderr.
        told: what was told in JSON on stdout; None if it did not come so far.
        peak_mib: the peak of the process's resident memory.
        checking: what was used until rows began to be published, the start of Python included.
        publishing: what was used after that.
    """

    status: int
    said: str
    told: Mapping[str, Any] | None
    peak_mib: float
    checking: Used
    publishing: Used

    @property
    def wall(self) -> float:
        """Seconds from the command's start to its end."""
        return self.checking.wall + self.publishing.wall


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Which signal to send, once so many rows are noted."""

    number: Signals
    rows: int


@asynccontextmanager
async def bed(servers: LocalStack, name: str, file: Path) -> AsyncIterator[Bed]:
    """Give a bed in which nothing was sent yet; it is gone afterwards."""
    database_url = await servers.fresh_database(name)
    await asyncio.to_thread(upgrade, database_url)
    made = Bed(
        servers=servers,
        amqp_url=await servers.fresh_vhost(name),
        database_url=database_url,
        state=servers.folder / f"{name}-state",
        file=file,
    )
    try:
        yield made
    finally:
        await servers.postgresql.drop_database(name)
        await asyncio.to_thread(servers.rabbitmq.drop_vhost, name)
        shutil.rmtree(made.state, ignore_errors=True)


def attempt(bed: Bed, order: Order | None = None) -> Try:
    """Send the file, with a signal on the way where one is ordered, and return how that went."""
    out, err = bed.servers.folder / "send.out", bed.servers.folder / "send.err"
    before = len(bed.noted())
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "ops.cli", "send", str(bed.file), "--yes", "--json"],
            cwd=ROOT,
            env=bed.environ,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
    began = _used(bed.servers, 0.0)
    published = began
    while True:
        pid, ended, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        noted = bed.noted()
        if published is began and len(noted) > before:
            published = _used(bed.servers, cpu_s(process_table(), [process.pid]))
        if order is not None and len(noted) > before and noted[-1] >= order.rows:
            process.send_signal(order.number)
            order = None
        time.sleep(LOOK_EVERY_S)
    process.returncode = os.waitstatus_to_exitcode(ended)
    done = _used(bed.servers, usage.ru_utime + usage.ru_stime)
    told = out.read_text(encoding="utf-8")
    return Try(
        status=process.returncode,
        said=err.read_text(encoding="utf-8"),
        told=json.loads(told) if told else None,
        peak_mib=usage.ru_maxrss / _KIB,
        checking=published - began,
        publishing=done - published,
    )


def _used(servers: LocalStack, client: float) -> Used:
    table = process_table()
    rabbitmq = cpu_s(table, servers.rabbitmq.pids)
    postgresql = cpu_s(table, servers.postgresql.pids)
    ours = client + rabbitmq + postgresql + time.process_time()
    return Used(
        wall=time.monotonic(),
        client=client,
        rabbitmq=rabbitmq,
        postgresql=postgresql,
        others=machine_busy_s() - ours,
    )
