"""Reading what clients send: the envelope, the inner request, the query; strictly as XML.

Nothing here is shared with the product: a slip there must not be repeated here.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from functools import lru_cache

from lxml import etree

ENVELOPE = "{http://schemas.xmlsoap.org/soap/envelope/}"
REQUEST = "http://api-v1.gen.mm.vodafone.com/mminterface/request"
TRANSACTION = "http://www.csapi.org/schema/transaction/data/v1_0/local"
HEADERS = (
    "{http://www.huawei.com.cn/schema/common/v2_1}",
    "{http://www.huawei.com/schema/osg/common/v2_1}",
)

# The XSD's order of elements (CPSInterface_Request.xsd); only G1 insisted on it.
ORDER = {
    "request": ("Transaction", "Identity", "KeyOwner"),
    "Transaction": (
        *("CommandID", "LanguageCode", "OriginatorConversationID", "ConversationID", "Remark"),
        *("EncryptedParameters", "Parameters", "ReferenceData", "Timestamp"),
    ),
    "Identity": ("Caller", "Initiator", "PrimaryParty", "ReceiverParty", "AccessDevice"),
    "Caller": ("CallerType", "ThirdPartyID", "Password", "CheckSum", "ResultURL"),
    "Initiator": ("IdentifierType", "Identifier", "SecurityCredential", "ShortCode"),
    "PrimaryParty": ("IdentifierType", "Identifier", "ShortCode"),
    "ReceiverParty": ("IdentifierType", "Identifier", "ShortCode"),
    "AccessDevice": ("IdentifierType", "Identifier"),
}


class MalformedError(ValueError):
    """The body is not what this address takes: not XML, not SOAP 1.1, or without its element."""


@dataclass(slots=True)
class Message:
    """An envelope that was read: its authentication header, and what stood in its body."""

    header: dict[str, str]
    operation: str
    content: str
    body: "etree._Element"


@dataclass(slots=True)
class Inner:
    """The inner `request`, flat: `fields` by `Parent/Child`, text trimmed; pairs in order."""

    fields: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    references: list[tuple[str, str]] = field(default_factory=list)
    ordered: bool = True

    def get(self, path: str) -> str:
        """Guarantees the trimmed text of the element, empty when it is empty or missing."""
        return self.fields.get(path, "")

    def reference(self, key: str) -> str:
        """Guarantees the first value of that ReferenceItem, empty when there is none."""
        return next((value for name, value in self.references if name == key), "")


class Reader:
    """Guarantees that no DTD, entity or network is touched, whatever is read."""

    def __init__(self, *, strict_order: bool = False) -> None:
        self._strict_order = strict_order
        self._parser = etree.XMLParser(
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            huge_tree=False,
            remove_comments=True,
            remove_pis=True,
        )

    def envelope(self, body: bytes) -> Message:
        """Guarantees a SOAP 1.1 envelope with one element in its Body.

        Raises:
            MalformedError: when it is anything else.
        """
        root = self._root(body)
        if root.tag != ENVELOPE + "Envelope":
            raise MalformedError("not a SOAP 1.1 envelope")
        header: dict[str, str] = {}
        found: etree._Element | None = None
        for part in root:
            if part.tag == ENVELOPE + "Header":
                header = _header(part)
            elif part.tag == ENVELOPE + "Body" and len(part) == 1:
                found = part[0]
        if found is None:
            raise MalformedError("no single element in the Body")
        return Message(header, str(found.tag), (found.text or "").strip(), found)

    def request(self, text: str) -> Inner:
        """Guarantees the fields of an inner `request` document (protocol §1.3).

        Raises:
            MalformedError: when it is not well-formed, or its frame is missing.
        """
        root = self._root(text.encode())
        if _local(root) not in ("request", "Request"):
            raise MalformedError("not a request")
        inner = Inner(ordered=not self._strict_order or _ordered(root))
        for section in root:
            name = _local(section)
            if name == "KeyOwner":
                inner.fields[name] = (section.text or "").strip()
            elif name == "Transaction":
                _transaction(section, inner)
            elif name == "Identity":
                _identity(section, inner)
        return inner

    def query(self, message: Message) -> str:
        """Guarantees the id that a queryTransaction asks for.

        Raises:
            MalformedError: when it names none.
        """
        for child in message.body:
            if _local(child) == "originatorConversationID" and (child.text or "").strip():
                return (child.text or "").strip()
        raise MalformedError("originatorConversationID")

    def _root(self, body: bytes) -> "etree._Element":
        try:
            root = etree.fromstring(body, self._parser)
        except (etree.XMLSyntaxError, ValueError) as error:
            raise MalformedError(f"not well-formed: {error}") from None
        if root.getroottree().docinfo.internalDTD is not None:
            raise MalformedError("DOCTYPE is refused")
        return root


def _local(element: "etree._Element") -> str:
    return _local_name(element.tag)


@lru_cache(maxsize=1024)
def _local_name(tag: str) -> str:
    return str(tag).rpartition("}")[2]


def _header(part: "etree._Element") -> dict[str, str]:
    for block in part:
        for namespace in HEADERS:
            if block.tag == namespace + "RequestSOAPHeader":
                return {
                    _local(child): (child.text or "").strip()
                    for child in block
                    if str(child.tag).startswith(namespace)
                }
    return {}


def _transaction(section: "etree._Element", inner: Inner) -> None:
    for child in section:
        name = _local(child)
        if name == "Parameters":
            inner.parameters.update(_pairs(child))
        elif name == "ReferenceData":
            inner.references.extend(_pairs(child))
        else:
            inner.fields[name] = (child.text or "").strip()


def _pairs(element: "etree._Element") -> list[tuple[str, str]]:
    pairs = []
    for item in element:
        key = value = ""
        for part in item:
            if _local(part) == "Key":
                key = (part.text or "").strip()
            elif _local(part) == "Value":
                value = (part.text or "").strip()
        pairs.append((key, value))
    return pairs


def _identity(section: "etree._Element", inner: Inner) -> None:
    for party in section:
        name = _local(party)
        inner.fields[name] = ""
        for child in party:
            inner.fields[f"{name}/{_local(child)}"] = (child.text or "").strip()


def _ordered(root: "etree._Element") -> bool:
    """Looks at the frame, its sections and their parties: nothing deeper has an order."""
    sections = [root, *root]
    parties = [party for section in root for party in section if _local(party) in ORDER]
    return all(_in_order(element) for element in (*sections, *parties))


def _in_order(element: "etree._Element") -> bool:
    name = _local(element)
    if name == "KeyOwner":
        return True
    order = ORDER.get(name.lower() if name == "Request" else name, ())
    places = [order.index(_local(child)) if _local(child) in order else -1 for child in element]
    return -1 not in places and places == sorted(places)


def digest_matches(header: dict[str, str], password: str, form: str) -> bool:
    """Guarantees true only for base64 of SHA-256(spId + password + timeStamp) (D-B2C15 §4.1).

    `form`: `upper` or `lower` hexadecimal text, `raw` digest, or `any` of them (protocol §2.1).
    """
    wanted = hashlib.sha256((header["spId"] + password + header["timeStamp"]).encode()).digest()
    try:
        given = base64.b64decode(header["spPassword"], validate=True)
    except (binascii.Error, ValueError):
        return False
    text = wanted.hex().encode()
    forms = {"upper": text.upper(), "lower": text, "raw": wanted}
    accepted = forms.values() if form == "any" else (forms[form],)
    return any(hmac.compare_digest(given, one) for one in accepted)
