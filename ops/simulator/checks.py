"""What broker and core look at before they take a request, and the code for each objection."""

import re
from decimal import Decimal
from typing import Final
from urllib.parse import urlsplit

from ops.simulator import codes
from ops.simulator.keys import CredentialKey
from ops.simulator.settings import SimulatorSettings
from ops.simulator.wire import Inner, digest_matches

Objection = tuple[str, str]
"""A code and the name of the element or parameter it is about."""

B2C: Final = frozenset(
    {
        *("BusinessPayment", "SalaryPayment", "PromotionPayment"),
        *("BusinessPaymentWithWithdrawalChargePaid", "SalaryPaymentWithWithdrawalChargePaid"),
    }
)
STATUS_QUERY: Final = "TransactionStatusQuery"

# Commands that exist, but that this caller was not given (protocol §1.4).
_NOT_ASSIGNED: Final = frozenset(
    {
        *("TransferFromBankToCustomer", "BusinessPayBill", "BusinessBuyGoods"),
        *("DisburseFundsToBusiness", "BusinessToBusinessTransfer"),
        *("BusinessTransferFromMMFToUtility", "BusinessTransferFromUtilityToMMF"),
        *("MerchantToMerchantTransfer", "MerchantTransferFromMerchantToWorking"),
        *("MerchantTransferFromWorkingToMerchant", "MerchantServicesMMFAccountTransfer"),
        *("AgencyFloatAdvance", "OrgBankAccountWithdrawal", "OrgRevenueSettlement"),
        *("AccountBalance", "TransactionReversal", "RegisterURL"),
    }
)
_ASKED: Final = ("ReceiptNumber", "OriginatorConversationID", "ConversationID")
_STAMP: Final = re.compile(r"[0-9]{14}")
_AMOUNT: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,2})?")
_ENUMERATED: Final = frozenset({*map(str, range(1, 7)), *map(str, range(9, 15))})
_OPERATORS: Final = ("11", "12", "14")
_LONGEST_ID: Final = 128
_LONGEST_REMARK: Final = 255
_LONGEST_CALLER: Final = 20
_LONGEST_COMMAND: Final = 64


def authenticate(header: dict[str, str], settings: SimulatorSettings) -> Objection | None:
    """Guarantees an objection unless the header names our SP with its password's digest.

    The stamp's form is checked, its freshness is not: the real broker took one 62 days old.
    """
    for name in ("spId", "spPassword", "timeStamp"):
        if not header.get(name):
            return codes.MISSING_INPUT, name
    if not _STAMP.fullmatch(header["timeStamp"]):
        return codes.BAD_INPUT, "timeStamp"
    if header["spId"] != settings.sp_id or not digest_matches(
        header, settings.sp_password, settings.digest
    ):
        return codes.NOT_AUTHENTICATED, ""
    return None


def broker_objection(inner: Inner) -> Objection | None:
    """Guarantees an objection when an address is missing that the broker must call back.

    It has no addresses configured, so both are mandatory for payments (protocol §1.3, §1.5).
    """
    named = {"ResultURL": inner.get("Caller/ResultURL")}
    if inner.get("CommandID") != STATUS_QUERY:
        named["QueueTimeoutURL"] = inner.reference("QueueTimeoutURL")
    for name, url in named.items():
        if not url:
            return codes.MISSING_INPUT, name
        if not _is_url(url):
            return codes.BAD_INPUT, name
    return None


def core_objection(inner: Inner) -> Objection | None:
    """Guarantees the objection the core answers in the Response, in the core's order of checks."""
    if "Caller" not in inner.fields or "Initiator" not in inner.fields:
        return codes.BAD_STRUCTURE, ""
    if not inner.ordered:
        return codes.BAD_STRUCTURE, ""
    if inner.get("KeyOwner") not in ("1", "2"):
        return codes.BAD_KEY_OWNER, ""
    command = inner.get("CommandID")
    if not command or len(command) > _LONGEST_COMMAND:
        return codes.BAD_ELEMENT, "CommandID"
    if command not in B2C and command != STATUS_QUERY:
        known = command in _NOT_ASSIGNED
        return (codes.COMMAND_NOT_ASSIGNED if known else codes.BAD_COMMAND), ""
    return _element_objection(inner) or _parameter_objection(inner, command)


