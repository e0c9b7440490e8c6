"""What M-PESA knows: requests by id, what was logged of each, floats, and money that moved."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from payouts.domain.answers import Response, Result
from payouts.domain.payout import Payout
from payouts.domain.values import ConversationId, OriginatorConversationId, TransactionId

FLOAT_MINOR: Final = 10**12


class Stand(StrEnum):
    """Where a request is on M-PESA's side."""

    QUEUED = "queued"  # Kept by the broker; the core does not know it.
    ACCEPTED = "accepted"  # The core will pay or decline it in a moment.
    PAID = "paid"  # The money moved.
    DECLINED = "declined"  # No money moved, nor ever will.
    EXPIRED = "expired"  # Dropped by the broker; the id is free again.


class Paid(NamedTuple):
    """One line of the true ledger."""

    own_id: str
    amount_minor: int
    receiver: str
    receipt: str
    at: datetime


@dataclass(slots=True, eq=False)
class Conversation:
    """One request that was taken, from then to its end."""

    own_id: OriginatorConversationId
    conversation_id: ConversationId
    amount_minor: int
    receiver: str
    stand: Stand
    code: str = "0"
    receipt: TransactionId | None = None
    balance_minor: int = 0


@dataclass(slots=True)
class Log:
    """What the broker has logged of one id."""

    requests: int = 0
    responses: list[Response] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    queue_timeouts: int = 0

    def answered(self, response: Response) -> None:
        """Log a request with its Response; the same one again is told once."""
        self.requests += 1
        if response not in self.responses:
            self.responses.append(response)


class Ledger:
    """The accountant of the other side, who is always right."""

    def __init__(self, float_minor: int = FLOAT_MINOR) -> None:
        self.ledger: list[Paid] = []
        self.conversations: dict[str, Conversation] = {}
        self.taken: dict[str, list[Conversation]] = {}
        self.logs: dict[str, Log] = {}
        self.floats: dict[str, int] = {}
        self._float_minor = float_minor
        self._serial = 0

    def float_of(self, own_id: str) -> int:
        """Return what is left of the float of a request's short code."""
        return self.floats.get(own_id.partition("_")[0], self._float_minor)

    def log(self, own_id: str) -> Log:
        """Return the log of an id."""
        return self.logs.setdefault(own_id, Log())

    def known(self, own_id: str) -> Conversation | None:
        """Return the request that makes an id a duplicate, if any."""
        found = self.conversations.get(own_id)
        return None if found is None or found.stand is Stand.EXPIRED else found

    def open(self, payout: Payout, stand: Stand) -> Conversation:
        """Take a request."""
        conversation = Conversation(
            payout.originator_conversation_id,
            self.next_conversation_id(),
            payout.amount_minor,
            payout.msisdn,
            stand,
        )
        self.conversations[conversation.own_id] = conversation
        self.taken.setdefault(conversation.own_id, []).append(conversation)
        return conversation

    def next_conversation_id(self) -> ConversationId:
        """Return an id of the gateway's own that was never given before."""
        self._serial += 1
        return ConversationId(f"AG_20261130_{self._serial:012d}")

    def pay(self, conversation: Conversation, at: datetime) -> bool:
        """Move the money, if the float suffices; tell whether it did."""
        short_code = conversation.own_id.partition("_")[0]
        left = self.float_of(conversation.own_id) - conversation.amount_minor
        if left < 0:
            return False
        self.floats[short_code] = conversation.balance_minor = left
        conversation.stand = Stand.PAID
        conversation.receipt = TransactionId(f"UKU{len(self.ledger) + 1:07d}")
        self.ledger.append(
            Paid(
                conversation.own_id,
                conversation.amount_minor,
                conversation.receiver,
                conversation.receipt,
                at,
            )
        )
        return True

    def decline(self, conversation: Conversation, code: str) -> None:
        """End a request without moving money."""
        conversation.stand = Stand.DECLINED
        conversation.code = code
        conversation.balance_minor = self.float_of(conversation.own_id)
