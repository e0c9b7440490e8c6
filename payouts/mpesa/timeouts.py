"""Reads notifyQueueTimeout: the broker dropped a request that it had cached (protocol.md §5.1)."""

from __future__ import annotations

from payouts.domain.answers import QueueTimeout
from payouts.domain.errors import UnreadableMessageError
from payouts.domain.values import OriginatorConversationId
from payouts.mpesa.soap import body_children, fields_of, local_name, short


def parse_queue_timeout(body: bytes) -> QueueTimeout:
    """Return whose request expired in the broker's queue.

    The original request that comes along (in either spelling) is not looked at: the id is all
    that is needed, and the rest holds personal data.

    Raises:
        MessageTooLargeError: the body is too large.
        UnreadableMessageError: it is no notifyQueueTimeout, or names no id. Never anything else.
    """
    for child in body_children(body):
        if local_name(child) == "notifyqueuetimeout":
            originator = short(fields_of(child), "originatorconversationid")
            if originator is None:
                raise UnreadableMessageError("It has no originatorConversationID.")
            return QueueTimeout(originator_conversation_id=OriginatorConversationId(originator))
    raise UnreadableMessageError("It has no notifyQueueTimeout.")
