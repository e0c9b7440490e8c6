"""The test numbers: one receiver for each behaviour, like the test cards of a card processor."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from ops.simulator import codes
from ops.simulator.faults import Fault, read_fault

SERIES = "2547000001"
"""All test numbers are this and two more digits."""


@dataclass(frozen=True, slots=True)
class TestNumber:
    """A receiver and the faults that its payments meet; `sends` 0 means at every send of an id."""

    __test__ = False

    msisdn: str
    about: str
    faults: tuple[Fault, ...]
    sends: int = 0


def _rows() -> Iterator[tuple[int, str, str, int]]:
    """Two digits, faults (blank-separated), what a client sees, sends that it acts on."""
    yield 0, "", "paid, Result in the ordinary time", 0
    yield 1, "result_late", "paid, the Result comes late", 0
    yield 2, "result_never", "paid, no Result; only a query tells", 0
    yield 39, "result_lost", "paid, the Result is lost; the broker's log has it", 0
    yield 3, "result_twice", "paid, the Result comes twice", 0
    yield 4, "result_early", "paid, the Result comes before the Response", 0
    yield 5, "result_contradicting:success_first", "paid, Result success, then failure (17)", 0
    yield 6, "result_contradicting:failure_first", "paid, Result failure (17), then success", 0
    yield 7, "result_other_amount", "paid as asked, the Result names another amount", 0
    yield 8, "result_other_receiver", "paid as asked, the Result names another receiver", 0
    yield (
        9,
        "result_failed:17 result_never query_status:Cancelled",
        "not paid, no Result; a query says Cancelled",
        0,
    )
    for digits, code in enumerate(
        ("100000001", "100000002", "100000011", "100000003", "26", "100000008", "100000009"), 10
    ):
        yield digits, f"refuse_before:{code}", f"refused twice with {code}, then paid", 2
    yield 17, "refuse_before:100000013", "refused twice with 100000013, then paid", 2
    yield 18, "throttle", "throttled (100000002) at every send", 0
    for digits, code in enumerate(
        (
            *("100000005", "100000014", "100000010", "100000012", "23", "24", "25"),
            *("1001", "1002", "1003", "1004", "1005", "100000006", "100000007"),
        ),
        20,
    ):
        yield digits, f"refuse_before:{code}", f"refused with {code} at every send", 0
    yield from _doubtful_rows()
    for digits, code in enumerate(
        (
            *("1", "2", "3", "4", "5", "6", "7", "8", "11", "14", "17", "21", "2001", "2006"),
            *("2008", "2009", "2010", "2028", "2029", "2040", "8006", "2020", "2025", "15"),
            *("26", "1001", "SFC_IC0003", "999999"),
        ),
        70,
    ):
        yield digits, f"result_failed:{code}", f"accepted, not paid, Result {code}", 0
    yield 98, "result_failed_paid:17", "paid, though the Result says 17", 0
    yield 99, "away", "the gateway goes away at the first send, then pays", 1


def _doubtful_rows() -> Iterator[tuple[int, str, str, int]]:
    for digits, kind, about in (
        (40, "http_500", "HTTP 500"),
        (42, "html_page", "an HTML page"),
        (44, "empty_body", "an empty body"),
        (46, "soap_fault", "a SOAP fault"),
        (48, "code_17", "Response 17"),
        (50, "internal_error", "Response 100000004"),
    ):
        yield digits, f"{kind}_before", f"{about}, not accepted; the second send is paid", 1
        yield digits + 1, f"{kind}_after", f"{about}, yet paid; a second send is a duplicate", 1
    yield 52, "lost_request", "connection closed, not accepted; the second send is paid", 1
    yield 53, "drop_answer", "connection closed, yet paid; a second send is a duplicate", 1
    yield 54, "slow_answer", "accepted and paid, the Response comes late", 1
    yield 55, "code_after:99", "an unknown Response code, yet paid", 1
    yield 56, "refuse_before:99", "an unknown Response code, not accepted; then paid", 1
    yield 57, "drop_answer result_never", "connection closed, paid, no Result", 1
    yield 58, "drop_answer result_never found_late", "as 57, and queries find it only later", 1
    yield 59, "forget_duplicates", "each send is paid: a double payment, if sent twice", 0
    yield 60, "cached_delivered", "100000000, delivered and paid later", 0
    yield 61, "cached_expired", "100000000, expires, notifyQueueTimeout; not paid", 1
    yield 62, "response_shape:g1 result_shape:g1", "paid, Response and Result in G1 shape", 0
    yield 63, "response_shape:padded result_shape:padded", "paid, blanks in and around values", 0
    yield 64, "result_shape:raw_ampersand", "paid, the Result has a raw ampersand", 0
    yield 65, "result_shape:nested", "paid, ResultParameter inside ResultParameter", 0
    yield 66, "result_shape:escaped", "paid, the Result as escaped text instead of CDATA", 0
    yield 67, "result_shape:cps", "paid, the Result in the CPS namespace, `ConversationId`", 0
    yield 68, "result_shape:sparse", "paid, the Result carries neither amount nor receipt", 0
    yield 69, "result_shape:unregistered", "paid, the receiver has no name", 0


@cache
def all_numbers() -> Mapping[str, TestNumber]:
    """Guarantees every test number by its MSISDN, in ascending order."""
    made = (
        TestNumber(
            f"{SERIES}{digits:02}", about, tuple(read_fault(one) for one in faults.split()), sends
        )
        for digits, faults, about, sends in _rows()
    )
    return {number.msisdn: number for number in sorted(made, key=lambda one: one.msisdn)}


def numbers_table() -> str:
    """Guarantees the Markdown table of all test numbers, in order, for the reference page."""
    lines = ["| number | faults | what a client sees |", "|---|---|---|"]
    for number in all_numbers().values():
        faults = ", ".join(
            f"`{fault.kind}{':' if fault.argument else ''}{fault.argument}`"
            for fault in number.faults
        )
        lines.append(f"| `{number.msisdn}` | {faults or 'none'} | {_explained(number)} |")
    return "\n".join(lines)


def _explained(number: TestNumber) -> str:
    """Adds what the code means, so that the table can be read alone."""
    for fault in number.faults:
        if fault.kind == "refuse_before" and fault.argument in codes.RESPONSES:
            text = codes.response_text(fault.argument)
            return f"{number.about}: *{text.rstrip('.')}*"
        if fault.kind == "result_failed" and fault.argument in codes.RESULTS:
            return f"{number.about}: *{codes.result_text(fault.argument).rstrip('.')}*"
    return number.about
