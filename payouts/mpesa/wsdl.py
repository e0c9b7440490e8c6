"""Our own WSDLs and XSDs of what we send and serve, as files of this package."""

from __future__ import annotations

from importlib.resources import files
from typing import Final
from xml.sax.saxutils import escape

from payouts.mpesa.settings import AckNamespace

SCHEMAS: Final = (
    "header_a.xsd",
    "header_b.xsd",
    "request.xsd",
    "response.xsd",
    "result.xsd",
    "generic_api_request.wsdl",
    "query_transaction.wsdl",
    "queue_timeout_service.wsdl",
    "result_service.wsdl",
)
_QUOTE: Final = {'"': "&quot;"}


def schema(name: str) -> bytes:
    """Return one of `SCHEMAS`, as it is on disk."""
    return files("payouts.mpesa").joinpath("schemas", name).read_bytes()


def result_wsdl(address: str, namespace: AckNamespace = AckNamespace.REQUEST) -> bytes:
    """Return the WSDL of our Result service at `address`.

    Its reply stands in the namespace in which we acknowledge, so that a strict client reads
    what we really send (the official WSDL and document contradict each other, §4.5).
    """
    text = schema("result_service.wsdl").decode()
    return _at(text, address).replace("@ACKNOWLEDGEMENT_NAMESPACE@", namespace.value).encode()


def queue_timeout_wsdl(address: str) -> bytes:
    """Return the WSDL of our queue time-out service at `address`."""
    return _at(schema("queue_timeout_service.wsdl").decode(), address).encode()


def _at(text: str, address: str) -> str:
    return text.replace("@ADDRESS@", escape(address, _QUOTE))
