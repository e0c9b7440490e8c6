"""Which rows lie in the queue, and how often: taken out of it one by one."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiormq.abc import DeliveredMessage

from ops.bench.errors import BenchError
from ops.bench.load import QUEUE, channel_to

_PREFIX: Final = "bench-"
_MOST: Final = 255
_STILL_AFTER_S: Final = 10.0
_HEADER: Final = ("payout_id", "msisdn", "amount", "command_id", "remark", "metadata.department")
_DEPARTMENTS: Final = ("Kitchen", "Stores", "Transport", "Office", "Field")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How often each row came, by its number; more than 255 times count as 255."""

    times: bytes

    @property
    def missing(self) -> int:
        """How many rows did not come."""
        return self.times.count(0)

    @property
    def repeated(self) -> Sequence[int]:
        """Which rows came more than once."""
        return [row for row, times in enumerate(self.times) if times > 1]


def write_file(path: Path, rows: int) -> None:
    """Write a file of so many payouts, such as a payroll exports them."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_HEADER)
        for row in range(rows):
            amount = f"{1000 + row % 49_000}.{row % 100:02}"
            department = _DEPARTMENTS[row % len(_DEPARTMENTS)]
            msisdn = f"2547{row:08}"
            writer.writerow(
                (f"{_PREFIX}{row}", msisdn, amount, "SalaryPayment", "November", department)
            )


async def take(amqp_url: str, rows: int, *, at_least: int) -> Tally:
    """Take all there is out of the queue of commands and count it by row.

    Args:
        amqp_url: where.
        rows: of the file.
        at_least: messages that must come; then it goes on until no more do.

    Raises:
        BenchError: a message is of no row, or too few come.
    """
    times = bytearray(rows)
    taken = 0
    moved = asyncio.Event()

    async def count(message: DeliveredMessage) -> None:
        nonlocal taken
        name = message.header.properties.message_id or ""
        row = int(name.removeprefix(_PREFIX))
        times[row] = min(_MOST, times[row] + 1)
        taken += 1
        moved.set()

    async with channel_to(amqp_url) as channel:
        await channel.basic_consume(QUEUE, count, no_ack=True)
        while True:
            moved.clear()
            try:
                async with asyncio.timeout(_STILL_AFTER_S):
                    await moved.wait()
            except TimeoutError:
                break
    if taken < at_least:
        raise BenchError(f"{taken:,} commands came of {at_least:,}.")
    return Tally(times=bytes(times))
