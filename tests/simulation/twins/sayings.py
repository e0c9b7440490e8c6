"""The codes that the twin of M-PESA says, and what it says when it lies or fails."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from payouts.domain.answers import OutcomeUnknown, Result, UnknownCause
from payouts.domain.values import TransactionId

RETRY_CODES: Final = ("100000002", "100000001", "26")
FINAL_CODES: Final = ("100000005", "25", "1002")
CONFIGURATION_CODES: Final = ("100000007", "100000006", "1001")
AMBIGUOUS_CODES: Final = ("17", "100000004")
FAILED_CODES: Final = ("2040", "2006", "7")
FLOAT_EMPTY: Final = "1"
CORE_ERROR: Final = "17"
NOT_FOUND: Final = "2033"
DUPLICATE: Final = "15"
CACHED: Final = "100000000"
BROKER_CODE_LENGTH: Final = 9


def http_error() -> OutcomeUnknown:
    """Return what a client makes of an HTTP status that is no answer of the interface."""
    return OutcomeUnknown(cause=UnknownCause.HTTP_STATUS, description="HTTP 500")


def contrary(true: Result) -> Result:
    """Return a Result that says the opposite of the truth."""
    if true.code == "0":
        return replace(true, code=FAILED_CODES[0], amount_minor=None, receiver=None)
    return replace(true, code="0", transaction_id=TransactionId("UKULIE0000"))
