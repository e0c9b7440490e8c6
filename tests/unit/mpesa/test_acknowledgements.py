"""What callbacks are answered, read by an independent reader."""

from __future__ import annotations

import pytest
from lxml import etree

from payouts.mpesa.acknowledgements import (
    Acknowledgement,
    FaultCode,
    queue_timeout_acknowledgement,
    result_acknowledgement,
    soap_fault,
)
from payouts.mpesa.responses import parse_response
from payouts.mpesa.settings import AckNamespace
from payouts.mpesa.soap import SoapFaultError
from payouts.mpesa.wsdl import schema
from tests.fixtures.mpesa.messages import API, SOAP

RES = f"{{{API}/result}}"


@pytest.mark.parametrize("namespace", list(AckNamespace))
@pytest.mark.parametrize(
    ("acknowledgement", "code"),
    [
        (Acknowledgement.SUCCESS, "00000000"),
        (Acknowledgement.OVERLOAD, "200000001"),
        (Acknowledgement.INTERNAL_ERROR, "200000003"),
    ],
)
def test_a_result_is_acknowledged_in_the_chosen_namespace(
    acknowledgement: Acknowledgement, code: str, namespace: AckNamespace
) -> None:
    """ResponseMsg in the document's namespace or the WSDL's, around a valid Response."""
    body = result_acknowledgement(acknowledgement, namespace)
    message = etree.fromstring(body).find(f"{{{SOAP}}}Body/{{{namespace.value}}}ResponseMsg")
    assert message is not None
    inner = etree.fromstring((message.text or "").encode())
    assert etree.XMLSchema(etree.fromstring(schema("response.xsd"))).validate(inner)
    assert parse_response(body).code == code


def test_the_documents_namespace_is_the_default() -> None:
    """The official example decides where document and WSDL differ (protocol.md §4.5)."""
    body = result_acknowledgement(Acknowledgement.SUCCESS)
    assert f'xmlns:ack="{API}/request"'.encode() in body


@pytest.mark.parametrize(
    ("acknowledgement", "code"),
    [
        (Acknowledgement.SUCCESS, "00000000"),
        (Acknowledgement.OVERLOAD, "000000001"),
        (Acknowledgement.INTERNAL_ERROR, "000000001"),
    ],
)
def test_a_queue_time_out_has_its_own_acknowledgement(
    acknowledgement: Acknowledgement, code: str
) -> None:
    """ResultCode in the result namespace; the only failure is 000000001 (protocol.md §5.1)."""
    root = etree.fromstring(queue_timeout_acknowledgement(acknowledgement))
    assert root.findtext(f".//{RES}ResultCode") == code


@pytest.mark.parametrize("code", list(FaultCode))
def test_a_fault_is_a_soap_1_1_fault(code: FaultCode) -> None:
    """Its code is qualified, its words are escaped."""
    body = soap_fault(code, "not <this> & that")
    fault = etree.fromstring(body).find(f"{{{SOAP}}}Body/{{{SOAP}}}Fault")
    assert fault is not None
    assert fault.findtext("faultcode") == f"soapenv:{code.value}"
    assert fault.findtext("faultstring") == "not <this> & that"
    with pytest.raises(SoapFaultError):
        parse_response(body)
