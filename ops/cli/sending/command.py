"""`payouts send FILE.csv`: check all, show, ask, publish, and follow where that is wanted."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from ops.cli.exits import CommandError, Exit, UsageError
from ops.cli.following import follow
from ops.cli.links import Books, open_books, open_publisher
from ops.cli.progress import progress
from ops.cli.screen import Screen
from ops.cli.sending import telling
from ops.cli.sending.check import Check, Findings
from ops.cli.sending.columns import Columns, read_columns
from ops.cli.sending.csv_file import CsvFile
from ops.cli.sending.publish import Published, publish_rows
from ops.cli.sending.repeats import Lookup
from ops.cli.sending.rows import Defaults, RowReader, derived_run_id
from ops.cli.words import count
from payouts.domain.commands import AccountRules
from payouts.domain.values import ID_PATTERN, PayoutId, RunId
from payouts.settings import RehearsalSettings, RuleSettings, SendSettings
from payouts.settings.loading import Loading
from payouts.storage.oversight import Earlier, Wanted

_DATABASE: Final = ("PAYOUTS_DATABASE_URL", "PAYOUTS_DATABASE_URL_FILE")

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
        max_errors: How many problems to list; all are counted.
        json: Write one JSON object.
    """

    run_id: str | None = None
    account: str = "default"
    dry_run: bool = False
    yes: bool = False
    wait: bool = False
    deadline: Positive = None
    max_errors: Lines = 20
    json: bool = False

    def check(self) -> None:
        """Raise UsageError where the options do not fit each other."""
        if self.run_id is not None and ID_PATTERN.fullmatch(self.run_id) is None:
            raise UsageError("--run-id must be 1-64 of A-Z a-z 0-9 . _ -.")
        if self.deadline is not None and not self.wait:
            raise UsageError("--deadline is for --wait.")


async def send(
    file: Path, /, *, options: Annotated[Options | None, Parameter(name="*")] = None
) -> Exit:
    """Publish one payout command per row of a CSV file; a file sent again sends nothing twice.

    Columns: amount and msisdn; if wanted payout_id, command_id, account, currency, run_id,
    remark, occasion, not_after and metadata.KEY. Every row is checked before anything is
    published. Without a payout_id column each row gets an id made of run, line and content: the
    same file pays once, but an edited file is a new run, and each of its rows a new payment.

    Args:
        file: The file; UTF-8, with a header, separated by comma, semicolon, tab or bar.
        options: How to send it.
    """
    wanted = options or Options()
    wanted.check()
    with CsvFile(file) as table:
        columns, problems = read_columns(table.header)
        if problems:
            raise CommandError(f"{file}, line 1: {'; '.join(problems)}.")
        if wanted.run_id is not None and "run_id" in columns:
            raise UsageError("The file names run_id itself; leave --run-id away.")
        run_id = wanted.run_id or derived_run_id(table.digest())
        defaults = Defaults(run_id=run_id, account=wanted.account)
        return await Sending(file, table, columns, defaults, wanted).run()