def _element_objection(inner: Inner) -> Objection | None:
    if not 0 < len(inner.get("OriginatorConversationID")) <= _LONGEST_ID:
        return codes.BAD_ELEMENT, "OriginatorConversationID"
    if len(inner.get("Remark")) > _LONGEST_REMARK:
        return codes.BAD_ELEMENT, "Remark"
    if "Timestamp" not in inner.fields:
        return codes.BAD_ELEMENT, "Timestamp"
    caller = inner.fields.get("Caller/ThirdPartyID")
    if inner.get("Caller/CallerType") != "2" or caller is None or len(caller) > _LONGEST_CALLER:
        return codes.BAD_CALLER, ""
    if inner.get("Initiator/IdentifierType") not in _ENUMERATED:
        return codes.BAD_ELEMENT, "IdentifierType"
    for name in ("Identifier", "SecurityCredential"):
        if not inner.get(f"Initiator/{name}"):
            return codes.BAD_ELEMENT, name
    for party in ("PrimaryParty", "ReceiverParty", "AccessDevice"):
        if party in inner.fields and inner.get(f"{party}/IdentifierType") not in _ENUMERATED:
            return codes.BAD_ELEMENT, "IdentifierType"
    return None


def _parameter_objection(inner: Inner, command: str) -> Objection | None:
    if command == STATUS_QUERY:
        asked = [name for name in _ASKED if inner.parameters.get(name)]
        if not asked:
            return codes.MISSING_PARAMETER, "OriginatorConversationID"
        return (codes.BAD_PARAMETER, asked[1]) if len(asked) > 1 else None
    amount = inner.parameters.get("Amount")
    if not amount:
        return codes.MISSING_PARAMETER, "Amount"
    return None if _AMOUNT.fullmatch(amount) else (codes.BAD_PARAMETER, "Amount")


def cents(amount: str) -> int:
    """Guarantees the exact number of cents; 0 for what is no amount."""
    return int(Decimal(amount).scaleb(2)) if _AMOUNT.fullmatch(amount) else 0


class Verdicts:
    """Guarantees the Result code of an accepted request, before the float is looked at.

    Counts wrong initiator passwords: so many in a row lock the initiator.
    """

    def __init__(self, settings: SimulatorSettings, key: CredentialKey) -> None:
        self._settings = settings
        self._key = key
        self._receiver = re.compile(settings.msisdn_pattern)
        self._minimum = int(settings.minimum_amount.scaleb(2))
        self._maximum = int(settings.maximum_amount.scaleb(2))
        self._wrong = 0
        self.initiator_locked = False

    def unlock(self) -> None:
        """Guarantees an unlocked initiator without wrong attempts."""
        self._wrong = 0
        self.initiator_locked = False

    def payment(self, inner: Inner) -> str:
        """Guarantees `0` only when initiator, parties and amount are as they must be."""
        code = self.initiator(inner)
        if code != "0":
            return code
        if inner.get("PrimaryParty/IdentifierType") != "4" or (
            inner.get("PrimaryParty/Identifier") not in self._settings.short_codes
        ):
            return codes.BAD_PRIMARY
        if inner.get("ReceiverParty/IdentifierType") != "1" or not self._receiver.fullmatch(
            inner.get("ReceiverParty/Identifier")
        ):
            return codes.BAD_RECEIVER
        amount = cents(inner.parameters.get("Amount", ""))
        if amount < self._minimum:
            return codes.BELOW_MINIMUM
        return codes.ABOVE_MAXIMUM if amount > self._maximum else "0"

    def initiator(self, inner: Inner) -> str:
        """Guarantees `0` only for our initiator with its password, while it is not locked."""
        if self.initiator_locked:
            return codes.INITIATOR_LOCKED
        if (
            inner.get("Initiator/IdentifierType") not in _OPERATORS
            or inner.get("Initiator/Identifier") != self._settings.initiator_username
            or inner.get("Initiator/ShortCode") not in self._settings.short_codes
        ):
            return codes.BAD_INITIATOR
        credential = inner.get("Initiator/SecurityCredential")
        if self._key.matches(credential, self._settings.initiator_password):
            self._wrong = 0
            return "0"
        self._wrong += 1
        self.initiator_locked = self._wrong >= self._settings.initiator_attempts
        return codes.BAD_INITIATOR


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
