"""What a row costs `payouts send`, step by step: CPU microseconds of one process."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from ops.cli.sending.check import BATCH
from ops.cli.sending.columns import read_columns
from ops.cli.sending.csv_file import CsvFile
from ops.cli.sending.duplicates import Duplicates
from ops.cli.sending.publish import FLIGHTS, outgoing
from ops.cli.sending.rows import Defaults, RowReader
from payouts.domain.commands import AccountRules, Command
from payouts.domain.values import AccountName
from payouts.messaging import (
    BrokerConnection,
    CommandPublisher,
    CommandStream,
    ConfirmedPublisher,
    Outgoing,
    Topology,
)

MOST: Final = 50_000
_CONNECT_S: Final = 10.0
_ACCOUNT: Final = AccountName("default")
_RULES: Final[Mapping[str, AccountRules]] = {
    _ACCOUNT: AccountRules(name=_ACCOUNT, shortcode="600000", organisation="ORG"),
}

T = TypeVar("T")


class Budget:
    """Takes down what each step costs a row."""

    def __init__(self) -> None:
        self.cpu_us: dict[str, float] = {}

    @contextmanager
    def step(self, name: str, rows: int) -> Iterator[None]:
        """Time what is done within, for so many rows."""
        began = time.process_time()
        yield
        self.cpu_us[name] = (time.process_time() - began) / rows * 1e6


async def budget(file: Path, amqp_url: str) -> dict[str, float]:
    """Return the steps' costs on the first rows of a file, published to a queue of its own.

    The last step is not taken any more: it is how commands are published one by one, each with a
    task and a confirm of its own, which is what the stream is to be compared with.
    """
    taken = Budget()
    commands = _read(file, taken)
    topology = Topology(prefix="budget")
    connection = BrokerConnection(amqp_url, name="payouts bench")
    await connection.open(within_s=_CONNECT_S)
    try:
        await topology.declare(connection, [_ACCOUNT])
        with taken.step("publish and confirm: a stream", len(commands)):
            await _stream(connection, topology, commands)
        with taken.step("publish and confirm: a task for each (not used)", len(commands)):
            await _one_by_one(connection, topology, commands)
    finally:
        await connection.close()
    return taken.cpu_us


def _read(path: Path, taken: Budget) -> list[Outgoing]:
    with CsvFile(path) as file, Duplicates() as duplicates:
        count = sum(1 for _ in islice(file.rows(), MOST))
        with taken.step("read a row", count):
            rows = list(islice(file.rows(), MOST))
        columns, _ = read_columns(file.header)
        reader = RowReader(columns, Defaults(run_id="run-1", account=_ACCOUNT), _RULES)
        with taken.step("check a row", count):
            valid = [(row.line, command) for row in rows if (command := reader.read(row)[0])]
        with taken.step("find what stands there twice", count):
            _find_twice(duplicates, valid)
        with taken.step("make the command again", count):
            made = [outgoing(reader, row) for row in rows]
    return made


def _find_twice(duplicates: Duplicates, valid: Sequence[tuple[int, Command]]) -> None:
    for batch in _batches(valid):
        duplicates.add_ids([(line, command.payout_id) for line, command in batch])
        duplicates.add_payments(batch)
    for repeated in (duplicates.same_ids(), duplicates.same_payments()):
        deque(repeated, maxlen=0)


async def _stream(
    connection: BrokerConnection, topology: Topology, commands: Sequence[Outgoing]
) -> None:
    stream = CommandStream(connection, topology)
    for batch in _batches(commands):
        if stream.published - stream.confirmed >= FLIGHTS * BATCH:
            await stream.settle(stream.published - FLIGHTS * BATCH // 2)
        await stream.publish(batch)
    await stream.settle(len(commands))
    await stream.close()


async def _one_by_one(
    connection: BrokerConnection, topology: Topology, commands: Sequence[Outgoing]
) -> None:
    confirmed = ConfirmedPublisher(connection)
    publisher = CommandPublisher(confirmed, topology)
    for batch in _batches(commands):
        await asyncio.gather(
            *(publisher.publish(_ACCOUNT, one.body, message_id=one.message_id) for one in batch)
        )
    await confirmed.close()


def _batches(things: Sequence[T]) -> Iterator[Sequence[T]]:
    for begin in range(0, len(things), BATCH):
        yield things[begin : begin + BATCH]
