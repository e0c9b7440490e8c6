"""Reads the synchronous answer: GenericAPIResponse (protocol.md §3)."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Final

from payouts.domain.answers import Response
from payouts.domain.errors import UnreadableMessageError
from payouts.domain.values import ConversationId, OriginatorConversationId
from payouts.mpesa.soap import body_children, fields_of, inner_document, local_name, short

MAX_DESCRIPTION: Final = 1024
MESSAGE: Final = "responsemsg"


def parse_response(body: bytes) -> Response:
    """Return the Response in a SOAP message, whatever namespaces and order it is written in.

    Raises:
        MessageTooLargeError: the body is too large.
        UnreadableMessageError: it is no Response, or it has no code. Never anything else.
    """
    for child in body_children(body):
        if local_name(child) == MESSAGE:
            return response_of(inner_document(child, "response"))
    raise UnreadableMessageError("It has no ResponseMsg.")


def response_of(document: ET.Element) -> Response:
    """Return the Response whose fields are the children of `document`.

    Raises:
        UnreadableMessageError: it has no code.
    """
    fields = fields_of(document)
    code = short(fields, "responsecode")
    if code is None:
        raise UnreadableMessageError("It has no ResponseCode.")
    conversation = short(fields, "conversationid")
    originator = short(fields, "originatorconversationid")
    return Response(
        code=code,
        description=fields.get("responsedesc", "")[:MAX_DESCRIPTION],
        conversation_id=None if conversation is None else ConversationId(conversation),
        originator_conversation_id=(
            None if originator is None else OriginatorConversationId(originator)
        ),
    )
