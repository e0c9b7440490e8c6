"""The first pass over a file: every row is checked before anything is published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ops.cli.sending.csv_file import CsvFile
from ops.cli.sending.duplicates import Duplicates
from ops.cli.sending.repeats import Lookup, Repeat, Repeats
from ops.cli.sending.rows import Problem, RowReader
from payouts.domain.commands import Command, differences
from payouts.domain.payout import Payout
from payouts.domain.values import PayoutId

BATCH: Final = 500
_LISTED_WARNINGS: Final = 10

Existing = Callable[[Sequence[PayoutId]], Awaitable[Mapping[PayoutId, Payout]]]
Numbered = tuple[int, Command, dict[str, object]]


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

    `new` and `known` are sums by account and currency; `states` counts known ones by state.
    """

    limit: int
    run_ids: set[str] = field(default_factory=set)
    rows: int = 0
    new: dict[tuple[str, str], Sum] = field(default_factory=dict)
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
    """Reads, validates and compares all rows of a file in bounded memory."""

    def __init__(self, file: CsvFile, reader: RowReader, *, limit: int) -> None:
        self._file = file
        self._reader = reader
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
            for batch in self._batches(duplicates):
                known = await existing([one.payout_id for _, one, _ in batch]) if existing else {}
                for line, command, _ in batch:
                    payout = known.get(command.payout_id)
                    self._compare(line, command, payout)
                    if repeats is not None and payout is None:
                        await repeats.add(line, command)
                advance(len(batch))
        if repeats is not None:
            await repeats.finish()
        if len(self.findings.run_ids) > 1:
            text = "names more than one run_id; send one file per run"
            self.findings.complain(Problem(line=0, column="run_id", text=text))
        return self.findings

    def _batches(self, duplicates: Duplicates) -> Iterator[list[Numbered]]:
        batch: list[Numbered] = []
        for row in self._file.rows():
            self.findings.rows += 1
            command, fields, problems = self._reader.read(row)
            for problem in problems:
                self.findings.complain(problem)
            if not self._is_first(duplicates, row.line, fields) or command is None:
                continue
            earlier = duplicates.same_payment(command, row.line)
            if earlier is not None:
                self.findings.warn(row.line, earlier)
            if len(self.findings.run_ids) <= 1 and command.run_id is not None:
                self.findings.run_ids.add(command.run_id)
            batch.append((row.line, command, fields))
            if len(batch) == BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    def _is_first(self, duplicates: Duplicates, line: int, fields: Mapping[str, object]) -> bool:
        payout_id = fields.get("payout_id")
        if not isinstance(payout_id, str):
            return True
        earlier = duplicates.same_id(payout_id, line)
        if earlier is None:
            return True
        text = f"the same as in line {earlier}; each payout needs an id of its own"
        self.findings.complain(Problem(line=line, column="payout_id", text=text))
        return False

    def _compare(self, line: int, command: Command, payout: Payout | None) -> None:
        key = (command.account, command.currency)
        if payout is None:
            self.findings.new.setdefault(key, Sum()).add(command)
            return
        names = differences(command, payout)
        if names:
            text = (
                f"this payout exists with another {', '.join(names)}; nothing of it is changed."
                " Use a new payout_id for a new payment"
            )
            self.findings.complain(Problem(line=line, column="payout_id", text=text))
            return
        self.findings.known.setdefault(key, Sum()).add(command)
        self.findings.states[payout.state.value] += 1


def batches_of(file: CsvFile, reader: RowReader) -> Iterator[list[Numbered] | None]:
    """Yield the rows again in batches, for publishing; None if one is not valid any more."""
    batch: list[Numbered] = []
    for row in file.rows():
        command, fields, _ = reader.read(row)
        if command is None:
            yield None
            return
        batch.append((row.line, command, fields))
        if len(batch) == BATCH:
            yield batch
            batch = []
    yield batch
