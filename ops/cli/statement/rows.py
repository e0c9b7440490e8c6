"""The lines of a statement in batches, with the time that they span."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from ops.cli.statement.file import StatementFile
from ops.cli.statement.findings import Finding, Findings, Kind
from ops.cli.statement.lines import Line, LineReader, Unreadable


@dataclass(slots=True, kw_only=True)
class Rows:
    """Reads a file once. `count` are all its rows; `first` and `last` are None before any line."""

    file: StatementFile
    reader: LineReader
    findings: Findings
    count: int = 0
    first: datetime | None = None
    last: datetime | None = None

    def batches(self, size: int) -> Iterator[list[Line]]:
        """Yield the lines in batches; what cannot be read is told as a finding."""
        batch: list[Line] = []
        for number, row in self.file.rows():
            self.count += 1
            line = self.reader.read(number, self.file.layout.cells(row))
            if isinstance(line, Unreadable):
                unreadable = Finding(
                    kind=Kind.UNREADABLE, minor=0, line=line.number, detail=line.why
                )
                self.findings.tell(unreadable)
            elif line is not None:
                self._span(line.at)
                batch.append(line)
                if len(batch) == size:
                    yield batch
                    batch = []
        if batch:
            yield batch

    def _span(self, at: datetime) -> None:
        self.first = at if self.first is None else min(self.first, at)
        self.last = at if self.last is None else max(self.last, at)
