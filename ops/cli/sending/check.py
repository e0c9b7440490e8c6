"""The first pass over a file: every row is checked before anything is published."""

from __future__ import annotations

import asyncio
from bisect import insort
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter, itemgetter
from typing import Final, NamedTuple, TypeVar

from ops.cli.sending.csv_file import CsvFile, Row
from ops.cli.sending.duplicates import Duplicates
from ops.cli.sending.repeats import Lookup, Repeat, Repeats
from ops.cli.sending.rows import Problem, RowReader
from payouts.domain.commands import Command, differences
from payouts.domain.payout import Payout
from payouts.domain.values import PayoutId

BATCH: Final = 500
_LISTED_WARNINGS: Final = 10

T = TypeVar("T")
Existing = Callable[[Sequence[PayoutId]], Awaitable[Mapping[PayoutId, Payout]]]


class _Valid(NamedTuple):
    position: int
    line: int
    command: Command


@dataclass(slots=True, kw_only=True)
class Sum:
    """How many payouts, and how much money in minor units."""

    count: int = 0
    minor: int = 0

    def add(self, command: Command) -> None:
        """Count one payout in."""
        self.count += 1
        self.minor += command.amount_minor


@dataclass(slots=True, kw_only=True)
class Findings:
    """What the check found; lists are bounded by `limit`, counts are not.

    `new`, `sent` and `known` are sums by account and currency: what would be published, what an
    interrupted sending has published and the database does not know yet, and what it knows.
    `states` counts known ones by state; `known_rows` has a byte for each row, 1 where it is known.
    """

    limit: int
    run_ids: set[str] = field(default_factory=set)
    rows: int = 0
    new: dict[tuple[str, str], Sum] = field(default_factory=dict)
    sent: dict[tuple[str, str], Sum] = field(default_factory=dict)
    known: dict[tuple[str, str], Sum] = field(default_factory=dict)
    states: Counter[str] = field(default_factory=Counter)
    known_rows: bytearray = field(default_factory=bytearray)
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0
    lookalikes: list[tuple[int, int]] = field(default_factory=list)
    lookalike_count: int = 0
    repeats: list[Repeat] = field(default_factory=list)
    repeat_count: int = 0

    def complain(self, problem: Problem) -> None:
        """Count a problem, and keep it if it is among the first ones of the file."""
        self.problem_count += 1
        _keep(self.problems, problem, self.limit, attrgetter("line"))

    def warn(self, line: int, earlier: int) -> None:
        """Count a row that pays the same amount to the same receiver as an earlier one."""
        self.lookalike_count += 1
        _keep(self.lookalikes, (line, earlier), _LISTED_WARNINGS, itemgetter(0))

    def repeat(self, found: Repeat) -> None:
        """Count a row that pays what a payout of late has paid, or is about to."""
        self.repeat_count += 1
        if len(self.repeats) < _LISTED_WARNINGS:
            self.repeats.append(found)

    @property
    def new_count(self) -> int:
        """How many payouts would be published."""
        return sum(one.count for one in self.new.values())

    @property
    def known_count(self) -> int:
        """How many payouts are in the database already, with the same content."""
        return sum(one.count for one in self.known.values())


