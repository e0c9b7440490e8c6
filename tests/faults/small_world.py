"""A small world in order, in which violations can be planted: rows, ledger lines, events."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import msgspec

from ops.simulator.records import Conversation, Ended, Payment
from tests.faults.evidence import ENDS, PAID, UNPAID, Heard, May, Published, PutAside

PREFIX = "600000_ORG"
RETRY_WIRE = f"{PREFIX}-r2_failed-1"


def wire(payout_id: str) -> str:
    return f"{PREFIX}_{payout_id}"


@dataclass
class Case:
    """A world in order: one payout succeeded, one failed, one in doubt, one put aside."""

    published: dict[str, Published] = field(
        default_factory=lambda: {
            one.payout_id: one
            for one in (
                Published(payout_id="paid-1", amount="150.50", msisdn="254712345678", may=PAID),
                Published(payout_id="failed-1", amount="20.00", msisdn="254712345679", may=UNPAID),
                Published(
                    payout_id="doubt-1",
                    amount="30.00",
                    msisdn="254712345670",
                    may=ENDS | {May.STAY_IN_DOUBT},
                ),
                Published(
                    payout_id="bad-1",
                    amount="0.00",
                    msisdn="254712345671",
                    may=frozenset({May.BE_PUT_ASIDE}),
                ),
            )
        }
    )
    payments: list[tuple[str, str, str, str]] = field(
        default_factory=lambda: [
            (wire("paid-1"), "RECEIPT001", "254712345678", "150.50"),
            (wire("doubt-1"), "RECEIPT002", "254712345670", "30.00"),
        ]
    )
    heard: list[Heard] = field(
        default_factory=lambda: [event("paid-1", "succeeded"), event("failed-1", "failed")]
    )
    put_aside: list[PutAside] = field(default_factory=lambda: [PutAside("bad-1", "invalid")])
    statements: list[str] = field(default_factory=list)

    def may(self, payout_id: str, *what: May) -> None:
        """Change what a command's round lets happen to it."""
        self.published[payout_id] = replace(self.published[payout_id], may=frozenset(what))


EVENT_IDS = {
    "paid-1": "00000000-0000-0000-0000-000000000001",
    "failed-1": "00000000-0000-0000-0000-000000000002",
}
FACTS = {
    "paid-1": ("150.50", "2547****5678", "RECEIPT001", "0"),
    "failed-1": ("20.00", "2547****5679", None, "2001"),
}


def event(payout_id: str, state: str, **changes: object) -> Heard:
    """Write a completion event as downstream gets it; `changes` go into its data."""
    amount, msisdn, receipt, code = FACTS[payout_id]
    event_id, event_type = EVENT_IDS[payout_id], f"payout.{state}"
    body = {
        "specversion": "1.0",
        "id": event_id,
        "type": event_type,
        "subject": payout_id,
        "data": {
            "payout_id": payout_id,
            "account": "default",
            "state": state,
            "amount": amount,
            "msisdn": msisdn,
            "originator_conversation_id": wire(payout_id),
            "conversation_id": f"AG_{payout_id}",
            "transaction_id": receipt,
            "reason": {"source": "result", "code": code},
            **changes,
        },
    }
    return Heard(payout_id, json.dumps(body).encode(), event_id, payout_id, event_type)


def renamed(heard: Heard, event_id: str) -> Heard:
    """Give the same event under another id."""
    body = json.dumps({**json.loads(heard.body), "id": event_id}).encode()
    return heard._replace(body=body, message_id=event_id)


def payout_row(payout_id: str, amount_minor: int, msisdn: str, state: str, **columns: str) -> str:
    """Write the INSERT of a payout; `columns` are SQL."""
    known = {
        "payout_id": f"'{payout_id}'",
        "account": "'default'",
        "amount_minor": str(amount_minor),
        "currency": "'KES'",
        "msisdn": f"'{msisdn}'",
        "command_id": "'BusinessPayment'",
        "originator_conversation_id": f"'{wire(payout_id)}'",
        "conversation_id": f"'AG_{payout_id}'",
        "state": f"'{state}'",
        "came_from": "'accepted'",
        "attempts": "1",
        "created_at": "now()",
        "submitted_at": "now()",
        "last_sent_at": "now()",
        "completed_at": "NULL" if state == "in_doubt" else "now()",
        **columns,
    }
    return f"INSERT INTO payouts ({', '.join(known)}) VALUES ({', '.join(known.values())})"  # noqa: S608


def reason(source: str, code: str) -> dict[str, str]:
    return {
        "reason_source": f"'{source}'",
        "reason_code": f"'{code}'",
        "reason_class": "'x'",
        "reason_description": "'x'",
    }


def steps(payout_id: str, *states: str) -> str:
    """Write a payout's timeline."""
    before = ["NULL::text", *(f"'{state}'" for state in states)]
    values = ", ".join(
        f"({number}, {before[number]}, '{state}')" for number, state in enumerate(states)
    )
    return (
        "INSERT INTO timeline (payout, at, actor, kind, from_state, to_state, attempt)"  # noqa: S608
        f" SELECT p.id, now(), 'test', 'test', a, b, 1 FROM payouts p, (VALUES {values}) v(n, a, b)"
        f" WHERE p.payout_id = '{payout_id}' ORDER BY n"
    )


def outbox(payout_id: str, event_type: str) -> str:
    return (
        "INSERT INTO events (event_id, payout_id, type, created_at)"  # noqa: S608
        f" VALUES ('{EVENT_IDS[payout_id]}', '{payout_id}', '{event_type}', now())"
    )


IN_ORDER = (
    payout_row(
        "paid-1",
        15050,
        "254712345678",
        "succeeded",
        transaction_id="'RECEIPT001'",
        **reason("result", "0"),
    ),
    payout_row("failed-1", 2000, "254712345679", "failed", **reason("result", "2001")),
    payout_row(
        "doubt-1",
        3000,
        "254712345670",
        "in_doubt",
        doubt_since="now()",
        **reason("local", "timeout"),
    ),
    steps("paid-1", "submitting", "accepted", "succeeded"),
    steps("failed-1", "received", "submitting", "waiting", "submitting", "accepted", "failed"),
    steps("doubt-1", "submitting", "in_doubt"),
    outbox("paid-1", "payout.succeeded"),
    outbox("failed-1", "payout.failed"),
)


def ledger_line(payment: tuple[str, str, str, str]) -> bytes:
    """Write a line of the simulator's books: this was paid, and its Result is delivered."""
    originator, receipt, msisdn, amount = payment
    conversation = Conversation(
        originator_conversation_id=originator,
        conversation_id=f"AG_{receipt}",
        command_id="BusinessPayment",
        msisdn=msisdn,
        amount=int(amount.replace(".", "")),
        short_code="600000",
        result_url="http://127.0.0.1:9/result",
        timeout_url="http://127.0.0.1:9/timeout",
        references=[],
        accepted_at=0.0,
        receipt=receipt,
    )
    made = Payment(
        originator_conversation_id=originator,
        conversation_id=conversation.conversation_id,
        receipt=receipt,
        msisdn=msisdn,
        amount=amount,
        short_code="600000",
        command_id="BusinessPayment",
        paid_at="2026-01-15T10:30:00.000Z",
    )
    told = msgspec.json.encode(Ended(conversation, made))
    delivered = {"event": "delivered", "conversation_id": conversation.conversation_id}
    return told + b"\n" + msgspec.json.encode(delivered) + b"\n"
