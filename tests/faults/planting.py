"""Every violation that the judge must name, as a change to a small world in order."""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.evidence import May, Published, PutAside
from tests.faults.judge import Kind
from tests.faults.small_world import (
    RETRY_WIRE,
    Case,
    event,
    payout_row,
    reason,
    renamed,
    steps,
    wire,
)


def of(payout_id: str, change: str) -> str:
    return f"UPDATE payouts SET {change} WHERE payout_id = '{payout_id}'"  # noqa: S608


def paid_twice(case: Case) -> None:
    case.payments.append((wire("paid-1"), "RECEIPT003", "254712345678", "150.50"))


def paid_twice_under_two_ids(case: Case) -> None:
    """The first submission failed, the second succeeded, and both were paid."""
    case.may("failed-1", May.SUCCEED, May.FAIL)
    case.payments += [
        (wire("failed-1"), "RECEIPT003", "254712345679", "20.00"),
        (RETRY_WIRE, "RECEIPT004", "254712345679", "20.00"),
    ]


def paid_unasked(case: Case) -> None:
    case.payments.append((wire("nobody-1"), "RECEIPT003", "254712345678", "1.00"))


def wrong_amount(case: Case) -> None:
    case.payments[0] = (wire("paid-1"), "RECEIPT001", "254712345678", "150.51")


def wrong_receiver(case: Case) -> None:
    case.payments[0] = (wire("paid-1"), "RECEIPT001", "254712345677", "150.50")


def failed_though_paid(case: Case) -> None:
    case.payments.append((wire("failed-1"), "RECEIPT003", "254712345679", "20.00"))


def succeeded_unpaid(case: Case) -> None:
    del case.payments[0]


def wrong_receipt(case: Case) -> None:
    case.statements.append(of("paid-1", "transaction_id = 'RECEIPT009'"))


def lacking_receipt(case: Case) -> None:
    case.statements.append(of("paid-1", "transaction_id = NULL"))


def unexpected_end(case: Case) -> None:
    case.may("failed-1", May.SUCCEED)


def unexpected_success(case: Case) -> None:
    case.may("paid-1", May.FAIL)


def not_ended(case: Case) -> None:
    case.statements.append(of("doubt-1", "state = 'accepted', next_action_at = now()"))


def doubt_without_reason(case: Case) -> None:
    gone = "reason_source = NULL, reason_class = NULL, reason_description = NULL"
    case.statements.append(of("doubt-1", f"reason_code = NULL, {gone}"))


def doubt_needless(case: Case) -> None:
    case.may("doubt-1", May.SUCCEED, May.FAIL)


def no_completion_event(case: Case) -> None:
    del case.heard[0]


def two_event_ids(case: Case) -> None:
    case.heard.append(renamed(case.heard[0], "00000000-0000-0000-0000-000000000009"))


def wrong_event_type(case: Case) -> None:
    case.heard[0] = event("paid-1", "failed")


def event_of_another_amount(case: Case) -> None:
    case.heard[0] = event("paid-1", "succeeded", amount="150.51")


def event_of_another_receipt(case: Case) -> None:
    case.heard.append(event("paid-1", "succeeded", transaction_id="RECEIPT009"))


def event_not_of_the_outbox(case: Case) -> None:
    case.heard[0] = renamed(case.heard[0], "00000000-0000-0000-0000-000000000009")


def message_of_another_id(case: Case) -> None:
    case.heard[0] = case.heard[0]._replace(message_id="another")


def event_unended(case: Case) -> None:
    case.heard.append(case.heard[0]._replace(payout_id="doubt-1"))


def event_unasked(case: Case) -> None:
    case.heard.append(case.heard[0]._replace(payout_id="nobody-1"))


def lost_command(case: Case) -> None:
    case.published["lost-1"] = Published(payout_id="lost-1", amount="9.00", msisdn="254712345672")


def lost_dead_letter(case: Case) -> None:
    case.put_aside.clear()


def put_aside(case: Case) -> None:
    case.put_aside.append(PutAside("paid-1", "poison"))


def payout_unasked(case: Case) -> None:
    del case.published["doubt-1"]


def content_changed(case: Case) -> None:
    case.statements.append(of("doubt-1", "msisdn = '254712345675'"))


def an_intent_too_many(case: Case) -> None:
    case.statements.append(
        "INSERT INTO timeline (payout, at, actor, kind, to_state, attempt)"
        " SELECT id, now(), 'test', 'test', 'received', 1 FROM payouts"
        " WHERE payout_id = 'doubt-1'"
    )


