"""What a round's books must show, or there is nothing to compare."""

import pytest

from ops.bench.hearing import wrong_events, wrong_payments

WANTED = {"a", "b"}


def event(payout_id: str, event_id: str = "", kind: str = "payout.succeeded") -> dict[str, str]:
    """Makes an event of a payout."""
    return {"subject": payout_id, "id": event_id or f"event-{payout_id}", "type": kind}


def payment(payout_id: str) -> dict[str, str]:
    """Makes a line of the simulator's ledger."""
    return {"originator_conversation_id": f"600000_ORG_{payout_id}"}


def test_one_event_id_and_one_payment_of_each_is_right() -> None:
    """An event that comes again with the same id is no mistake."""
    assert wrong_events([event("a"), event("b"), event("a")], WANTED) == []
    assert wrong_payments([payment("b"), payment("a")], WANTED) == []


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        ([event("a")], "1 payouts without an event"),
        ([event("a"), event("b"), event("b", "other")], "1 payouts with several event ids"),
        ([event("a", "same"), event("b", "same")], "1 event ids that several payouts share"),
        ([event("a"), event("b"), event("c")], "1 events of strange payouts"),
        ([event("a"), event("b", kind="payout.failed")], "1 payouts that did not succeed"),
    ],
)
def test_each_mistake_of_the_events_is_told(events: list[dict[str, str]], problem: str) -> None:
    """With its number."""
    assert wrong_events(events, WANTED) == [problem]


@pytest.mark.parametrize(
    ("paid", "problem"),
    [("a", "1 payouts not paid"), ("abb", "1 payments too many"), ("abc", "1 strange payments")],
)
def test_each_mistake_of_the_payments_is_told(paid: str, problem: str) -> None:
    """Somebody unpaid, paid twice, or paid unasked."""
    assert wrong_payments([payment(one) for one in paid], WANTED) == [problem]
