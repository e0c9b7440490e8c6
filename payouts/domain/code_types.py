"""What a row of the code table says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Side(StrEnum):
    """Where a code is said: the same number may mean another thing on another side."""

    RESPONSE = "response"  # At once, to a GenericAPIRequest or a queryTransaction.
    RESULT = "result"  # Later, about a payment.
    QUERY = "query"  # Later, about a TransactionStatusQuery itself.


class Core(StrEnum):
    """Who says it."""

    BROKER = "broker"
    G1 = "G1"
    G2 = "G2"
    DARAJA = "Daraja"


class CodeClass(StrEnum):
    """What a code means for a payout."""

    ACCEPTED = "accepted"  # Response: taken. Query: answered.
    QUEUED = "queued"  # Response: the broker keeps it and will deliver it, or say that it expired.
    COMPLETED = "completed"  # Result: the money moved.
    REFUSED_RETRY = "refused-retry"  # Not taken, for a passing reason; the same id again, later.
    REFUSED_FINAL = "refused-final"  # Not taken, or not paid, for a lasting reason.
    CONFIGURATION = "configuration"  # Not the payout's fault: credentials, permissions, set-up.
    DUPLICATE = "duplicate"  # An earlier send of this id arrived.
    INTERMEDIATE = "intermediate"  # Further messages follow.
    NOT_FOUND = "not-found"  # Query: the gateway does not know the payment.
    AMBIGUOUS = "ambiguous"  # Anything may have happened.


class Blame(StrEnum):
    """What of the whole account a code blames: the next payout would meet the same."""

    INITIATOR = "initiator"  # Locked, or refused so that more tries lock it: pause at once.
    FLOAT = "float"  # The paying account's balance does not suffice; a smaller payout's may.


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """One row: on which side and core, what it means, and what it proves and blames.

    Args:
        proves_unpaid: whether it proves that no money moved.
        blames: what is wrong beyond the one payout, if it tells.
    """

    side: Side
    core: Core
    code: str
    meaning: str
    klass: CodeClass
    proves_unpaid: bool
    source: str
    blames: Blame | None = None
