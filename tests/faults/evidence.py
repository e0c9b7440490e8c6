"""What a round leaves behind, read without any code of the product.

Four witnesses: what was published, the gateway's ledger (over HTTP), the database (plain SQL)
and what a downstream consumed from RabbitMQ. `judge.py` compares them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple

import aiohttp
import asyncpg

PAGE: Final = 2000


class May(StrEnum):
    """What may become of a command, by what its round did to it."""

    SUCCEED = "succeed"
    FAIL = "fail"
    STAY_IN_DOUBT = "stay in doubt"  # The gateway does not tell how it ended.
    BE_PUT_ASIDE = "be put aside"  # It is not valid, or contradicts an earlier one.
    BE_LIED_TO = "be lied to"  # The gateway says that it failed, though it pays.
    LACK_RECEIPT = "lack a receipt"  # The gateway says that it paid, without any receipt.


ENDS: Final = frozenset({May.SUCCEED, May.FAIL})
PAID: Final = frozenset({May.SUCCEED})
UNPAID: Final = frozenset({May.FAIL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A command as it was published. `amount` is a decimal text, `msisdn` has 12 digits."""

    payout_id: str
    amount: str
    msisdn: str
    account: str = "default"
    may: frozenset[May] = PAID
    run_id: str | None = None

    @property
    def amount_minor(self) -> int:
        """Give the amount in cents."""
        return cents(self.amount)

    def body(self) -> bytes:
        """Give the message's body."""
        fields = {
            "payout_id": self.payout_id,
            "amount": self.amount,
            "msisdn": self.msisdn,
            "account": self.account,
        }
        return json.dumps(fields | ({"run_id": self.run_id} if self.run_id else {})).encode()


class Payment(NamedTuple):
    """One line of the gateway's ledger: money that moved."""

    originator_conversation_id: str
    receipt: str
    msisdn: str
    amount_minor: int


class Step(NamedTuple):
    """One transition in a payout's timeline."""

    came_from: str | None
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A submission as the database has it, with its transitions in order and its event's id.

    `root` is the payout id of the first submission; `retry_of` that of the one before, if any.
    """

    payout_id: str
    root: str
    retry_of: str | None
    account: str
    amount_minor: int
    msisdn: str
    originator_conversation_id: str
    conversation_id: str | None
    transaction_id: str | None
    state: str
    reason_source: str | None
    reason_code: str | None
    steps: list[Step] = field(default_factory=list)
    completions: list[tuple[str, str]] = field(default_factory=list)


class Heard(NamedTuple):
    """A completion event as a downstream got it; `properties` are those of its message."""

    payout_id: str
    body: bytes
    message_id: str | None
    correlation_id: str | None
    type: str | None


class PutAside(NamedTuple):
    """A dead letter: whose it is, as far as its body tells, and why."""

    payout_id: str | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that the judge looks at. `prefixes` are `{shortcode}_{organisation}` by account."""

    published: Mapping[str, Published]
    ledger: list[Payment]
    rows: Mapping[str, Row]
    heard: Mapping[str, list[Heard]]
    put_aside: list[PutAside]
    prefixes: Mapping[str, str]


def cents(amount: str) -> int:
    """Give the cents of a decimal text."""
    return int(Decimal(amount).scaleb(2))


async def read_ledger(session: aiohttp.ClientSession, admin_url: str) -> AsyncIterator[Payment]:
    """Give every payment the gateway made, as it streams them; `admin_url` ends in /simulator."""
    timeout = aiohttp.ClientTimeout(total=300)
    async with session.get(f"{admin_url}/ledger", timeout=timeout) as answer:
        answer.raise_for_status()
        async for line in answer.content:
            told = json.loads(line)
            yield Payment(
                told["originator_conversation_id"],
                told["receipt"],
                told["msisdn"],
                cents(told["amount"]),
            )


async def read_rows(connection: asyncpg.Connection) -> dict[str, Row]:
    """Give every payout of the database at one instant, with its timeline and its events."""
    async with connection.transaction(isolation="repeatable_read"):
        rows: dict[int, Row] = {}
        # A table before operators could order a second submission has no such column.
        statement = "SELECT p.*, to_jsonb(p)->>'retry_of' AS submission_before FROM payouts p"
        async for one in connection.cursor(statement, prefetch=PAGE):
            rows[one["id"]] = Row(
                payout_id=one["payout_id"],
                root=one["payout_id"],
                retry_of=one["submission_before"],
                account=one["account"],
                amount_minor=one["amount_minor"],
                msisdn=one["msisdn"],
                originator_conversation_id=one["originator_conversation_id"],
                conversation_id=one["conversation_id"],
                transaction_id=one["transaction_id"],
                state=one["state"],
                reason_source=one["reason_source"],
                reason_code=one["reason_code"],
            )
        async for one in connection.cursor(
            "SELECT payout, from_state, to_state FROM timeline"
            " WHERE to_state IS NOT NULL ORDER BY payout, id",
            prefetch=PAGE,
        ):
            rows[one["payout"]].steps.append(Step(one["from_state"], one["to_state"]))
        named = _with_roots({row.payout_id: row for row in rows.values()})
        async for one in connection.cursor(
            "SELECT payout_id, event_id::text AS event_id, type FROM events"
            " WHERE type IN ('payout.succeeded', 'payout.failed')",
            prefetch=PAGE,
        ):
            if one["payout_id"] in named:
                named[one["payout_id"]].completions.append((one["event_id"], one["type"]))
        return named


def _with_roots(rows: dict[str, Row]) -> dict[str, Row]:
    """Follow each further submission to the first one of its payout."""
    for payout_id, row in rows.items():
        root = row
        while root.retry_of in rows:
            root = rows[root.retry_of]
        if root is not row:
            rows[payout_id] = replace(row, root=root.payout_id)
    return rows


async def gather(
    *,
    published: Iterable[Published],
    session: aiohttp.ClientSession,
    admin_url: str,
    connection: asyncpg.Connection,
    heard: Iterable[Heard],
    put_aside: Iterable[PutAside],
    prefixes: Mapping[str, str],
) -> Evidence:
    """Read all four witnesses; call it when nothing moves any more."""
    by_payout: dict[str, list[Heard]] = defaultdict(list)
    for event in heard:
        by_payout[event.payout_id].append(event)
    return Evidence(
        published={one.payout_id: one for one in published},
        ledger=[payment async for payment in read_ledger(session, admin_url)],
        rows=await read_rows(connection),
        heard=by_payout,
        put_aside=list(put_aside),
        prefixes=prefixes,
    )
