"""Small values of the field: ids, money in minor units, receivers' numbers.

Money is an `int` of minor units (cents) next to an ISO 4217 currency; it is never a float.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final, NewType

from payouts.domain.errors import InvalidAmountError, InvalidMsisdnError

PayoutId = NewType("PayoutId", str)
RunId = NewType("RunId", str)
AccountName = NewType("AccountName", str)
OriginatorConversationId = NewType("OriginatorConversationId", str)
ConversationId = NewType("ConversationId", str)
TransactionId = NewType("TransactionId", str)
WorkerId = NewType("WorkerId", int)

ID_PATTERN: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
ORGANISATION_PATTERN: Final = re.compile(r"[A-Za-z0-9]{1,32}")
AMOUNT_PATTERN: Final = re.compile(r"([0-9]{1,13})(?:\.([0-9]{1,2}))?")
KENYA_MSISDN: Final = r"254(7|1)[0-9]{8}"

MAX_MSISDN: Final = 24

_PAYMENT_ID: Final = re.compile(r"[^_]+_[A-Za-z0-9]{1,32}(-r[0-9]{1,9})?_([A-Za-z0-9._-]{1,64})")
_QUERY_ID: Final = re.compile(r"([^_]+_[A-Za-z0-9]+)-q([0-9]{1,11})_")
_VISIBLE_HEAD = 4
_VISIBLE_TAIL = 4


def parse_amount(text: str) -> int:
    """Return the minor units of a decimal text such as `1250.5`.

    Raises:
        InvalidAmountError: not a plain decimal, more than 2 decimals, or not above 0.
    """
    found = AMOUNT_PATTERN.fullmatch(text)
    if found is None:
        raise InvalidAmountError
    minor = int(found[1]) * 100 + int((found[2] or "").ljust(2, "0"))
    if minor <= 0:
        raise InvalidAmountError
    return minor


def format_amount(amount_minor: int) -> str:
    """Return minor units as a decimal text with exactly 2 decimals, such as `1250.50`."""
    sign = "-" if amount_minor < 0 else ""
    units, cents = divmod(abs(amount_minor), 100)
    return f"{sign}{units}.{cents:02d}"


def normalise_msisdn(text: str, pattern: re.Pattern[str]) -> str:
    """Return the number as the wire wants it: country code first, digits only.

    `+254…` loses its sign; `07…` and `01…` get the Kenyan code. The pattern decides in the end,
    so another market is a matter of its pattern.

    Raises:
        InvalidMsisdnError: what results does not match the pattern. The number is not repeated.
    """
    digits = text.removeprefix("+")
    if digits[:2] in {"07", "01"} and len(digits) == 10:  # noqa: PLR2004 - the national form
        digits = "254" + digits[1:]
    # No number is longer, and nobody knows how long a configured pattern takes with a long text.
    if len(digits) > MAX_MSISDN or pattern.fullmatch(digits) is None:
        raise InvalidMsisdnError
    return digits


def mask_msisdn(msisdn: str) -> str:
    """Return the number with its middle hidden, such as `2547****5678`."""
    if len(msisdn) <= _VISIBLE_HEAD + _VISIBLE_TAIL:
        return "****"
    hidden = len(msisdn) - _VISIBLE_HEAD - _VISIBLE_TAIL
    return msisdn[:_VISIBLE_HEAD] + "*" * hidden + msisdn[-_VISIBLE_TAIL:]


def conversation_id_for(
    shortcode: str, organisation: str, payout_id: PayoutId
) -> OriginatorConversationId:
    """Return the one id under which a payout is sent, derived from the payout alone.

    The same after any restart, and after the database is lost (contract.md §4). The documents
    want it to begin with the short code and the organisation's name (D-B2C15 v1.4).
    """
    return OriginatorConversationId(f"{shortcode}_{organisation}_{payout_id}")


def query_id_for(
    shortcode: str, organisation: str, payout_id: PayoutId, asked_at: datetime
) -> OriginatorConversationId:
    """Return a fresh id for a question about a payout; it never equals a payout's own id.

    The hyphen after the organisation keeps the two apart, as an organisation has only letters
    and digits. The second of asking keeps it fresh, also on a database restored from a dump.
    """
    second = int(asked_at.timestamp())
    return OriginatorConversationId(f"{shortcode}_{organisation}-q{second}_{payout_id}")


def retry_ids_for(
    first_id: OriginatorConversationId, payout_id: PayoutId, number: int
) -> tuple[PayoutId, OriginatorConversationId]:
    """Return the payout id and the wire's id of a payout's submission `number` (2 = the second).

    Both name the payout that they are of. The hyphen after the organisation keeps the wire's id
    apart from every first id, as `query_id_for` does.

    Args:
        first_id: the OriginatorConversationID of the first submission.
        payout_id: the payout id of the first submission.
        number: which submission this is, from 2.
    """
    prefix = first_id.removesuffix(f"_{payout_id}")
    return (
        PayoutId(f"{payout_id}-r{number}"),
        OriginatorConversationId(f"{prefix}-r{number}_{payout_id}"),
    )


def payout_named(identifier: str) -> PayoutId | None:
    """Return the id of the submission that a payment's id on the wire names by its form.

    Whether there is such a payout, and was sent under this id, only the books can tell. None: it
    has not the form of `conversation_id_for` or `retry_ids_for`.
    """
    found = _PAYMENT_ID.fullmatch(identifier)
    return None if found is None else PayoutId(found[2] + (found[1] or ""))


def asked_about(identifier: str) -> tuple[str, PayoutId, datetime] | None:
    """Return of a question's id how its payout's id on the wire begins, its payout, and when.

    The instant is the second that had begun. None: it is no question's id.
    """
    found = _QUERY_ID.match(identifier)
    rest = "" if found is None else identifier[found.end() :]
    if found is None or ID_PATTERN.fullmatch(rest) is None:
        return None
    return found[1], PayoutId(rest), datetime.fromtimestamp(int(found[2]), UTC)


def is_query_id(identifier: str) -> bool:
    """Tell whether an id is of `query_id_for`'s form: about a question, never about a payment."""
    return _QUERY_ID.match(identifier) is not None
