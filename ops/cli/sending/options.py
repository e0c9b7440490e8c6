"""What a person can say about how a file is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from ops.cli.exits import UsageError
from payouts.domain.values import ID_PATTERN

Positive = Annotated[float | None, Parameter(validator=Number(gt=0))]
Lines = Annotated[int, Parameter(validator=Number(gte=1, lte=100_000))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a person wants the file sent.

    Args:
        run_id: The run of rows that name none; by default made of the file's content.
        account: The paying account of rows that name none.
        dry_run: Check and show everything, publish nothing.
        yes: Do not ask.
        wait: Follow the run until every payout has ended; exit 3 if not all succeeded.
        deadline: With --wait: stop waiting after so many seconds, with exit 3.
        restart: Forget how far an interrupted sending of this file, or of an earlier version of
            it, has come; what the database does not know is published.
        max_errors: How many problems to list; all are counted.
        json: Write one JSON object.
    """

    run_id: str | None = None
    account: str = "default"
    dry_run: bool = False
    yes: bool = False
    wait: bool = False
    deadline: Positive = None
    restart: bool = False
    max_errors: Lines = 20
    json: bool = False

    def check(self) -> None:
        """Raise UsageError where the options do not fit each other."""
        if self.run_id is not None and ID_PATTERN.fullmatch(self.run_id) is None:
            raise UsageError("--run-id must be 1-64 of A-Z a-z 0-9 . _ -.")
        if self.deadline is not None and not self.wait:
            raise UsageError("--deadline is for --wait.")
