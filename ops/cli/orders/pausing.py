"""`payouts pause` and `resume`: whether an account, or a run, sends anything."""

from __future__ import annotations

from dataclasses import dataclass

from ops.cli.configured import configured_accounts
from ops.cli.exits import CommandError, Exit, UsageError
from ops.cli.links import Books
from ops.cli.orders.commands import UNSENT, Signed, ordering
from ops.cli.orders.selection import Selection
from ops.cli.orders.signature import Signature
from ops.cli.orders.sums import Sums
from ops.cli.records import Record, account_record
from ops.cli.screen import Screen
from payouts.domain.payout import HELD_RUN, Payout
from payouts.domain.values import ID_PATTERN, AccountName, RunId
from payouts.ports import Order
from payouts.storage.reading import Listing


async def pause(
    account: str | None = None, /, *, run: str | None = None, signature: Signed
) -> Exit:
    """Stop an account, or a run: nothing more is sent from it until it is resumed.

    Workers heed it within seconds. What is on its way goes on; new commands are taken in and
    wait. Results are taken and questions asked as ever. A run may be paused before it begins.

    Args:
        account: The account's name.
        run: A run instead of an account.
        signature: Who orders it, and why; everybody who looks sees the reason.
    """
    return await _set(account, run, signature, paused=True, yes=True)


async def resume(
    account: str | None = None,
    /,
    *,
    run: str | None = None,
    signature: Signed,
    yes: bool = False,
) -> Exit:
    """Let a paused account, or a paused run, send again, what waits first.

    An account's refusals and its last known balance are forgotten.

    Args:
        account: The account's name.
        run: A run instead of an account.
        signature: Who orders it, and why it may go on.
        yes: Do not ask.
    """
    return await _set(account, run, signature, paused=False, yes=yes)


async def pause_run(run_id: str, /, *, signature: Signed) -> Exit:
    """Stop a run: nothing more is sent of it until it is resumed; as `payouts pause --run`.

    Args:
        run_id: The run; it may be one that has not begun.
        signature: Who orders it, and why; everybody who looks sees the reason.
    """
    return await _set(None, run_id, signature, paused=True, yes=True)


async def resume_run(run_id: str, /, *, signature: Signed, yes: bool = False) -> Exit:
    """Let a paused run send again, what waits first; as `payouts resume --run`.

    Args:
        run_id: The run.
        signature: Who orders it, and why it may go on.
        yes: Do not ask.
    """
    return await _set(None, run_id, signature, paused=False, yes=yes)


async def _set(
    account: str | None, run: str | None, signature: Signature, *, paused: bool, yes: bool
) -> Exit:
    if account is not None and run is None:
        subject: _Account | _Run = _Account(AccountName(account))
    elif run is not None and account is None:
        if ID_PATTERN.fullmatch(run) is None:
            raise UsageError("A run is named by 1-64 of A-Z a-z 0-9 . _ -.")
        subject = _Run(RunId(run))
    else:
        raise UsageError("Name an account, or a run with --run.")
    screen = Screen()
    async with ordering(signature) as desk:
        books = desk.books
        await subject.must_be_known(books, paused=paused)
        if not paused and not await _agreed(screen, books, subject, yes=yes):
            screen.say("Nothing was changed.")
            return Exit.FAILED
        record = await subject.set(books, desk.order(), paused=paused)
    if signature.json:
        screen.json(record)
    else:
        screen.say(f"{subject} {'is paused' if paused else 'sends again'}.")
    return Exit.DONE


@dataclass(frozen=True, slots=True)
class _Account:
    name: AccountName

    def __str__(self) -> str:
        return f"Account {self.name}"

    @property
    def waiting(self) -> Listing:
        return Listing(states=UNSENT, account=self.name)

    def goes_on(self, payout: Payout) -> bool:
        return payout.held is None

    async def must_be_known(self, books: Books, *, paused: bool) -> None:
        """Raise UsageError for a mistyped name; one that only the books know can be paused too."""
        del paused
        configured = configured_accounts()
        known = {*configured, *await books.oversight.known_accounts()}
        if self.name not in known:
            raise UsageError(f"There is no account {self.name}; known: {', '.join(sorted(known))}.")

    async def set(self, books: Books, order: Order, *, paused: bool) -> Record:
        await books.orders.set_account_paused(self.name, paused=paused, order=order)
        return account_record((await books.statuses([self.name]))[self.name])


@dataclass(frozen=True, slots=True)
class _Run:
    run_id: RunId

    def __str__(self) -> str:
        return f"Run {self.run_id}"

    @property
    def waiting(self) -> Listing:
        return Listing(states=UNSENT, run_id=self.run_id)

    def goes_on(self, payout: Payout) -> bool:
        return payout.held in {None, HELD_RUN}

    async def must_be_known(self, books: Books, *, paused: bool) -> None:
        """Raise CommandError if a run that is to go on does not stand still."""
        if not paused and self.run_id not in await books.orders.paused_runs():
            raise CommandError(f"Run {self.run_id} is not paused.")

    async def set(self, books: Books, order: Order, *, paused: bool) -> Record:
        await books.orders.set_run_paused(self.run_id, paused=paused, order=order)
        why = (await books.orders.paused_runs()).get(self.run_id)
        return {"run_id": self.run_id, "paused": why is not None, "paused_reason": why}


async def _agreed(screen: Screen, books: Books, subject: _Account | _Run, *, yes: bool) -> bool:
    sums = await _waiting(books, subject)
    told = f"Waiting to be sent: {sums}."
    if yes:
        screen.say(told)
    whom = str(subject)
    return screen.confirm(f"Resume {whom[0].lower()}{whom[1:]}? {told}", yes=yes)


async def _waiting(books: Books, subject: _Account | _Run) -> Sums:
    """Return count and sum of what goes out when it is resumed, a page in memory at a time."""
    sums = Sums()
    async for page in Selection(listing=subject.waiting).pages(books.reader):
        for target in page:
            if target.payout is not None and subject.goes_on(target.payout):
                sums.add(target.payout.currency, target.payout.amount_minor)
    return sums
