"""The first pass over a file: every row is checked before anything is published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple

from ops.cli.sending.csv_file import CsvFile, Row
from ops.cli.sending.duplicates import Duplicates
from ops.cli.sending.repeats import Lookup, Repeat, Repeats
from ops.cli.sending.rows import Problem, RowReader
from payouts.domain.commands import Command, differences
from payouts.domain.payout import Payout
from payouts.domain.values import PayoutId

BATCH: Final = 500
_LISTED_WARNINGS: Final = 10

Existing = Callable[[Sequence[PayoutId]], Awaitable[Mapping[PayoutId, Payout]]]


class _Valid(NamedTuple):
    line: int
    command: Command
    sent: bool


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
    `states` counts known ones by state.
    """

    limit: int
    run_ids: set[str] = field(default_factory=set)
    rows: int = 0
    new: dict[tuple[str, str], Sum] = field(default_factory=dict)
    sent: dict[tuple[str, str], Sum] = field(default_factory=dict)
    known: dict[tuple[str, str], Sum] = field(default_factory=dict)
    states: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0
    lookalikes: list[tuple[int, int]] = field(default_factory=list)
    lookalike_count: int = 0
    repeats: list[Repeat] = field(default_factory=list)
    repeat_count: int = 0

    def complain(self, problem: Problem) -> None:
        """Count a problem, and keep it while there is room."""
        self.problem_count += 1
        if len(self.problems) < self.limit:
            self.problems.append(problem)

    def warn(self, line: int, earlier: int) -> None:
        """Count a row that pays the same amount to the same receiver as an earlier one."""
        self.lookalike_count += 1
        if len(self.lookalikes) < _LISTED_WARNINGS:
            self.lookalikes.append((line, earlier))

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
            for rows in batches_of(self._file):
                valid = self._valid(rows, duplicates)
                ids = [one.command.payout_id for one in valid]
                known = await existing(ids) if existing else {}
                for one in valid:
                    payout = known.get(one.command.payout_id)
                    self._compare(one, payout)
                    if repeats is not None and payout is None and not one.sent:
                        await repeats.add(one.line, one.command)
                advance(len(rows))
        if repeats is not None:
            await repeats.finish()
        if len(self.findings.run_ids) > 1:
            text = "names more than one run_id; send one file per run"
            self.findings.complain(Problem(line=0, column="run_id", text=text))
        return self.findings

    def _valid(self, rows: Sequence[Row], duplicates: Duplicates) -> list[_Valid]:
        """Return the rows that may be paid; tell what is wrong with the others, line by line."""
        findings = self.findings
        found = [(row.line, *self._reader.read(row)) for row in rows]
        ids = [(line, fields.get("payout_id")) for line, _, fields, _ in found]
        earlier = duplicates.same_ids([(line, one) for line, one in ids if isinstance(one, str)])
        valid: list[_Valid] = []
        for position, (line, command, _, problems) in enumerate(found, findings.rows):
            for problem in problems:
                findings.complain(problem)
            if line in earlier:
                text = f"the same as in line {earlier[line]}; each payout needs an id of its own"
                findings.complain(Problem(line=line, column="payout_id", text=text))
            elif command is not None:
                valid.append(_Valid(line, command, position < self._sent))
                if len(findings.run_ids) <= 1 and command.run_id is not None:
                    findings.run_ids.add(command.run_id)
        findings.rows += len(rows)
        paid_before = duplicates.same_payments([(one.line, one.command) for one in valid])
        for line, first in paid_before.items():
            findings.warn(line, first)
        return valid

    def _compare(self, one: _Valid, payout: Payout | None) -> None:
        command = one.command
        key = (command.account, command.currency)
        if payout is None:
            parts = self.findings.sent if one.sent else self.findings.new
            parts.setdefault(key, Sum()).add(command)
            return
        names = differences(command, payout)
        if names:
            text = (
                f"this payout exists with another {', '.join(names)}; nothing of it is changed."
                " Use a new payout_id for a new payment"
            )
            self.findings.complain(Problem(line=one.line, column="payout_id", text=text))
            return
        self.findings.known.setdefault(key, Sum()).add(command)
        self.findings.states[payout.state.value] += 1


def batches_of(file: CsvFile) -> Iterator[list[Row]]:
    """Yield the rows of a file a bounded number at a time, in its order."""
    rows = file.rows()
    while batch := list(islice(rows, BATCH)):
        yield batch
