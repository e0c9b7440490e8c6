"""The Result as it comes, and the event that is published of it; alike in both stacks."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from ops.bench.bare.wire import inner


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a Result says of a payout."""

    originator: str
    code: str
    conversation_id: str
    transaction_id: str

    @property
    def state(self) -> str:
        """The state in which it ends the payout: every success is a code of zeros."""
        return "failed" if self.code.strip("0") else "succeeded"

    @property
    def kind(self) -> str:
        """The type of its event, which is the routing key too."""
        return f"payout.{self.state}"

    def row(self) -> dict[str, str]:
        """Returns the values of `table.ENDED`."""
        return {
            "originator": self.originator,
            "to": self.state,
            "conversation": self.conversation_id,
            "transaction": self.transaction_id,
            "answer": self.code,
        }


def result_of(body: bytes) -> Result:
    """Returns the Result in an envelope.

    Raises:
        ValueError: the envelope holds none, or one without an id or a code.
        lxml.etree.XMLSyntaxError: this is no XML.
    """
    document = inner(body, "ResultMsg")

    def text(name: str) -> str:
        return (document.findtext(f"{{*}}{name}") or "").strip()

    result = Result(
        originator=text("OriginatorConversationID"),
        code=text("ResultCode"),
        conversation_id=text("ConversationID"),
        transaction_id=text("TransactionID"),
    )
    if not (result.originator and result.code):
        raise ValueError("a Result without an id or a code")
    return result


def event_of(
    result: Result, payout: tuple[str, Decimal, str], *, event_id: str, now: datetime
) -> dict[str, Any]:
    """Returns the CloudEvent of a payout that has ended: `payout` is its id, amount and receiver.

    The receiver's number is masked, as the product does it.
    """
    payout_id, amount, msisdn = payout
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": "peer",
        "type": result.kind,
        "subject": payout_id,
        "time": now.isoformat(),
        "datacontenttype": "application/json",
        "data": {
            "payout_id": payout_id,
            "state": result.state,
            "amount": str(amount),
            "msisdn": f"{msisdn[:4]}****{msisdn[-4:]}",
            "originator_conversation_id": result.originator,
            "conversation_id": result.conversation_id,
            "transaction_id": result.transaction_id,
            "result_code": result.code,
            "completed_at": now.isoformat(),
        },
    }
