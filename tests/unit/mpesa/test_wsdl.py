"""Our WSDLs, loaded and used by zeep, which was written apart from us."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import zeep
from lxml import etree
from zeep.transports import Transport

from payouts.mpesa.acknowledgements import (
    Acknowledgement,
    queue_timeout_acknowledgement,
    result_acknowledgement,
)
from payouts.mpesa.results import parse_result
from payouts.mpesa.settings import AckNamespace
from payouts.mpesa.timeouts import parse_queue_timeout
from payouts.mpesa.wsdl import SCHEMAS, queue_timeout_wsdl, result_wsdl, schema
from tests.fixtures.mpesa.messages import API, payout, result

ADDRESS = 'http://127.0.0.1:8310/mpesa/result?a=1&b="2"'


class Loopback(Transport):
    """Carries messages to us in this process, and our answer back."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.answer = answer
        self.sent: list[tuple[str, bytes]] = []

    def post(self, address: str, message: bytes, _headers: dict[str, str]) -> Any:
        """Takes what zeep posts."""
        self.sent.append((address, message))
        return type(
            "Answer",
            (),
            {
                "status_code": 200,
                "content": self.answer,
                "headers": {"Content-Type": "text/xml; charset=utf-8"},
                "encoding": "utf-8",
            },
        )()


def client_of(wsdl: str | io.BytesIO, transport: Transport | None = None) -> Any:
    """Loads a WSDL; zeep has no types."""
    return zeep.Client(wsdl, transport=transport)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("namespace", list(AckNamespace))
def test_zeep_sends_a_result_and_reads_our_acknowledgement(namespace: AckNamespace) -> None:
    """The served WSDL fits what is really taken and sent, in either namespace."""
    transport = Loopback(result_acknowledgement(Acknowledgement.SUCCESS, namespace))
    client = client_of(io.BytesIO(result_wsdl(ADDRESS, namespace)), transport)
    answer = client.service.GenericAPIResult(result("0", OriginatorConversationID="o"))
    (address, message) = transport.sent[0]
    assert address == ADDRESS
    assert parse_result(message).originator_conversation_id == "o"
    assert "<ResponseCode>00000000</ResponseCode>" in answer


@pytest.mark.parametrize("spelling", ["originRequest", "originReqeust"])
def test_zeep_sends_a_queue_time_out_and_reads_our_acknowledgement(spelling: str) -> None:
    """Either spelling of the original request fits our WSDL."""
    transport = Loopback(queue_timeout_acknowledgement(Acknowledgement.SUCCESS))
    client = client_of(io.BytesIO(queue_timeout_wsdl(ADDRESS)), transport)
    answer = client.service.notifyQueueTimeout(
        originatorConversationID=payout().originator_conversation_id, **{spelling: "eA=="}
    )
    notice = parse_queue_timeout(transport.sent[0][1])
    assert notice.originator_conversation_id == payout().originator_conversation_id
    assert answer.ResultCode == "00000000"


@pytest.mark.parametrize("name", ["generic_api_request.wsdl", "query_transaction.wsdl"])
def test_zeep_loads_the_wsdls_of_what_we_send(name: str, tmp_path: Path) -> None:
    """With the header's schema beside them, as in the package."""
    for file in SCHEMAS:
        (tmp_path / file).write_bytes(schema(file))
    client = client_of(str(tmp_path / name))
    (service,) = client.wsdl.services.values()
    (port,) = service.ports.values()
    (operation,) = port.binding._operations.values()
    assert operation.soapaction == ""
    assert "RequestSOAPHeader" in str(operation.input.signature())


def test_every_file_is_listed_and_well_formed() -> None:
    """What lies in the folder is what `SCHEMAS` names."""
    folder = Path(result_wsdl.__code__.co_filename).parent / "schemas"
    assert sorted(file.name for file in folder.iterdir()) == sorted(SCHEMAS)
    for name in SCHEMAS:
        etree.fromstring(schema(name))


def test_results_in_our_shape_fit_our_schema() -> None:
    """The G2 form is a document of result.xsd."""
    checker = etree.XMLSchema(etree.fromstring(schema("result.xsd")))
    good = result("0", [("TransactionAmount", "1.00")], OriginatorConversationID="o")
    assert checker.validate(etree.fromstring(good))
    assert not checker.validate(etree.fromstring(f'<Result xmlns="{API}/result"/>'))