def an_event_too_few(case: Case) -> None:
    case.statements.append("DELETE FROM events WHERE payout_id = 'paid-1'")


def another_sum(case: Case) -> None:
    case.statements.append(of("doubt-1", "amount_minor = 3001"))


def illegal_step(case: Case) -> None:
    case.statements += ["DELETE FROM timeline", steps("paid-1", "received", "accepted")]


def broken_chain(case: Case) -> None:
    case.statements.append(
        "UPDATE timeline SET from_state = 'waiting' WHERE to_state = 'succeeded'"
    )


def untold_step(case: Case) -> None:
    case.statements.append("DELETE FROM timeline WHERE to_state = 'in_doubt'")


def step_after_the_end(case: Case) -> None:
    case.statements.append(
        "INSERT INTO timeline (payout, at, actor, kind, from_state, to_state, attempt)"
        " SELECT id, now(), 'test', 'test', 'failed', 'succeeded', 1 FROM payouts"
        " WHERE payout_id = 'failed-1'"
    )


def end_overwritten(case: Case) -> None:
    case.statements.append(of("failed-1", "state = 'succeeded', transaction_id = 'RECEIPT003'"))


def id_not_derived(case: Case) -> None:
    case.statements.append(of("paid-1", "originator_conversation_id = '600000_ORG_8d3f'"))


def retry_under_the_first_id(case: Case) -> None:
    """A second submission whose id on the wire is not of the second submission's form."""
    case.statements.append(
        payout_row(
            "failed-1-r2",
            2000,
            "254712345679",
            "in_doubt",
            retry_of="'failed-1'",
            originator_conversation_id="'600000_ORG_failed-1-r2'",
            doubt_since="now()",
            **reason("local", "timeout"),
        )
    )


PLANTED: list[tuple[Callable[[Case], None], Kind]] = [
    (paid_twice, Kind.PAID_TWICE),
    (paid_twice_under_two_ids, Kind.PAID_TWICE),
    (paid_unasked, Kind.PAID_UNASKED),
    (wrong_amount, Kind.WRONG_AMOUNT),
    (wrong_amount, Kind.BOOKS_MONEY),
    (wrong_receiver, Kind.WRONG_RECEIVER),
    (failed_though_paid, Kind.FAILED_THOUGH_PAID),
    (failed_though_paid, Kind.BOOKS_MONEY),
    (succeeded_unpaid, Kind.SUCCEEDED_UNPAID),
    (wrong_receipt, Kind.WRONG_RECEIPT),
    (lacking_receipt, Kind.WRONG_RECEIPT),
    (unexpected_end, Kind.UNEXPECTED_END),
    (unexpected_success, Kind.UNEXPECTED_END),
    (not_ended, Kind.NOT_ENDED),
    (doubt_without_reason, Kind.DOUBT_WITHOUT_REASON),
    (doubt_needless, Kind.DOUBT_NEEDLESS),
    (no_completion_event, Kind.NO_COMPLETION_EVENT),
    (two_event_ids, Kind.TWO_EVENT_IDS),
    (wrong_event_type, Kind.WRONG_EVENT_TYPE),
    (event_of_another_amount, Kind.EVENT_DISAGREES),
    (event_of_another_receipt, Kind.EVENT_DISAGREES),
    (event_not_of_the_outbox, Kind.EVENT_DISAGREES),
    (message_of_another_id, Kind.EVENT_DISAGREES),
    (event_unended, Kind.EVENT_UNENDED),
    (event_unasked, Kind.EVENT_UNASKED),
    (lost_command, Kind.LOST_COMMAND),
    (lost_dead_letter, Kind.LOST_COMMAND),
    (put_aside, Kind.PUT_ASIDE),
    (payout_unasked, Kind.PAYOUT_UNASKED),
    (content_changed, Kind.CONTENT_CHANGED),
    (an_intent_too_many, Kind.BOOKS_COUNT),
    (an_event_too_few, Kind.BOOKS_COUNT),
    (another_sum, Kind.BOOKS_MONEY),
    (illegal_step, Kind.ILLEGAL_STEP),
    (broken_chain, Kind.ILLEGAL_STEP),
    (untold_step, Kind.ILLEGAL_STEP),
    (step_after_the_end, Kind.END_OVERWRITTEN),
    (end_overwritten, Kind.END_OVERWRITTEN),
    (id_not_derived, Kind.ID_NOT_DERIVED),
    (retry_under_the_first_id, Kind.ID_NOT_DERIVED),
]
