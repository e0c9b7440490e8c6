"""The SOAP of the bare pipeline: one envelope out, two documents in, one acknowledgement."""

import base64
import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from lxml import etree

ENVELOPE: Final = """\
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" \
xmlns:req="http://api-v1.gen.mm.vodafone.com/mminterface/request">\
<soapenv:Header><tns:RequestSOAPHeader xmlns:tns="http://www.huawei.com/schema/osg/common/v2_1">\
<tns:spId>{sp_id}</tns:spId><tns:spPassword>{digest}</tns:spPassword>\
<tns:timeStamp>{stamp}</tns:timeStamp><tns:serviceId>{service_id}</tns:serviceId>\
</tns:RequestSOAPHeader></soapenv:Header><soapenv:Body><req:RequestMsg><![CDATA[\
<?xml version="1.0" encoding="UTF-8"?>\
<request xmlns="http://api-v1.gen.mm.vodafone.com/mminterface/request"><Transaction>\
<CommandID>BusinessPayment</CommandID><LanguageCode>0</LanguageCode>\
<OriginatorConversationID>{originator}</OriginatorConversationID><ConversationID/><Remark/>\
<Parameters><Parameter><Key>Amount</Key><Value>{amount}</Value></Parameter></Parameters>\
<ReferenceData><ReferenceItem><Key>QueueTimeoutURL</Key><Value>{result_url}</Value>\
</ReferenceItem></ReferenceData><Timestamp>{timestamp}</Timestamp></Transaction><Identity>\
<Caller><CallerType>2</CallerType><ThirdPartyID>{sp_id}</ThirdPartyID><Password/><CheckSum/>\
<ResultURL>{result_url}</ResultURL></Caller><Initiator><IdentifierType>11</IdentifierType>\
<Identifier>{initiator}</Identifier><SecurityCredential>{credential}</SecurityCredential>\
<ShortCode>{shortcode}</ShortCode></Initiator><PrimaryParty><IdentifierType>4</IdentifierType>\
<Identifier>{shortcode}</Identifier></PrimaryParty><ReceiverParty>\
<IdentifierType>1</IdentifierType><Identifier>{msisdn}</Identifier></ReceiverParty></Identity>\
<KeyOwner>1</KeyOwner></request>]]></req:RequestMsg></soapenv:Body></soapenv:Envelope>"""

ACKNOWLEDGEMENT: Final = b"""\
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" \
xmlns:req="http://api-v1.gen.mm.vodafone.com/mminterface/request"><soapenv:Header/><soapenv:Body>\
<req:ResponseMsg><![CDATA[<?xml version="1.0" encoding="UTF-8"?>\
<response xmlns="http://api-v1.gen.mm.vodafone.com/mminterface/response">\
<ResponseCode>00000000</ResponseCode><ResponseDesc>success</ResponseDesc></response>]]>\
</req:ResponseMsg></soapenv:Body></soapenv:Envelope>"""

_PARSER: Final = etree.XMLParser(resolve_entities=False, no_network=True)


class Requests:
    """Builds payment requests; the initiator's password is encrypted once."""

    def __init__(self) -> None:
        certificate = Path(os.environ["BENCH_API_CERTIFICATE"]).read_bytes()
        key = x509.load_pem_x509_certificate(certificate).public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            raise TypeError("the gateway's certificate holds no RSA key")
        secret = os.environ["BENCH_INITIATOR_PASSWORD"].encode()
        self._password = os.environ["BENCH_SP_PASSWORD"]
        self._prefix = f"{os.environ['BENCH_SHORTCODE']}_{os.environ['BENCH_ORGANISATION']}_"
        self._fixed = {
            "sp_id": os.environ["BENCH_SP_ID"],
            "service_id": os.environ["BENCH_SERVICE_ID"],
            "shortcode": os.environ["BENCH_SHORTCODE"],
            "initiator": escape(os.environ["BENCH_INITIATOR_USERNAME"]),
            "credential": base64.b64encode(key.encrypt(secret, padding.PKCS1v15())).decode(),
            "result_url": escape(os.environ["BENCH_RESULT_URL"]),
        }

    def build(self, payout_id: str, amount: str, msisdn: str) -> bytes:
        """Returns the envelope of one payment."""
        now = datetime.now(UTC)
        stamp = now.strftime("%Y%m%d%H%M%S")
        sealed = hashlib.sha256(f"{self._fixed['sp_id']}{self._password}{stamp}".encode())
        return ENVELOPE.format(
            **self._fixed,
            originator=escape(self._prefix + payout_id),
            amount=escape(amount),
            msisdn=escape(msisdn),
            digest=base64.b64encode(sealed.hexdigest().upper().encode()).decode(),
            stamp=stamp,
            timestamp=now.isoformat(timespec="milliseconds"),
        ).encode()


def inner(body: bytes, message: str) -> "etree._Element":
    """Returns the inner document that the element `message` of an envelope carries."""
    text = etree.fromstring(body, _PARSER).findtext(f".//{{*}}{message}")
    if text is None:
        raise ValueError(f"no {message}")
    return etree.fromstring(text.strip().encode(), _PARSER)