class Sending:
    """One file on its way."""

    def __init__(
        self, path: Path, table: CsvFile, columns: Columns, defaults: Defaults, options: Options
    ) -> None:
        self._path = path
        self._table = table
        self._columns = columns
        self._defaults = defaults
        self._options = options
        self._screen = Screen()

    async def run(self) -> Exit:
        """Do what the options say."""
        if self._options.dry_run:
            return await self._rehearse()
        settings = SendSettings.load(os.environ)
        reader = self._reader({name: one.rules(name) for name, one in settings.accounts.items()})
        async with open_books(settings.database_url) as books:
            lookup = _lookup(books, settings.send_repeat_days)
            findings = await self._check(reader, books, lookup)
            if findings.problem_count:
                return self._refuse(findings)
            self._announce(findings)
            if findings.new_count and not self._agreed(findings):
                self._screen.say("Nothing was sent.")
                return Exit.FAILED
            published = Published(skipped=findings.rows)
            if findings.new_count:
                published = await self._publish(settings, reader, books, findings)
            if not self._options.wait:
                self._tell(findings, published)
                return Exit.DONE
            return await self._follow(books, findings, published)

    async def _rehearse(self) -> Exit:
        """Check everything that can be checked; the database too, where it is configured."""
        loading = Loading(os.environ)
        accounts = loading.accounts(RuleSettings) or {}
        loading.finish()
        reader = self._reader({name: one.rules(name) for name, one in accounts.items()})
        async with AsyncExitStack() as stack:
            books, lookup = None, None
            if any(os.environ.get(name) for name in _DATABASE):
                settings = RehearsalSettings.load(os.environ)
                books = await stack.enter_async_context(open_books(settings.database_url))
                lookup = _lookup(books, settings.send_repeat_days)
            else:
                self._screen.say(
                    "PAYOUTS_DATABASE_URL is not set: not compared with the payouts that exist."
                )
            findings = await self._check(reader, books, lookup)
        if findings.problem_count:
            return self._refuse(findings)
        self._announce(findings)
        self._tell(findings, None)
        self._screen.say("Dry run: nothing was published.")
        return Exit.DONE

    def _reader(self, rules: Mapping[str, AccountRules]) -> RowReader:
        return RowReader(self._columns, self._defaults, rules)

    async def _check(
        self, reader: RowReader, books: Books | None, lookup: Lookup | None
    ) -> Findings:
        check = Check(self._table, reader, limit=self._options.max_errors)
        with progress(self._screen, "Checking", None) as advance:
            existing = books.existing if books else None
            return await check.run(existing, advance, lookup=lookup)

    def _refuse(self, findings: Findings) -> Exit:
        for line in telling.problem_lines(findings):
            self._screen.say(line)
        self._screen.complain(
            f"{self._path} has {count(findings.problem_count)} problems in {count(findings.rows)}"
            " rows; nothing was published."
            if findings.problem_count > 1
            else f"{self._path} has a problem; nothing was published."
        )
        if self._options.json:
            self._screen.json(telling.record(findings, None, self._run_id(findings)))
        return Exit.FAILED

    def _announce(self, findings: Findings) -> None:
        for line in telling.warning_lines(
            findings, derived="payout_id" not in self._columns, rows=findings.rows
        ):
            self._screen.say(line, style="yellow")

    def _agreed(self, findings: Findings) -> bool:
        question = f"Send {telling.sums(findings.new)}?"
        return self._screen.confirm(question, yes=self._options.yes)

    async def _publish(
        self, settings: SendSettings, reader: RowReader, books: Books, findings: Findings
    ) -> Published:
        async with open_publisher(settings) as publisher:
            with progress(self._screen, "Publishing", findings.rows) as advance:
                return await publish_rows(self._table, reader, publisher, books.existing, advance)

    def _run_id(self, findings: Findings) -> str:
        return next(iter(findings.run_ids), self._defaults.run_id)

    def _tell(self, findings: Findings, published: Published | None) -> None:
        run_id = self._run_id(findings)
        if self._options.json:
            self._screen.json(telling.record(findings, published, run_id))
        else:
            self._screen.show(telling.summary(findings, published, run_id))

    async def _follow(self, books: Books, findings: Findings, published: Published) -> Exit:
        run_id = RunId(self._run_id(findings))
        self._screen.say(f"{count(published.published)} payouts published; following {run_id}.")
        outcome = await follow(
            self._screen,
            books.reader,
            run_id,
            expected=findings.rows,
            deadline_s=self._options.deadline,
        )
        if self._options.json:
            record = telling.record(findings, published, run_id)
            self._screen.json({**record, "run": outcome.record})
        else:
            self._screen.show(outcome.table)
        return outcome.exit


def _lookup(books: Books, days: int) -> Lookup | None:
    """Return how to look for payouts of the last days; None: it is switched off."""
    if not days:
        return None
    since = books.clock.now() - timedelta(days=days)

    async def lookup(wanted: Sequence[Wanted]) -> Mapping[PayoutId, Earlier]:
        return await books.oversight.repeats(wanted, since=since)

    return lookup
