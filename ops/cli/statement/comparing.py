"""A statement against the books: each line finds its payout, then each payout its line."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from typing import Final, Protocol

from ops.cli.statement.cells import same_receiver
from ops.cli.statement.findings import Finding, Findings, Kind
from ops.cli.statement.lines import Line, Sort
from ops.cli.statement.seen import Seen
from ops.cli.words import money
from payouts.domain.payout import State
from payouts.domain.values import AccountName, mask_msisdn
from payouts.storage.statements import Booked, Key, Window

BATCH: Final = 20_000
_DOUBTS: Final = 10_000
_CLOCKS_DIFFER: Final = timedelta(minutes=5)


class Booking(Protocol):
    """What is asked of the books (payouts.storage.statements.StatementReader)."""

    async def by_own_id(self, keys: Sequence[Key]) -> list[tuple[int, Booked]]:
        """Return payouts by OriginatorConversationID."""

    async def by_conversation_id(self, keys: Sequence[Key]) -> list[tuple[int, Booked]]:
        """Return payouts by ConversationID."""

    async def by_receipt(self, keys: Sequence[Key]) -> list[tuple[int, Booked]]:
        """Return payouts by receipt."""

    async def doubts(self, account: AccountName, *, limit: int) -> list[Booked]:
        """Return what is in doubt."""

    def succeeded(self, window: Window) -> AsyncIterator[Booked]:
        """Give what succeeded, or may have, within the window."""

    def still_open(self, window: Window) -> AsyncIterator[Booked]:
        """Give what was sent within the window and has not ended."""


class Comparing:
    """Compares line by line; every line and every payout of the window is told exactly once.

    Only what is certain is a difference: a payout whose send and end lie on two sides of an end
    of the window may have been paid outside of it, and what is open here may not be paid yet.
    """

    def __init__(
        self, books: Booking, seen: Seen, findings: Findings, account: AccountName
    ) -> None:
        self._books = books
        self._seen = seen
        self._findings = findings
        self._account = account
        self._doubts: Mapping[int, Sequence[Booked]] | None = None

    async def take(self, lines: Sequence[Line]) -> None:
        """Compare a batch of lines."""
        found = await self._find(lines)
        for ordinal, line in enumerate(lines):
            if line.sort is Sort.CHARGE:
                self._tell(Kind.CHARGE, line)
            elif line.sort is Sort.INCOMING:
                self._tell(Kind.INCOMING, line)
            elif line.sort is Sort.REVERSAL:
                self._reversal(line, found.get(ordinal, ()))
            elif ordinal in found:
                self._known(line, found[ordinal])
            else:
                await self._unknown(line)

    async def finish(self, window: Window) -> None:
        """Tell what the books say of the window and no line told of."""
        findings = self._findings
        async for booked in self._books.succeeded(window):
            matched = self._seen.knows(booked.number)
            inside = _inside(booked, window)
            if matched or inside:
                findings.here.add(booked.amount_minor)
            if not matched:
                kind = Kind.MISSING_THERE if inside else Kind.EDGE
                findings.tell(_of_payout(kind, booked))
        async for booked in self._books.still_open(window):
            if not self._seen.knows(booked.number):
                findings.tell(_of_payout(Kind.WAITING, booked, booked.state.value))

    async def _find(self, lines: Sequence[Line]) -> Mapping[int, Sequence[Booked]]:
        """Return the payouts of each line: by our own id, else M-PESA's, else the receipt."""
        found: dict[int, list[Booked]] = {}
        asked = [
            (ordinal, line)
            for ordinal, line in enumerate(lines)
            if line.sort in {Sort.PAYOUT, Sort.UNKNOWN, Sort.REVERSAL}
        ]
        keys = [(at, key) for at, line in asked for key in line.own_ids]
        for ordinal, booked in await self._books.by_own_id(keys):
            found.setdefault(ordinal, [booked])
        keys = [(at, key) for at, line in asked if at not in found for key in line.conversation_ids]
        named = await self._books.by_conversation_id(keys)
        times = Counter(ordinal for ordinal, _ in named)
        found.update((one, [booked]) for one, booked in named if times[one] == 1)
        keys = [(at, key) for at, line in asked if at not in found for key in line.receipts]
        for ordinal, booked in await self._books.by_receipt(keys):
            found.setdefault(ordinal, []).append(booked)
        return found

    def _reversal(self, line: Line, found: Sequence[Booked]) -> None:
        paid = [booked for booked in found if booked.state is State.SUCCEEDED]
        if not paid or not line.completed:
            self._tell(Kind.INCOMING, line)
            return
        detail = "succeeded here, and the money came back"
        self._tell(Kind.REVERSED, line, paid[0], detail)

    async def _unknown(self, line: Line) -> None:
        if not line.completed:
            self._tell(Kind.NOT_COMPLETED, line)
        elif line.sort is Sort.UNKNOWN:
            self._tell(Kind.ELSEWHERE, line)
        elif (earlier := self._repeats(line)) is not None:
            self._tell(Kind.REPEATED, line, detail=f"as line {earlier}")
        else:
            self._findings.there.add(line.minor)
            named = f"names {line.own_ids[-1]}" if line.own_ids else await self._perhaps(line)
            self._tell(Kind.MISSING_HERE, line, detail=named)

    def _known(self, line: Line, found: Sequence[Booked]) -> None:
        booked = found[0]
        if not line.completed:
            self._not_completed(line, booked)
            return
        if (earlier := self._repeats(line)) is not None:
            self._tell(Kind.REPEATED, line, booked, f"as line {earlier}")
            return
        self._findings.there.add(line.minor)
        before = self._seen.same_payout(booked.number, line.number, line.receipt)
        if before is not None and before[1] != line.receipt:
            detail = f"also paid in line {before[0]}, receipt {before[1]}"
            self._tell(Kind.PAID_TWICE, line, booked, detail)
            return
        for other in found[1:]:
            self._seen.same_payout(other.number, line.number, line.receipt)
            detail = f"it is the receipt of {booked.payout_id} too"
            self._tell(Kind.SHARED, line, other, detail)
        self._judge(line, booked)

    def _not_completed(self, line: Line, booked: Booked) -> None:
        # A send that came to nothing, before another one paid, has a receipt of its own.
        same = booked.transaction_id in {None, line.receipt}
        if booked.state is State.SUCCEEDED and same:
            self._seen.same_payout(booked.number, line.number, line.receipt)
            detail = "succeeded here, not completed there"
            self._tell(Kind.OTHER_STATUS, line, booked, detail)
        else:
            self._tell(Kind.NOT_COMPLETED, line, booked)

    def _judge(self, line: Line, booked: Booked) -> None:
        other = self._differences(line, booked)
        told = "; ".join(other.values())
        if booked.state is State.FAILED:
            self._tell(Kind.FAILED_HERE, line, booked, _joined(_failure(booked), told))
        elif booked.state is not State.SUCCEEDED:
            command = _settling(line, booked, certain=not other)
            detail = _joined(f"{booked.state.value} here", told)
            self._tell(Kind.OPEN_HERE, line, booked, detail, command)
        else:
            self._tell(next(iter(other), Kind.MATCHED), line, booked, told)

    def _differences(self, line: Line, booked: Booked) -> dict[Kind, str]:
        found = {}
        if line.minor != booked.amount_minor:
            found[Kind.OTHER_AMOUNT] = _amounts(booked, line)
        if booked.transaction_id is not None and booked.transaction_id != line.receipt:
            found[Kind.OTHER_RECEIPT] = f"receipt {booked.transaction_id} here"
        if line.receiver is not None and not same_receiver(line.receiver, booked.msisdn):
            told = line.receiver if "*" in line.receiver else mask_msisdn(line.receiver)
            found[Kind.OTHER_RECEIVER] = f"{mask_msisdn(booked.msisdn)} here, {told} there"
        if booked.account != self._account:
            found[Kind.OTHER_ACCOUNT] = f"account {booked.account} here"
        return found

    def _repeats(self, line: Line) -> int | None:
        return self._seen.same_line(line.receipt, line.minor, line.number)

    async def _perhaps(self, line: Line) -> str:
        """Name the one doubt that the payment could be, for a person to look at."""
        if line.receiver is None:
            return ""
        if self._doubts is None:
            by_amount = defaultdict(list)
            for booked in await self._books.doubts(self._account, limit=_DOUBTS):
                by_amount[booked.amount_minor].append(booked)
            self._doubts = by_amount
        found = [
            booked
            for booked in self._doubts.get(line.minor, ())
            if len(line.receiver) == len(booked.msisdn)
            and same_receiver(line.receiver, booked.msisdn)
            and booked.submitted_at is not None
            and booked.submitted_at <= line.at + _CLOCKS_DIFFER
        ]
        if len(found) != 1:
            return ""
        return f"perhaps {found[0].payout_id}, in doubt: same amount and receiver; look at both"

    def _tell(
        self,
        kind: Kind,
        line: Line,
        booked: Booked | None = None,
        detail: str = "",
        command: str = "",
    ) -> None:
        self._findings.tell(
            Finding(
                kind=kind,
                minor=line.minor,
                line=line.number,
                payout_id=booked.payout_id if booked is not None else None,
                receipt=line.receipt,
                detail=detail,
                command=command,
            )
        )


