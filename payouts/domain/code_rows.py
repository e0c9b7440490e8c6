"""The rows of the code table: what each known code means, and what it proves.

`proves_unpaid` is said only of refusals that come before acceptance (protocol.md §3.2) and of
Results that say that this payment was declined. Whatever is not certain is ambiguous.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from payouts.domain.code_types import Blame, Code, CodeClass, Core, Side

_CONCLUSIVE: Final = frozenset(
    {CodeClass.REFUSED_RETRY, CodeClass.REFUSED_FINAL, CodeClass.CONFIGURATION}
)
_RETRY = CodeClass.REFUSED_RETRY
_FINAL = CodeClass.REFUSED_FINAL
_SETUP = CodeClass.CONFIGURATION
_DUPLICATE = CodeClass.DUPLICATE
_AMBIGUOUS = CodeClass.AMBIGUOUS
_INTERMEDIATE = CodeClass.INTERMEDIATE
_NOT_FOUND = CodeClass.NOT_FOUND

# One wrong password may be the last before the lock (protocol.md §2.2), and all requests of an
# account carry the same one: what blames it is never told by a single payout.
_BLAMES: Final[Mapping[tuple[Side, Core, str], Blame]] = MappingProxyType(
    {
        (Side.RESULT, Core.G2, "2001"): Blame.INITIATOR,
        (Side.RESULT, Core.DARAJA, "8006"): Blame.INITIATOR,
        (Side.RESULT, Core.G1, "18"): Blame.INITIATOR,
        (Side.QUERY, Core.G2, "2001"): Blame.INITIATOR,
        (Side.QUERY, Core.DARAJA, "8006"): Blame.INITIATOR,
        (Side.QUERY, Core.G1, "18"): Blame.INITIATOR,
        (Side.RESULT, Core.G2, "1"): Blame.FLOAT,
        (Side.RESULT, Core.G1, "1"): Blame.FLOAT,
    }
)

_Line = tuple[str, CodeClass, str]


def _rows(side: Side, core: Core, source: str, *lines: _Line) -> tuple[Code, ...]:
    """Return one row per line; a query's own code never proves anything about a payment."""
    return tuple(
        Code(
            side=side,
            core=core,
            code=code,
            meaning=meaning,
            klass=klass,
            proves_unpaid=side is not Side.QUERY and klass in _CONCLUSIVE,
            source=source,
            blames=_BLAMES.get((side, core, code)),
        )
        for code, klass, meaning in lines
    )


_RESPONSES: Final = (
    *_rows(
        Side.RESPONSE,
        Core.BROKER,
        "D-B2C15 §3.17, D-B2B03",
        ("0", CodeClass.ACCEPTED, "The broker took the request."),
        ("100000000", CodeClass.QUEUED, "The request was cached and waits for resending."),
        ("100000001", _RETRY, "The system is overloaded."),
        ("100000002", _RETRY, "Throttled."),
        ("100000003", _RETRY, "The limit of the licence is exceeded."),
        ("100000004", _AMBIGUOUS, "Internal server error of the broker; ask before sending again."),
        ("100000005", _FINAL, "An input value is invalid."),
        ("100000006", _SETUP, "The service provider's status is abnormal."),
        ("100000007", _SETUP, "Authentication failed: spId, spPassword or timeStamp do not fit."),
        ("100000008", _SETUP, "The service's status is abnormal."),
        ("100000009", _SETUP, "The interface's status is abnormal."),
        ("100000010", _SETUP, "Insufficient permissions."),
        ("100000011", _RETRY, "The limit of the request rate is exceeded."),
        ("100000012", _SETUP, "The service provider's balance at the broker is insufficient."),
        ("100000013", _SETUP, "No route to the core."),
        ("100000014", _FINAL, "A mandatory parameter is missing."),
    ),
    *_rows(
        Side.RESPONSE,
        Core.G2,
        "D-XLS sheet 2",
        ("0", CodeClass.ACCEPTED, "The core accepted the request."),
        ("15", _DUPLICATE, "Duplicate OriginatorConversationID: an earlier send arrived."),
        ("17", _AMBIGUOUS, "System internal error; ask before sending again."),
        ("23", _FINAL, "The structure of the request message is invalid."),
        ("24", _FINAL, "A mandatory parameter is missing."),
        ("25", _FINAL, "The format of a parameter is invalid."),
        ("26", _RETRY, "System busy; the request is rejected."),
        ("1001", _SETUP, "The caller information is invalid."),
        ("1002", _FINAL, "The CommandID is invalid."),
        ("1003", _SETUP, "The CommandID is not assigned to the caller."),
        ("1004", _SETUP, "The KeyOwner information is invalid."),
        ("1005", _FINAL, "An element of the request is invalid."),
    ),
    *_rows(
        Side.RESPONSE,
        Core.G1,
        "D-B2C15 §3.17",
        ("0", CodeClass.ACCEPTED, "Success: the request passed validation and was passed on."),
        ("23", _FINAL, "The request does not fit the schema."),
        ("24", _FINAL, "MissingRequestParameters."),
        ("25", _FINAL, "InvalidRequestParameters."),
        ("26", _RETRY, "SystemTooBusy."),
        ("30", _AMBIGUOUS, "ErrorSerializingRequest; not listed as coming before acceptance."),
    ),
)

