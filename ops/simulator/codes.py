"""What each code says: the texts that the simulator answers with."""

ACCEPTED = "0"
CACHED = "100000000"
OVERLOAD = "100000001"
THROTTLED = "100000002"
BROKER_ERROR = "100000004"
BAD_INPUT = "100000005"
SP_LOCKED = "100000006"
NOT_AUTHENTICATED = "100000007"
MISSING_INPUT = "100000014"
DUPLICATE = "15"
CORE_ERROR = "17"
BAD_STRUCTURE = "23"
MISSING_PARAMETER = "24"
BAD_PARAMETER = "25"
CORE_BUSY = "26"
BAD_CALLER = "1001"
BAD_COMMAND = "1002"
COMMAND_NOT_ASSIGNED = "1003"
BAD_KEY_OWNER = "1004"
BAD_ELEMENT = "1005"

FLOAT_EMPTY = "1"
BELOW_MINIMUM = "2"
ABOVE_MAXIMUM = "3"
BAD_PRIMARY = "6"
BAD_RECEIVER = "7"
BAD_INITIATOR = "2001"
NOT_FOUND = "2033"
G1_NOT_FOUND = "49"
INITIATOR_LOCKED = "8006"

# Response side: broker (D-B2C15 §3.17) and G2 core (D-XLS sheet 2).
RESPONSES = {
    "0": "Accept the service request successfully.",
    "100000000": "Request was cached, waiting for resending",
    "100000001": "The system is overload",
    "100000002": "Throttling error",
    "100000003": "Exceed the limitation of the LICENSE",
    "100000004": "Internal Server Error",
    "100000005": "Invalid input value:{name}",
    "100000006": "SP's status is abnormal",
    "100000007": "Authentication failed",
    "100000008": "Service's status is abnormal",
    "100000009": "API's status is abnormal",
    "100000010": "Insufficient permissions",
    "100000011": "Exceed the limitation of request rate",
    "100000012": "Insufficient balance",
    "100000013": "No route",
    "100000014": "Missing mandatory parameter:{name}",
    "15": "Duplicate OriginatorConversationID.",
    "17": "System internal error.",
    "23": "The request message structure is invalid.",
    "24": "The mandatory parameter {name} is missing.",
    "25": "The format of parameter {name} is invalid.",
    "26": "System busy. The service request is rejected.",
    "1001": "The caller information is invalid.",
    "1002": "The CommandID is invalid.",
    "1003": "The CommandID is not assigned to the caller.",
    "1004": "The KeyOwner information is invalid.",
    "1005": "The element {name} is invalid.",
}

# Result side: G2 core (D-XLS sheet 1), then what its JSON successor adds.
RESULTS = {
    "0": "The service request is processed successfully.",
    "1": "The balance is insufficient for the transaction.",
    "2": "Declined due to limit rule: less than the minimum transaction amount.",
    "3": "Declined due to limit rule: greater than the maximum transaction amount.",
    "4": "Declined due to limit rule: would exceed the daily transfer limit.",
    "5": "Declined due to limit rule: would be below the minimum balance.",
    "6": "The PrimaryParty information is invalid.",
    "7": "The ReceiverParty information is invalid.",
    "8": "Declined due to limit rule: would exceed the maximum balance.",
    "11": "The DebitParty is in an invalid state.",
    "14": "The CreditParty is in an invalid state.",
    "15": "Duplicate OriginatorConversationID.",
    "17": "System internal error.",
    "21": "The initiator is not allowed to initiate this transaction request.",
    "26": "System busy. The service request is rejected.",
    "49": "NoTransactionFound",
    "1001": "The caller information is invalid.",
    "2001": "The initiator information is invalid.",
    "2006": "Declined due to account rule: The account status does not allow this transaction.",
    "2008": "Declined due to limit rule: would exceed the weekly transfer limit.",
    "2009": "Declined due to limit rule: would exceed the monthly transfer limit.",
    "2010": "Declined due to limit rule: would exceed the yearly transfer limit.",
    "2020": "Failed due to an invalid transaction amount format.",
    "2025": "Invalid currency type.",
    "2028": "The request is not permitted according to product assignment.",
    "2029": "Failed due to an unresolved reason type.",
    "2033": "The transaction does not exist.",
    "2040": "Credit Party customer type (Unregistered or Registered Customer) can't be supported "
    "by the service.",
    "2051": "The MSISDN is invalid.",
    "8006": "The security credential is locked.",
    "SFC_IC0003": "The operator does not exist.",
}


def response_text(code: str, name: str = "") -> str:
    """Guarantees a description for every code, known or made up by a fault."""
    return RESPONSES.get(code, f"Unexplained response {code}.").format(name=name or "Value")


def result_text(code: str) -> str:
    """Guarantees a description for every code, known or made up by a fault."""
    return RESULTS.get(code, f"Unexplained result {code}.")


def is_core(code: str) -> bool:
    """Guarantees true for codes the core gives: only those answers carry ids (protocol §3.2)."""
    return len(code) < len(CACHED)
