"""`payouts dead-letters list`, `show`, `replay`, `discard`."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated

from cyclopts import Parameter

from ops.cli.dead_letters.choice import MAX_LOOKED_AT, Filters, Look, chosen
from ops.cli.dead_letters.showing import letter_record, whole_record
from ops.cli.exits import CommandError, Exit
from ops.cli.links import Books, open_books, open_broker
from ops.cli.orders.commands import Signed
from ops.cli.orders.signature import Sign, Signature
from ops.cli.orders.sums import Sums
from ops.cli.screen import Screen, table
from ops.cli.words import count, hide_numbers, plural
from payouts.domain.errors import InvalidAmountError, UnroutableError
from payouts.domain.values import AccountName, parse_amount
from payouts.messaging.dead_letter_queue import (
    DeadLetter,
    OpenedDeadLetters,
    opened_dead_letters,
)
from payouts.ports import Action
from payouts.settings import DeadLetterOrderSettings, DeadLetterSettings

Filtered = Annotated[Filters | None, Parameter(name="*")]


async def list_letters(*, filters: Filtered = None, json: bool = False) -> Exit:
    """Print dead letters, oldest first: why each was put aside, and where it came from.

    They stay where they are; RabbitMQ counts the look as one more return to the queue.

    Args:
        filters: Which ones.
        json: Write a JSON array.
    """
    look = Look(filters=filters or Filters())
    settings = DeadLetterSettings.load(os.environ)
    async with (
        open_broker(settings) as broker,
        opened_dead_letters(broker.connection, broker.topology) as opened,
    ):
        found = [letter_record(letter) async for letter in look.letters(opened)]
    # RabbitMQ gives back what was looked at in an order of its own.
    found.sort(key=lambda record: str(record["at"] or ""))
    screen = Screen()
    if json:
        screen.json(found)
    else:
        columns = ("id", "reason", "payout", "account", "put aside (UTC)", "detail")
        names = ("id", "reason", "payout_id", "account", "at", "detail")
        screen.show(table(columns, ([one[name] or "" for name in names] for one in found)))
    if look.cut:
        screen.say(f"There may be more: {count(look.looked_at)} were looked at.")
    return Exit.DONE


async def show_letter(letter_id: str, /, *, show_numbers: bool = False, json: bool = False) -> Exit:
    """Print one dead letter with headers and body; receivers' numbers are masked.

    Args:
        letter_id: Its id, as `payouts dead-letters list` prints it.
        show_numbers: Print receivers' numbers in full.
        json: Write one JSON object.
    """
    look = Look(filters=Filters(limit=1), digests=frozenset({letter_id}))
    settings = DeadLetterSettings.load(os.environ)
    record = None
    async with (
        open_broker(settings) as broker,
        opened_dead_letters(broker.connection, broker.topology) as opened,
    ):
        async for letter in look.letters(opened):
            record = whole_record(letter, show_numbers=show_numbers)
    if record is None:
        raise CommandError(
            f"No dead letter has the id {letter_id}; somebody may have dealt with it."
        )
    screen = Screen()
    if json:
        screen.json(record)
        return Exit.DONE
    headers = record.pop("headers")
    body = str(record.pop("body"))
    facts = {**record, **(headers if isinstance(headers, dict) else {})}
    screen.show(table(("", ""), ((name, value) for name, value in facts.items() if value)))
    screen.line()
    for line in body.splitlines():
        screen.line(line)
    return Exit.DONE


async def replay(
    *letter_ids: str,
    filters: Filtered = None,
    everything: Annotated[bool, Parameter(name="--all")] = False,
    account: str | None = None,
    signature: Signed,
    yes: bool = False,
) -> Exit:
    """Publish dead letters again as they are, to the account that they came from.

    A replayed command is taken in like any other: one whose payout exists pays nobody again.
    What is still wrong with it puts it aside again.

    Args:
        letter_ids: Their ids, as `payouts dead-letters list` prints them.
        filters: Which ones otherwise.
        everything: All of them, up to the limit.
        account: To which account, where a dead letter does not tell.
        signature: Who orders it, and why.
        yes: Do not ask.
    """
    look = chosen(letter_ids, filters or Filters(), everything=everything)
    name = AccountName(account) if account else None
    return await _Working(Action.REPLAY_DEAD_LETTER, name, signature).run(look, yes=yes)


async def discard(
    *letter_ids: str,
    filters: Filtered = None,
    everything: Annotated[bool, Parameter(name="--all")] = False,
    signature: Signed,
    yes: bool = False,
) -> Exit:
    """Throw dead letters away for good.

    Args:
        letter_ids: Their ids, as `payouts dead-letters list` prints them.
        filters: Which ones otherwise.
        everything: All of them, up to the limit.
        signature: Who orders it, and why.
        yes: Do not ask.
    """
    look = chosen(letter_ids, filters or Filters(), everything=everything)
    return await _Working(Action.DISCARD_DEAD_LETTER, None, signature).run(look, yes=yes)


@dataclass(slots=True, kw_only=True)
class _Survey:
    """What was shown: how many of each id, and what those come to that can be read."""

    letters: Counter[str] = field(default_factory=Counter)
    readable: Sums = field(default_factory=Sums)

    def add(self, letter: DeadLetter) -> None:
        self.letters[letter.digest] += 1
        fields = letter.fields or {}
        amount, currency = fields.get("amount"), fields.get("currency")
        try:
            minor = parse_amount(amount) if isinstance(amount, str) else None
        except InvalidAmountError:
            minor = None
        if minor is not None:
            self.readable.add(currency if isinstance(currency, str) else "", minor)

    def __str__(self) -> str:
        total = self.letters.total()
        whole = plural(total, "dead letter")
        unread = total - self.readable.count
        rest = f", {count(unread)} without a readable amount" if unread else ""
        return f"{whole} ({self.readable}{rest})"


class _Working:
    """Replays or discards what was shown, and no more than was shown."""

    def __init__(self, action: Action, account: AccountName | None, signature: Signature) -> None:
        self._action = action
        self._account = account
        self._signature = signature
        self._screen = Screen()
        self._replays = action is Action.REPLAY_DEAD_LETTER
        self._done = 0
        self._refused = 0

    async def run(self, look: Look, *, yes: bool) -> Exit:
        self._signature.check()
        settings = DeadLetterOrderSettings.load(os.environ)
        sign = self._signature.signed(settings.operator)
        async with (
            open_books(settings.database_url) as books,
            open_broker(settings) as broker,
            opened_dead_letters(broker.connection, broker.topology, broker.publisher) as opened,
        ):
            survey = await _survey(opened, look)
            await opened.give_back()
            if look.cut:
                self._screen.say("There may be more; --limit takes more at once.", style="yellow")
            if not survey.letters:
                raise CommandError("No dead letter is meant by that.")
            if not self._agreed(survey, yes=yes):
                self._screen.say("Nothing was done.")
                return Exit.FAILED
            await self._work(books, opened, sign, survey)
        missing = survey.letters.total()
        if missing:
            self._screen.say(f"{plural(missing, 'dead letter')} had gone in the meantime.")
        done = "replayed" if self._replays else "discarded"
        refused = f" {count(self._refused)} refused." if self._refused else ""
        self._screen.say(f"{plural(self._done, 'dead letter')} {done}.{refused}")
        return Exit.FAILED if self._refused or missing else Exit.DONE

    def _agreed(self, survey: _Survey, *, yes: bool) -> bool:
        verb = "Publish again" if self._replays else "Discard for good"
        if yes:
            self._screen.say(f"{verb}: {survey}.")
        return self._screen.confirm(f"{verb} {survey}?", yes=yes)

    async def _work(
        self, books: Books, opened: OpenedDeadLetters, sign: Sign, survey: _Survey
    ) -> None:
        """Go through the queue once more; a letter that was not shown is left alone."""
        async for letter in opened.letters(at_most=MAX_LOOKED_AT):
            if survey.letters[letter.digest]:
                survey.letters[letter.digest] -= 1
                self._tell(letter, await self._act(books, opened, letter, sign))
                if not survey.letters.total():
                    return

    async def _act(
        self, books: Books, opened: OpenedDeadLetters, letter: DeadLetter, sign: Sign
    ) -> str | None:
        """Write the audit's line, then act; return why nothing was done, if nothing was."""
        account = letter.account or self._account
        if self._replays and account is None:
            return "It is not known where it came from; --account NAME says it."
        details = {
            "why it was put aside": letter.reason,
            "payout": hide_numbers(letter.payout_id or ""),
            "account": account or "",
        }
        details = {name: value for name, value in details.items() if value}
        order = sign(books.clock.now())
        await books.orders.note_order(self._action, letter.digest, order, details)
        if not self._replays or account is None:
            await opened.discard(letter)
            return None
        try:
            await opened.replay(letter, account)
        except UnroutableError:
            return f"Account {account} has no queue; a worker that serves it declares one."
        return None

    def _tell(self, letter: DeadLetter, refusal: str | None) -> None:
        if refusal is None:
            self._done += 1
        else:
            self._refused += 1
        if self._signature.json:
            record = letter_record(letter)
            self._screen.record({**record, "done": refusal is None, "refusal": refusal})
            return
        done = "replayed" if self._replays else "discarded"
        payout = f" (payout {hide_numbers(letter.payout_id)})" if letter.payout_id else ""
        said = done if refusal is None else f"refused: {refusal}"
        self._screen.line(f"{letter.digest}  {said}{payout}")


async def _survey(opened: OpenedDeadLetters, look: Look) -> _Survey:
    survey = _Survey()
    async for letter in look.letters(opened):
        survey.add(letter)
    return survey