_RESULTS_G2: Final = _rows(
    Side.RESULT,
    Core.G2,
    "D-XLS sheet 1",
    ("0", CodeClass.COMPLETED, "The payment is completed."),
    ("1", _FINAL, "The balance of the paying account is insufficient."),
    ("2", _FINAL, "Less than the minimum transaction amount."),
    ("3", _FINAL, "More than the maximum transaction amount."),
    ("4", _FINAL, "Would exceed the daily transfer limit."),
    ("5", _FINAL, "Would be below the minimum balance."),
    ("6", _SETUP, "The PrimaryParty information is invalid."),
    ("7", _FINAL, "The ReceiverParty information is invalid."),
    ("8", _FINAL, "Would exceed the receiver's maximum balance."),
    ("11", _SETUP, "The DebitParty is in an invalid state."),
    ("14", _FINAL, "The CreditParty is in an invalid state."),
    ("17", _AMBIGUOUS, "System internal error: overload, maintenance or a time-out inside."),
    ("21", _SETUP, "The initiator is not allowed to initiate this transaction."),
    ("1001", _SETUP, "The caller information is invalid."),
    ("2001", _SETUP, "The initiator information is invalid: user, password, lock or expiry."),
    ("2006", _FINAL, "The account's status does not allow this transaction."),
    ("2008", _FINAL, "Would exceed the weekly transfer limit."),
    ("2009", _FINAL, "Would exceed the monthly transfer limit."),
    ("2010", _FINAL, "Would exceed the yearly transfer limit."),
    ("2020", _FINAL, "The format of the amount is invalid."),
    ("2025", _SETUP, "Invalid currency type."),
    ("2028", _SETUP, "The product assignment does not permit the request."),
    ("2029", _SETUP, "Unresolved reason type."),
    ("2040", _FINAL, "The receiver's customer type is not supported by this command."),
)

# G1 and G2 use 22 differently (protocol.md §4.7, Warning) and what it means on G2 is not told.
_RESULTS_G2_UNCLEAR: Final = _rows(
    Side.RESULT,
    Core.G2,
    "protocol.md §4.7, Warning",
    ("22", _AMBIGUOUS, "Means another thing than on G1; not documented for G2."),
)

_RESULTS_DARAJA: Final = _rows(
    Side.RESULT,
    Core.DARAJA,
    "DAR (protocol.md §4.7)",
    ("15", _DUPLICATE, "Duplicate: an earlier send of this id arrived."),
    ("26", _AMBIGUOUS, "System busy, told after acceptance; ask before sending again."),
    ("2007", _AMBIGUOUS, "Seen as a Result; its meaning is not documented."),
    ("2033", _AMBIGUOUS, "Transaction not found: an answer to a query, not about a payment."),
    ("2043", _AMBIGUOUS, "Seen as a Result; its meaning is not documented."),
    ("2051", _FINAL, "The receiver's MSISDN is invalid."),
    ("2202", _AMBIGUOUS, "Seen as a Result; its meaning is not documented."),
    ("8006", _SETUP, "The initiator's security credential is locked."),
    ("SFC_IC0003", _FINAL, "The operator or receiver does not exist."),
    ("R002", _AMBIGUOUS, "An answer to a reversal, not about a payment."),
    ("R003", _AMBIGUOUS, "An answer to a reversal, not about a payment."),
)

