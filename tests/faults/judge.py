"""The judge: compares what was ordered, paid, written down and told, and names what is wrong.

It shares no code with the product: what is legal stands here once more, from `contract.md` and
`design.md`, so that a mistake of the product is not repeated by its judge.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from tests.faults.evidence import Evidence, Heard, May, Payment, Published, Row, Step

ENDED: Final = {"succeeded", "failed"}
BEGINNINGS: Final = {"received", "submitting", "failed"}
LEGAL: Final = frozenset(
    (came_from, to)
    for came_from, targets in {
        "received": "submitting succeeded failed in_doubt",
        "submitting": "accepted waiting in_doubt succeeded failed",
        "waiting": "submitting succeeded failed in_doubt",
        "accepted": "succeeded failed in_doubt",
        "in_doubt": "accepted submitting waiting succeeded failed",
    }.items()
    for to in targets.split()
)
MOST_TOLD: Final = 20


class Kind(StrEnum):
    """What can be wrong."""

    PAID_TWICE = "paid twice"
    PAID_UNASKED = "paid what no command asked for"
    WRONG_AMOUNT = "paid another amount"
    WRONG_RECEIVER = "paid another receiver"
    FAILED_THOUGH_PAID = "ended as failed though paid"
    SUCCEEDED_UNPAID = "ended as succeeded though not paid"
    WRONG_RECEIPT = "another receipt than the ledger's"
    UNEXPECTED_END = "ended as it could not"
    NOT_ENDED = "neither ended nor in doubt"
    DOUBT_WITHOUT_REASON = "in doubt without a reason"
    DOUBT_NEEDLESS = "in doubt though the gateway could tell"
    NO_COMPLETION_EVENT = "ended without a completion event"
    TWO_EVENT_IDS = "two ids of completion events"
    WRONG_EVENT_TYPE = "a completion event of the other type"
    EVENT_DISAGREES = "an event that says otherwise than the row"
    EVENT_UNENDED = "a completion event of a payout that has not ended"
    EVENT_UNASKED = "an event of a payout that does not exist"
    LOST_COMMAND = "neither a payout nor a dead letter"
    PUT_ASIDE = "a good command among the dead letters"
    PAYOUT_UNASKED = "a payout that no command asked for"
    CONTENT_CHANGED = "written down otherwise than commanded"
    BOOKS_COUNT = "the books do not balance in count"
    BOOKS_MONEY = "the books do not balance in money"
    ILLEGAL_STEP = "an illegal step in the timeline"
    END_OVERWRITTEN = "an end that was overwritten"
    ID_NOT_DERIVED = "an id that is not derived from the payout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One thing that is wrong, and with which payout, where it is one's."""

    kind: Kind
    payout_id: str = ""
    detail: str = ""

    def __str__(self) -> str:
        """Tell it in a line."""
        return " ".join(part for part in (f"{self.kind}:", self.payout_id, self.detail) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the judge found: violations, and the figures of what it looked at."""

    violations: tuple[Violation, ...]
    published: int
    payouts: int
    states: dict[str, int]
    payments: int
    paid_minor: int
    events: int
    dead_letters: int

    @property
    def kinds(self) -> set[Kind]:
        """Give the kinds of violations that were found."""
        return {one.kind for one in self.violations}

    def require_none(self) -> None:
        """Raise AssertionError naming the violations, if there are any."""
        if self.violations:
            told = "\n".join(map(str, self.violations[:MOST_TOLD]))
            raise AssertionError(f"{len(self.violations)} violations\n{told}")


def judge(evidence: Evidence) -> Judgement:
    """Compare the four witnesses; every violation is named."""
    payments = _by_root(evidence)
    violations = [
        *_payments(evidence, payments),
        *_commands(evidence),
        *_payouts(evidence, payments),
        *_events(evidence),
        *_books(evidence),
    ]
    return Judgement(
        violations=tuple(violations),
        published=len(evidence.published),
        payouts=len(evidence.rows),
        states=dict(Counter(row.state for row in evidence.rows.values())),
        payments=len(evidence.ledger),
        paid_minor=sum(payment.amount_minor for payment in evidence.ledger),
        events=sum(map(len, evidence.heard.values())),
        dead_letters=len(evidence.put_aside),
    )


def _by_root(evidence: Evidence) -> dict[str, list[Payment]]:
    """Sort payments by the payout that they are for, over all its submissions."""
    prefixes = "|".join(re.escape(one) for one in set(evidence.prefixes.values()))
    form = re.compile(rf"(?:{prefixes})(?:-r[0-9]+)?_(.+)")
    found: dict[str, list[Payment]] = defaultdict(list)
    for payment in evidence.ledger:
        named = form.fullmatch(payment.originator_conversation_id)
        found[named[1] if named else payment.originator_conversation_id].append(payment)
    return found


def _payments(evidence: Evidence, payments: dict[str, list[Payment]]) -> Iterator[Violation]:
    for root, made in payments.items():
        if len(made) > 1:
            ids = sorted({payment.originator_conversation_id for payment in made})
            yield Violation(
                kind=Kind.PAID_TWICE, payout_id=root, detail=f"{len(made)} times under {ids}"
            )
        command = evidence.published.get(root)
        if command is None:
            yield Violation(kind=Kind.PAID_UNASKED, payout_id=root)
            continue
        for payment in made:
            if payment.amount_minor != command.amount_minor:
                yield Violation(
                    kind=Kind.WRONG_AMOUNT, payout_id=root, detail=str(payment.amount_minor)
                )
            if payment.msisdn != command.msisdn:
                yield Violation(kind=Kind.WRONG_RECEIVER, payout_id=root)


def _commands(evidence: Evidence) -> Iterator[Violation]:
    aside = {letter.payout_id: letter.reason for letter in evidence.put_aside}
    for payout_id, command in evidence.published.items():
        if payout_id not in evidence.rows and payout_id not in aside:
            yield Violation(kind=Kind.LOST_COMMAND, payout_id=payout_id)
        if payout_id in aside and May.BE_PUT_ASIDE not in command.may:
            yield Violation(kind=Kind.PUT_ASIDE, payout_id=payout_id, detail=aside[payout_id] or "")


def _payouts(evidence: Evidence, payments: dict[str, list[Payment]]) -> Iterator[Violation]:
    retried = {row.retry_of for row in evidence.rows.values() if row.retry_of}
    for row in evidence.rows.values():
        yield from _timeline(row)
        if row.originator_conversation_id != _derived(evidence, row):
            yield Violation(kind=Kind.ID_NOT_DERIVED, payout_id=row.payout_id)
        command = evidence.published.get(row.root)
        if command is None:
            yield Violation(kind=Kind.PAYOUT_UNASKED, payout_id=row.payout_id)
            continue
        if (row.amount_minor, row.msisdn, row.account) != (
            command.amount_minor,
            command.msisdn,
            command.account,
        ):
            yield Violation(kind=Kind.CONTENT_CHANGED, payout_id=row.payout_id)
        own = [
            payment
            for payment in payments.get(row.root, ())
            if payment.originator_conversation_id == row.originator_conversation_id
        ]
        yield from _end(row, command, own, retried=row.payout_id in retried)


def _derived(evidence: Evidence, row: Row) -> str | None:
    """Give the id that a payout must have on the wire; None if it cannot be told."""
    prefix = evidence.prefixes.get(row.account)
    if prefix is None or row.retry_of is None:
        return None if prefix is None else f"{prefix}_{row.payout_id}"
    number = row.payout_id.removeprefix(row.root)
    return f"{prefix}{number}_{row.root}" if re.fullmatch(r"-r[0-9]+", number) else None


def _end(row: Row, command: Published, own: list[Payment], *, retried: bool) -> Iterator[Violation]:
    """Compare how a payout ended with what the gateway did, and with what could happen."""
    match row.state:
        case "succeeded":
            found = list(_succeeded(row, command, own))
        case "failed":
            found = list(_failed(row, command, own, retried=retried))
        case "in_doubt":
            found = list(_in_doubt(row, command))
        case _:
            found = [(Kind.NOT_ENDED, row.state)]
    for kind, detail in found:
        yield Violation(kind=kind, payout_id=row.payout_id, detail=detail)


def _succeeded(row: Row, command: Published, own: list[Payment]) -> Iterator[tuple[Kind, str]]:
    lacks = row.transaction_id is None and May.LACK_RECEIPT in command.may
    if not own:
        yield Kind.SUCCEEDED_UNPAID, ""
    elif row.transaction_id not in {payment.receipt for payment in own} and not lacks:
        yield Kind.WRONG_RECEIPT, str(row.transaction_id)
    if May.SUCCEED not in command.may:
        yield Kind.UNEXPECTED_END, "succeeded"


def _failed(
    row: Row, command: Published, own: list[Payment], *, retried: bool
) -> Iterator[tuple[Kind, str]]:
    if own and May.BE_LIED_TO not in command.may:
        yield Kind.FAILED_THOUGH_PAID, row.reason_code or ""
    if not retried and not command.may & {May.FAIL, May.BE_LIED_TO}:
        yield Kind.UNEXPECTED_END, f"failed with {row.reason_code}"


def _in_doubt(row: Row, command: Published) -> Iterator[tuple[Kind, str]]:
    if row.reason_code is None:
        yield Kind.DOUBT_WITHOUT_REASON, ""
    if May.STAY_IN_DOUBT not in command.may:
        yield Kind.DOUBT_NEEDLESS, row.reason_code or ""


def _timeline(row: Row) -> Iterator[Violation]:
    """Follow a payout's transitions from its beginning to the state in which it stands."""
    before: str | None = None
    for step in row.steps:
        if before in ENDED:
            yield Violation(
                kind=Kind.END_OVERWRITTEN, payout_id=row.payout_id, detail=f"{before}, {step.to}"
            )
        elif not _legal(before, step):
            yield Violation(
                kind=Kind.ILLEGAL_STEP,
                payout_id=row.payout_id,
                detail=f"{before}: {step.came_from} to {step.to}",
            )
        before = step.to
    if before != row.state:
        yield Violation(
            kind=Kind.END_OVERWRITTEN if before in ENDED else Kind.ILLEGAL_STEP,
            payout_id=row.payout_id,
            detail=f"stands as {row.state}, last told as {before}",
        )


def _legal(before: str | None, step: Step) -> bool:
    if before is None:
        return step.came_from is None and step.to in BEGINNINGS
    return step.came_from == before and (before, step.to) in LEGAL


def _events(evidence: Evidence) -> Iterator[Violation]:
    for payout_id in evidence.heard:
        if payout_id not in evidence.rows:
            yield Violation(kind=Kind.EVENT_UNASKED, payout_id=payout_id)
        elif evidence.rows[payout_id].state not in ENDED:
            yield Violation(kind=Kind.EVENT_UNENDED, payout_id=payout_id)
    for payout_id, row in evidence.rows.items():
        if row.state in ENDED:
            for kind, detail in _told(row, evidence.heard.get(payout_id, [])):
                yield Violation(kind=kind, payout_id=payout_id, detail=detail)


def _told(row: Row, heard: list[Heard]) -> Iterator[tuple[Kind, str]]:
    """Compare an ended payout with what downstream was told of it."""
    if not heard:
        yield Kind.NO_COMPLETION_EVENT, ""
    bodies = [json.loads(one.body) for one in heard]
    ids = {body.get("id") for body in bodies}
    if len(ids) > 1:
        yield Kind.TWO_EVENT_IDS, str(ids)
    for one, body in zip(heard, bodies, strict=True):
        if body.get("type") != f"payout.{row.state}":
            yield Kind.WRONG_EVENT_TYPE, str(body.get("type"))
        for name in _disagreements(row, one, body):
            yield Kind.EVENT_DISAGREES, name


def _disagreements(row: Row, heard: Heard, body: dict[str, Any]) -> Iterator[str]:
    """Name the fields in which an event says otherwise than its row, or than itself."""
    data = body.get("data") or {}
    reason = data.get("reason") or {}
    wanted: dict[str, tuple[object, object]] = {
        "message_id": (heard.message_id, body.get("id")),
        "correlation_id": (heard.correlation_id, row.payout_id),
        "message type": (heard.type, body.get("type")),
        "subject": (body.get("subject"), row.payout_id),
        "payout_id": (data.get("payout_id"), row.payout_id),
        "account": (data.get("account"), row.account),
        "amount": (data.get("amount"), f"{row.amount_minor // 100}.{row.amount_minor % 100:02}"),
        "originator": (data.get("originator_conversation_id"), row.originator_conversation_id),
        "conversation": (data.get("conversation_id"), row.conversation_id),
        "receipt": (data.get("transaction_id"), row.transaction_id),
        "reason": (reason.get("code"), row.reason_code),
        "reason source": (reason.get("source"), row.reason_source),
        "state": (data.get("state"), row.state),
    }
    yield from (name for name, (told, right) in wanted.items() if told != right)
    told = str(data.get("msisdn"))
    if told != row.msisdn and (told[:4], told[-4:]) != (row.msisdn[:4], row.msisdn[-4:]):
        yield "msisdn"
    if row.completions and (body.get("id"), body.get("type")) not in row.completions:
        yield "not the event of the outbox"


def _books(evidence: Evidence) -> Iterator[Violation]:
    """Add up in count and in money what was looked at one by one."""
    rows = evidence.rows.values()
    ended = sum(row.state in ENDED for row in rows)
    firsts = [row for row in rows if row.retry_of is None]
    aside = {letter.payout_id for letter in evidence.put_aside} - {row.payout_id for row in rows}
    taken = {one for one in evidence.published if one in evidence.rows}
    counts = {
        "published": (len(evidence.published), len(firsts) + len(aside & set(evidence.published))),
        "beginnings": (sum(_times(row.steps, None) for row in rows), len(rows)),
        "endings": (sum(step.to in ENDED for row in rows for step in row.steps), ended),
        "outbox": (sum(len(row.completions) for row in rows), ended),
    }
    for name, (left, right) in counts.items():
        if left != right:
            yield Violation(kind=Kind.BOOKS_COUNT, detail=f"{name}: {left}, {right}")
    commanded = sum(evidence.published[one].amount_minor for one in taken)
    written = sum(row.amount_minor for row in firsts)
    if commanded != written:
        yield Violation(kind=Kind.BOOKS_MONEY, detail=f"commanded {commanded}, written {written}")
    yield from _paid_sums(evidence, rows)


def _paid_sums(evidence: Evidence, rows: Iterable[Row]) -> Iterator[Violation]:
    """Compare sums: what the ledger paid is what succeeded, and what is open or was lied about."""
    by_id: dict[str, int] = defaultdict(int)
    for payment in evidence.ledger:
        by_id[payment.originator_conversation_id] += payment.amount_minor
    succeeded = sum(row.amount_minor for row in rows if row.state == "succeeded")
    excused = sum(
        by_id[row.originator_conversation_id]
        for row in rows
        if row.state == "in_doubt"
        or (row.state == "failed" and _may(evidence, row, May.BE_LIED_TO))
    )
    paid = sum(by_id.values())
    if paid != succeeded + excused:
        yield Violation(
            kind=Kind.BOOKS_MONEY,
            detail=f"the gateway paid {paid}, succeeded {succeeded}, open {excused}",
        )


def _may(evidence: Evidence, row: Row, what: May) -> bool:
    command = evidence.published.get(row.root)
    return command is not None and what in command.may


def _times(steps: list[Step], came_from: str | None) -> int:
    return sum(step.came_from == came_from for step in steps)