def _inside(booked: Booked, window: Window) -> bool:
    """Tell whether a payout was certainly paid within the window: sent and ended there."""
    sent, ended = booked.submitted_at, booked.completed_at
    if sent is None or ended is None:
        return False
    return window.since <= sent and ended <= window.until


def _of_payout(kind: Kind, booked: Booked, detail: str = "") -> Finding:
    return Finding(
        kind=kind,
        minor=booked.amount_minor,
        payout_id=booked.payout_id,
        receipt=booked.transaction_id,
        detail=detail,
    )


def _failure(booked: Booked) -> str:
    why = f"failed here ({booked.reason_code} {booked.reason_class})"
    if booked.retried_as is None:
        return f"{why}; pay nothing for it again"
    return f"{why} and sent again as {booked.retried_as}: perhaps paid twice"


def _settling(line: Line, booked: Booked, *, certain: bool) -> str:
    """Return the command for a payout that is open here and was paid there."""
    proof = f"'statement, line {line.number}'"
    match booked.state:
        case State.IN_DOUBT if certain:
            paid = f"--paid {line.receipt}"
            return f"payouts resolve {booked.payout_id} {paid} --evidence {proof}"
        case State.IN_DOUBT | State.ACCEPTED:
            return f"payouts reconcile {booked.payout_id} --reason {proof}"
        case State.RECEIVED | State.WAITING:
            # It would be sent (again) when its turn comes.
            return f"payouts hold {booked.payout_id} --reason {proof}"
        case _:
            return ""


def _amounts(booked: Booked, line: Line) -> str:
    return f"{money(booked.amount_minor, booked.currency)} here, {money(line.minor)} there"


def _joined(*texts: str) -> str:
    return "; ".join(filter(None, texts))
