"""The gateway by zeep and requests: zeep makes the envelope and its header, lxml what is inside."""

import base64
import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import requests
import zeep
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from lxml import etree
from lxml.builder import ElementMaker

WSDL: Final = Path(__file__).with_name("gateway.wsdl")
REQUEST_NS: Final = "http://api-v1.gen.mm.vodafone.com/mminterface/request"
HEADER_NS: Final = "http://www.huawei.com/schema/osg/common/v2_1"
TIMEOUT_S: Final = 30


class Gateway:
    """Sends payments over one connection that is kept; a process has one of its own."""

    def __init__(self) -> None:
        session = requests.Session()
        # Otherwise requests looks for proxies and .netrc before each request.
        session.trust_env = False
        transport = zeep.Transport(session=session, operation_timeout=TIMEOUT_S)
        client = zeep.Client(str(WSDL), transport=transport)
        self._service = client.create_service(
            f"{{{REQUEST_NS}}}GatewaySoap", os.environ["BENCH_GATEWAY_URL"]
        )
        self._header = client.get_element(f"{{{HEADER_NS}}}RequestSOAPHeader")
        self._credential = _credential()

    def pay(self, originator: str, amount: str, msisdn: str) -> tuple[str, str]:
        """Sends a payment; returns the code and the ConversationID of the Response."""
        now = datetime.now(UTC)
        text = self._service.GenericAPIRequest(
            self._document(originator, amount, msisdn, now), _soapheaders=[self._caller(now)]
        )
        response = etree.fromstring(text.strip().encode())
        code = response.findtext("{*}ResponseCode") or ""
        return code.strip(), (response.findtext("{*}ConversationID") or "").strip()

    def _caller(self, now: datetime) -> Any:
        sp_id, stamp = os.environ["BENCH_SP_ID"], now.strftime("%Y%m%d%H%M%S")
        sealed = hashlib.sha256(f"{sp_id}{os.environ['BENCH_SP_PASSWORD']}{stamp}".encode())
        return self._header(
            spId=sp_id,
            spPassword=base64.b64encode(sealed.hexdigest().upper().encode()).decode(),
            timeStamp=stamp,
            serviceId=os.environ["BENCH_SERVICE_ID"],
        )

    def _document(self, originator: str, amount: str, msisdn: str, now: datetime) -> str:
        shortcode, result_url = os.environ["BENCH_SHORTCODE"], os.environ["BENCH_RESULT_URL"]
        document = E.request(
            E.Transaction(
                E.CommandID("BusinessPayment"),
                E.LanguageCode("0"),
                E.OriginatorConversationID(originator),
                E.ConversationID(),
                E.Remark(),
                E.Parameters(E.Parameter(E.Key("Amount"), E.Value(amount))),
                E.ReferenceData(E.ReferenceItem(E.Key("QueueTimeoutURL"), E.Value(result_url))),
                E.Timestamp(now.isoformat(timespec="milliseconds")),
            ),
            E.Identity(
                E.Caller(
                    E.CallerType("2"),
                    E.ThirdPartyID(os.environ["BENCH_SP_ID"]),
                    E.Password(),
                    E.CheckSum(),
                    E.ResultURL(result_url),
                ),
                E.Initiator(
                    E.IdentifierType("11"),
                    E.Identifier(os.environ["BENCH_INITIATOR_USERNAME"]),
                    E.SecurityCredential(self._credential),
                    E.ShortCode(shortcode),
                ),
                E.PrimaryParty(E.IdentifierType("4"), E.Identifier(shortcode)),
                E.ReceiverParty(E.IdentifierType("1"), E.Identifier(msisdn)),
            ),
            E.KeyOwner("1"),
        )
        declared: bytes = etree.tostring(document, xml_declaration=True, encoding="UTF-8")
        return declared.decode()


E: Final = ElementMaker(namespace=REQUEST_NS, nsmap={None: REQUEST_NS})


def _credential() -> str:
    """Returns the initiator's password, encrypted for the gateway; it may be used again."""
    certificate = Path(os.environ["BENCH_API_CERTIFICATE"]).read_bytes()
    key = x509.load_pem_x509_certificate(certificate).public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise TypeError("the gateway's certificate holds no RSA key")
    secret = os.environ["BENCH_INITIATOR_PASSWORD"].encode()
    return base64.b64encode(key.encrypt(secret, padding.PKCS1v15())).decode()