class Check:
    """Reads, validates and compares all rows of a file in bounded memory.

    Args:
        file: the file.
        reader: makes commands of its rows.
        limit: how many problems to keep; all are counted.
        sent: so many rows, from the first on, were published before and are not new.
    """

    def __init__(self, file: CsvFile, reader: RowReader, *, limit: int, sent: int = 0) -> None:
        self._file = file
        self._reader = reader
        self._sent = sent
        self.findings = Findings(limit=limit)

    async def run(
        self,
        existing: Existing | None,
        advance: Callable[[int], None],
        *,
        lookup: Lookup | None = None,
    ) -> Findings:
        """Return what was found; `existing` None leaves the database out.

        Args:
            existing: gives the payouts that the database knows of some ids.
            advance: told how many more rows are done.
            lookup: gives payouts of late that new rows look like; None: nobody looks.
        """
        repeats = Repeats(lookup, self.findings.repeat) if lookup else None
        with Duplicates() as duplicates:
            batches = _looked_up(self._batches(duplicates, advance), existing or _nothing)
            async with aclosing(batches):
                async for valid, known in batches:
                    new = [one for one in valid if self._compare(one, known)]
                    if repeats is not None:
                        await repeats.add([(one.line, one.command) for one in new])
            self._tell_twice(duplicates)
        if repeats is not None:
            await repeats.finish()
        if len(self.findings.run_ids) > 1:
            text = "names more than one run_id; send one file per run"
            self.findings.complain(Problem(line=0, column="run_id", text=text))
        return self.findings

    def _batches(
        self, duplicates: Duplicates, advance: Callable[[int], None]
    ) -> Iterator[list[_Valid]]:
        """Yield the rows that may be paid; tell what is wrong with the others, line by line."""
        for rows in batches_of(self._file):
            ids: list[tuple[int, str]] = []
            valid: list[_Valid] = []
            for position, row in enumerate(rows, self.findings.rows):
                command, fields, problems = self._reader.read(row)
                payout_id = fields.get("payout_id")
                if isinstance(payout_id, str):
                    ids.append((row.line, payout_id))
                for problem in problems:
                    self.findings.complain(problem)
                if command is not None:
                    valid.append(_Valid(position, row.line, command))
            self.findings.rows += len(rows)
            self.findings.known_rows += bytes(len(rows))
            duplicates.add_ids(ids)
            duplicates.add_payments([(one.line, one.command) for one in valid])
            advance(len(rows))
            yield valid

    def _tell_twice(self, duplicates: Duplicates) -> None:
        for line, first in duplicates.same_ids():
            text = f"the same as in line {first}; each payout needs an id of its own"
            self.findings.complain(Problem(line=line, column="payout_id", text=text))
        for line, first in duplicates.same_payments():
            self.findings.warn(line, first)

    def _compare(self, one: _Valid, known: Mapping[PayoutId, Payout]) -> bool:
        """Count the row in where it belongs, and tell whether it makes a new payout."""
        findings, command = self.findings, one.command
        if len(findings.run_ids) <= 1 and command.run_id is not None:
            findings.run_ids.add(command.run_id)
        key = (command.account, command.currency)
        payout = known.get(command.payout_id)
        if payout is None:
            sent = one.position < self._sent
            parts = findings.sent if sent else findings.new
            parts.setdefault(key, Sum()).add(command)
            return not sent
        names = differences(command, payout)
        if names:
            text = (
                f"this payout exists with another {', '.join(names)}; nothing of it is changed."
                " Use a new payout_id for a new payment"
            )
            findings.complain(Problem(line=one.line, column="payout_id", text=text))
            return False
        findings.known_rows[one.position] = 1
        findings.known.setdefault(key, Sum()).add(command)
        findings.states[payout.state.value] += 1
        return False


async def _nothing(_: Sequence[PayoutId]) -> Mapping[PayoutId, Payout]:
    return {}


async def _looked_up(
    batches: Iterable[list[_Valid]], existing: Existing
) -> AsyncGenerator[tuple[list[_Valid], Mapping[PayoutId, Payout]], None]:
    """Yield each batch with what the database knows; it is asked while the next one is read."""
    before: tuple[list[_Valid], asyncio.Future[Mapping[PayoutId, Payout]]] | None = None
    try:
        for valid in batches:
            if before is not None:
                yield before[0], await before[1]
            ids = [one.command.payout_id for one in valid]
            before = valid, asyncio.ensure_future(existing(ids))
            await asyncio.sleep(0)  # The question goes out before the next batch is read.
        if before is not None:
            yield before[0], await before[1]
    finally:
        if before is not None:
            before[1].cancel()
            await asyncio.gather(before[1], return_exceptions=True)


def _keep(kept: list[T], one: T, limit: int, line: Callable[[T], int]) -> None:
    """Put one in by its line, whatever came before it; only the first ones are kept."""
    if len(kept) < limit or (kept and line(one) < line(kept[-1])):
        insort(kept, one, key=line)
        del kept[limit:]


def batches_of(file: CsvFile) -> Iterator[list[Row]]:
    """Yield the rows of a file a bounded number at a time, in its order."""
    rows = file.rows()
    while batch := list(islice(rows, BATCH)):
        yield batch