_RESULTS_G1: Final = _rows(
    Side.RESULT,
    Core.G1,
    "D-B2C15 §3.17",
    ("0", CodeClass.COMPLETED, "Success: the payment is completed."),
    ("1", _FINAL, "InsufficientFunds."),
    ("2", _FINAL, "LessThanMinimumTransactionValue."),
    ("3", _FINAL, "MoreThanMaximumTransactionValue."),
    ("4", _FINAL, "WouldExceedDailyTransferLimit."),
    ("5", _FINAL, "WouldExceedMinimumBalance."),
    ("6", _SETUP, "UnresolvedPrimaryParty."),
    ("7", _FINAL, "UnresolvedReceiverParty."),
    ("8", _FINAL, "WouldExceedMaximumBalance."),
    ("11", _SETUP, "DebitAccountInvalid."),
    ("12", _FINAL, "CreditAccountInvalid."),
    ("13", _SETUP, "UnresolvedDebitAccount."),
    ("14", _FINAL, "UnresolvedCreditAccount."),
    ("15", _DUPLICATE, "DuplicateDetected: an earlier send of this id arrived."),
    ("17", _AMBIGUOUS, "InternalFailure."),
    ("18", _SETUP, "InitiatorCredentialCheckFailure."),
    ("19", _SETUP, "ApiRequestMessageExpiryFailure: the request's Timestamp is too old."),
    ("20", _SETUP, "UnresolvedInitiator."),
    ("21", _SETUP, "InitiatorToPrimaryPartyPermissionFailure."),
    ("22", _SETUP, "InitiatorToReceiverPartyPermissionFailure."),
    ("23", _FINAL, "The request does not fit the schema."),
    ("24", _FINAL, "MissingRequestParameters."),
    ("25", _FINAL, "InvalidRequestParameters."),
    ("26", _AMBIGUOUS, "SystemTooBusy, told after acceptance; ask before sending again."),
    ("28", _SETUP, "InitiatorAllowedOperationCheckFailure."),
    ("29", _FINAL, "InvalidCommand."),
    ("30", _AMBIGUOUS, "ErrorSerializingRequest."),
    ("31", _SETUP, "InitiatorNotSpecified."),
    ("32", _AMBIGUOUS, "ErrorSerializingRequest."),
    ("33", _SETUP, "PrimaryPartyNotSpecified."),
    ("34", _SETUP, "PrimaryPartyIdentifierInvalid."),
    ("35", _FINAL, "ReceiverPartyNotSpecified."),
    ("36", _FINAL, "ReceiverPartyIdentifierInvalid."),
    ("37", _FINAL, "MissingApiCommand."),
    ("38", _FINAL, "InvalidConversationId."),
    ("39", _FINAL, "UnknownConversationId."),
    ("40", _FINAL, "InvalidParameterDefinition."),
    ("41", _DUPLICATE, "DuplicateConversationDetected: an earlier send of this id arrived."),
    ("42", _DUPLICATE, "DuplicateStageMessageDetected: an earlier message arrived."),
    ("43", _INTERMEDIATE, "AwaitingConfirmation."),
    ("44", _SETUP, "InitiatorToReceiverPartyPermissionFailure."),
    ("45", _AMBIGUOUS, "InternalErrorDuringFinancialTransaction."),
    ("46", _INTERMEDIATE, "ConfirmationReceived."),
    ("47", _FINAL, "RejectionReceived."),
    ("48", _SETUP, "OperationPermissionFailure."),
    ("49", _AMBIGUOUS, "NoTransactionFound: an answer to a query, not about a payment."),
    ("50", _SETUP, "InitiatorOrgIdentityStatusFailure."),
    ("51", _SETUP, "DebitChargeAccountInvalid."),
    ("52", _FINAL, "WouldExceedMaximumSingleAirtimePurchase."),
)

_QUERIES: Final = (
    *_rows(
        Side.QUERY,
        Core.G2,
        "D-XLS sheet 1, D-B2B03 §5.16",
        ("0", CodeClass.ACCEPTED, "The query was answered; the payment's state is a parameter."),
        ("6", _SETUP, "The PrimaryParty information is invalid."),
        ("17", _AMBIGUOUS, "System internal error; ask again later."),
        ("21", _SETUP, "The initiator is not allowed to initiate this query."),
        ("1001", _SETUP, "The caller information is invalid."),
        ("2001", _SETUP, "The initiator information is invalid: user, password, lock or expiry."),
        ("2028", _SETUP, "The product assignment does not permit the query."),
    ),
    *_rows(
        Side.QUERY,
        Core.DARAJA,
        "DAR (protocol.md §4.7, §5.3)",
        ("15", _AMBIGUOUS, "Duplicate: this query was asked before."),
        ("26", _AMBIGUOUS, "System busy; ask again later."),
        ("2033", _NOT_FOUND, "The transaction was not found."),
        ("8006", _SETUP, "The initiator's security credential is locked."),
    ),
    *_rows(
        Side.QUERY,
        Core.G1,
        "D-B2C15 §3.17, D-B2B03 §5.16",
        ("0", CodeClass.ACCEPTED, "Success: the query was answered."),
        ("15", _AMBIGUOUS, "DuplicateDetected: this query was asked before."),
        ("17", _AMBIGUOUS, "InternalFailure; ask again later."),
        ("18", _SETUP, "InitiatorCredentialCheckFailure."),
        ("19", _SETUP, "ApiRequestMessageExpiryFailure: the query's Timestamp is too old."),
        ("20", _SETUP, "UnresolvedInitiator."),
        ("21", _SETUP, "InitiatorToPrimaryPartyPermissionFailure."),
        ("26", _AMBIGUOUS, "SystemTooBusy; ask again later."),
        ("28", _SETUP, "InitiatorAllowedOperationCheckFailure."),
        ("48", _SETUP, "OperationPermissionFailure: only parties of the payment may ask."),
        ("49", _NOT_FOUND, "NoTransactionFound."),
        ("50", _SETUP, "InitiatorOrgIdentityStatusFailure."),
    ),
)

ROWS: Final[tuple[Code, ...]] = (
    *_RESPONSES,
    *_RESULTS_G2,
    *_RESULTS_G2_UNCLEAR,
    *_RESULTS_DARAJA,
    *_RESULTS_G1,
    *_QUERIES,
)
