"""What the gateway can say, free of XML: answers, Results, queue time-outs, queries' answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from payouts.domain.values import ConversationId, OriginatorConversationId, TransactionId


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The synchronous answer (GenericAPIResponse): taken, queued or refused. Code as text."""

    code: str
    description: str = ""
    conversation_id: ConversationId | None = None
    originator_conversation_id: OriginatorConversationId | None = None


class NotSentCause(StrEnum):
    """Why it is certain that no byte of a request reached the gateway's application."""

    CONNECT = "connect"  # No connection came about: refused, unreachable, timed out, no name.
    TLS = "tls"  # The handshake failed: a certificate or a protocol does not fit.
    FENCED = "fenced"  # This worker's lease had lapsed at the last instant; it held back.


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent:
    """It is certain that the request was not sent; sending it again is safe."""

    cause: NotSentCause
    description: str = ""


class UnknownCause(StrEnum):
    """Why nobody can say what became of a request."""

    TIMEOUT = "timeout"
    CONNECTION_LOST = "connection_lost"
    HTTP_STATUS = "http_status"
    UNREADABLE = "unreadable"
    SOAP_FAULT = "soap_fault"
    OTHER_ID = "other_id"  # A readable answer that names another request's id.


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeUnknown:
    """The request may have been received; only the gateway can tell. Never a failure."""

    cause: UnknownCause
    description: str = ""


Answer = Response | NotSent | OutcomeUnknown


class TransactionStatus(StrEnum):
    """The state of a payment as a TransactionStatusQuery's Result tells it (protocol.md §4.3)."""

    COMPLETED = "Completed"
    CANCELLED = "Cancelled"
    DECLINED = "Declined"
    EXPIRED = "Expired"
    UNDER_WAY = "Under way"  # Initiated, Authorized, Pending Authorized and whatever is unknown.


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The asynchronous outcome (GenericAPIResult), of a payment or of a TransactionStatusQuery.

    Args:
        code: as sent, trimmed; compare by the code table only.
        intermediate: ResultType 1: further messages follow, nothing is decided.
        amount_minor: the amount where it carries one, in minor units.
        amount_unreadable: it carries an amount that nobody can read: disagrees by definition.
        receiver: the receiver's digits where it carries them unmasked.
        transaction_id: the receipt; never unique, never proof (protocol.md §4.4).
        completed_at_text: as sent; its zone is not known (protocol.md §6).
        status: for a TransactionStatusQuery with code 0: the payment's state.
        subject_originator_conversation_id: for a status query: the payment's id as echoed.
        utility_balance_minor: the paying account's balance after the payment, if told.
        parameters: all keys and values, with personal data; for incidents only.
    """

    code: str
    description: str = ""
    intermediate: bool = False
    originator_conversation_id: OriginatorConversationId | None = None
    conversation_id: ConversationId | None = None
    transaction_id: TransactionId | None = None
    amount_minor: int | None = None
    amount_unreadable: bool = False
    receiver: str | None = None
    completed_at_text: str | None = None
    status: TransactionStatus | None = None
    subject_originator_conversation_id: OriginatorConversationId | None = None
    utility_balance_minor: int | None = None
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueTimeout:
    """notifyQueueTimeout: the broker dropped a request that it had cached (D-B2C15 §4.3)."""

    originator_conversation_id: OriginatorConversationId


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerRecord:
    """What the broker's log holds about one id (queryTransaction, D-B2C15 §4.4).

    Args:
        response: the answer to the query itself; other than success means: not answered.
        requests: how many requests with this id it logged; 0 with success means: not found.
        responses: the readable Responses that it logged, in its order, each distinct one once.
        answered: how many sends have a logged Response, at least; sends refused alike count each.
        unreadable_responses: how many logged Responses could not be read.
        results: the readable Results that it logged.
        queue_timeouts: how many queue time-outs it logged.
    """

    response: Response
    requests: int = 0
    responses: tuple[Response, ...] = ()
    unreadable_responses: int = 0
    answered: int = 0
    results: tuple[Result, ...] = ()
    queue_timeouts: int = 0


BrokerAnswer = BrokerRecord | NotSent | OutcomeUnknown
