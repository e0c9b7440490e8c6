"""`payouts send FILE.csv`: check all, show, ask, publish, and follow where that is wanted."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, closing, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from ops.cli.exits import CommandError, Exit, UsageError
from ops.cli.following import follow
from ops.cli.links import Books, open_books, open_stream
from ops.cli.progress import progress
from ops.cli.screen import Screen
from ops.cli.sending import telling
from ops.cli.sending.check import Check, Findings
from ops.cli.sending.columns import Columns, read_columns
from ops.cli.sending.csv_file import CsvFile
from ops.cli.sending.interruption import stopping
from ops.cli.sending.journal import Errand, Journal, UnkeptJournal
from ops.cli.sending.options import Options
from ops.cli.sending.publish import Publication, Published
from ops.cli.sending.repeats import Lookup
from ops.cli.sending.resuming import broker_of, find_journal, interrupted
from ops.cli.sending.rows import Defaults, RowReader, derived_run_id
from ops.cli.words import count
from payouts.domain.commands import AccountRules
from payouts.domain.values import PayoutId, RunId
from payouts.runtime import collecting_seldom
from payouts.settings import RehearsalSettings, RuleSettings, SendSettings
from payouts.settings.groups import SendingSettings
from payouts.settings.loading import Loading
from payouts.storage.oversight import Earlier, Wanted

_DATABASE: Final = ("PAYOUTS_DATABASE_URL", "PAYOUTS_DATABASE_URL_FILE")


async def send(
    file: Path, /, *, options: Annotated[Options | None, Parameter(name="*")] = None
) -> Exit:
    """Publish one payout command per row of a CSV file; a file sent again sends nothing twice.

    Columns: amount and msisdn; if wanted payout_id, command_id, account, currency, run_id,
    remark, occasion, not_after and metadata.KEY. Every row is checked before anything is
    published. Without a payout_id column each row gets an id made of run, line and content: the
    same file pays once, but an edited file is a new run, and each of its rows a new payment.

    Ctrl-C stops in order: what was published is confirmed, and written down. Sent again, the
    file goes on from there.

    Args:
        file: The file; UTF-8, with a header, separated by comma, semicolon, tab or bar.
        options: How to send it.
    """
    wanted = options or Options()
    wanted.check()
    with CsvFile(file) as table, collecting_seldom():
        columns, problems = read_columns(table.header)
        if problems:
            raise CommandError(f"{file}, line 1: {'; '.join(problems)}.")
        if wanted.run_id is not None and "run_id" in columns:
            raise UsageError("The file names run_id itself; leave --run-id away.")
        digest = table.digest()
        run_id = wanted.run_id or derived_run_id(digest)
        defaults = Defaults(run_id=run_id, account=wanted.account)
        return await Sending(file, table, columns, defaults, wanted).run(digest)


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

    async def run(self, digest: str) -> Exit:
        """Do what the options say.

        Args:
            digest: of the file's content.
        """
        errand = Errand(
            file=str(self._path.resolve()),
            digest=digest,
            run_id=self._defaults.run_id,
            account=self._defaults.account,
        )
        if self._options.dry_run:
            return await self._rehearse(errand)
        settings = SendSettings.load(os.environ)
        broker = broker_of(settings.amqp_url.get_secret_value(), settings.prefix)
        errand = replace(errand, broker=broker)
        with closing(self._journal(settings, errand)) as journal:
            async with open_books(settings.database_url) as books:
                return await self._send(settings, books, journal)

    async def _send(self, settings: SendSettings, books: Books, journal: Journal) -> Exit:
        reader = self._reader({name: one.rules(name) for name, one in settings.accounts.items()})
        lookup = _lookup(books, settings.send_repeat_days)
        begun = journal.standing
        findings = await self._check(reader, books, lookup, sent=begun.rows)
        if findings.problem_count:
            return self._refuse(findings)
        if begun.at is not None or not begun.stopped:
            self._screen.say(telling.resumption(begun, findings.rows), style="yellow")
        self._announce(findings)
        if findings.new_count and not self._agreed(findings):
            self._screen.say("Nothing was sent.")
            return Exit.FAILED
        published = Published()
        if findings.new_count:
            published = await self._publish(settings, reader, findings, journal)
        journal.finish()
        if not self._options.wait:
            self._tell(findings, published)
            return Exit.DONE
        return await self._follow(books, findings, published)

    def _journal(self, settings: SendSettings, errand: Errand) -> Journal:
        """Return the journal of this sending; one that keeps nothing where there is no place."""
        place = "~/.local/state"
        try:
            folder = settings.state_folder(os.environ)
            place = str(folder)
            return find_journal(folder, errand, restart=self._options.restart)
        except (OSError, RuntimeError) as error:
            cause = error.strerror if isinstance(error, OSError) else "this user has no home"
            if settings.send_state is not None:
                raise UsageError(f"PAYOUTS_SEND_STATE: {place} cannot be used: {cause}.") from None
            self._screen.say(
                f"How far this comes cannot be kept in {place} ({cause}): if it is interrupted,"
                " rows that the database does not know by then are published again, under the"
                " same ids. Name a folder in PAYOUTS_SEND_STATE.",
                style="yellow",
            )
            return UnkeptJournal(errand)

    async def _rehearse(self, errand: Errand) -> Exit:
        """Check everything that can be checked; the database too, where it is configured."""
        loading = Loading(os.environ)
        accounts = loading.accounts(RuleSettings) or {}
        sending = loading.group(SendingSettings)
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
        if sending is not None:
            self._tell_interrupted(sending, errand)
        self._screen.say("Dry run: nothing was published.")
        return Exit.DONE

    def _tell_interrupted(self, settings: SendingSettings, errand: Errand) -> None:
        with suppress(OSError, RuntimeError):
            for begun, standing in interrupted(settings.state_folder(os.environ), errand):
                self._screen.say(telling.interruption(begun, standing), style="yellow")

    def _reader(self, rules: Mapping[str, AccountRules]) -> RowReader:
        return RowReader(self._columns, self._defaults, rules)

    async def _check(
        self, reader: RowReader, books: Books | None, lookup: Lookup | None, *, sent: int = 0
    ) -> Findings:
        check = Check(self._table, reader, limit=self._options.max_errors, sent=sent)
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
        self,
        settings: SendSettings,
        reader: RowReader,
        findings: Findings,
        journal: Journal,
    ) -> Published:
        async with open_stream(settings) as stream:
            journal.begin()
            publication = Publication(
                file=self._table,
                reader=reader,
                stream=stream,
                known=findings.known_rows,
                journal=journal,
            )
            with (
                progress(self._screen, "Publishing", findings.rows) as advance,
                stopping() as stop,
            ):
                return await publication.run(advance, stop)

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
