import datetime as dt
import json
from itertools import count
from pathlib import Path

import pytest

from ops.simulator.books import Books, BooksError
from ops.simulator.records import Conversation, State, money, payout_key, receipt_number

NOON = dt.datetime(2026, 1, 15, 9, 0, tzinfo=dt.UTC).timestamp()


def _books(path: str = "", opening: int = 100_000) -> Books:
    books = Books(("600000",), opening, lambda: NOON, path)
    books.open()
    return books


def _conversation(identifier: str = "one", amount: int = 10_050) -> Conversation:
    return Conversation(
        originator_conversation_id=identifier,
        conversation_id=f"AG_{identifier}",
        command_id="BusinessPayment",
        msisdn="254712345678",
        amount=amount,
        short_code="600000",
        result_url="http://callbacks.invalid/result",
        timeout_url="http://callbacks.invalid/timeout",
        references=[("Occasion", "x")],
        accepted_at=NOON,
    )


@pytest.mark.parametrize(
    ("identifier", "key"),
    [
        ("600000_ORG_salary-7", "salary-7"),
        ("600000_ORG-r2_salary-7", "salary-7"),
        ("600000_ORG-r13_a_b_c", "a_b_c"),
        ("600000_ORG_600001_ORG_x", "600001_ORG_x"),
        ("600000_ORG-x2_y", "600000_ORG-x2_y"),
        ("free-form", "free-form"),
        ("_ORG_x", "_ORG_x"),
    ],
)
def test_the_key_of_a_payout_is_without_prefix(identifier: str, key: str) -> None:
    """Short code, organisation and resubmission are cut off, and nothing else."""
    assert payout_key(identifier) == key


@pytest.mark.parametrize(
    ("cents", "text"),
    [(0, "0.00"), (5, "0.05"), (-5, "-0.05"), (-1234, "-12.34"), (10**12, "1" + "0" * 10 + ".00")],
)
def test_money_has_two_decimals(cents: int, text: str) -> None:
    """Also below zero, and for sums that a float could not hold exactly."""
    assert money(cents) == text


def test_receipts_carry_their_date_and_never_repeat() -> None:
    """U is 2026, A January, F the 15th; ten thousand serials are ten thousand receipts."""
    receipts = {receipt_number(serial, NOON) for serial in range(10_000)}
    assert len(receipts) == 10_000
    assert all(receipt.startswith("UAF") and len(receipt) == 10 for receipt in receipts)


def test_a_payment_moves_float_sum_and_ledger_together() -> None:
    """After each settlement: opening = float + sum, one line per payment."""
    books = _books()
    for number in range(5):
        conversation = _conversation(f"600000_ORG_p{number}")
        books.accept(conversation)
        books.settle(conversation, "0")
        assert books.floats["600000"] + books.total == 100_000
        assert conversation.balance == books.floats["600000"]
        assert len(books.ledger) == number + 1
    assert books.total == 5 * 10_050
    assert not books.twice


def test_a_declined_request_moves_nothing() -> None:
    """No line, no receipt, the same float."""
    books = _books()
    conversation = _conversation()
    books.accept(conversation)
    books.settle(conversation, "2006")
    assert (conversation.state, conversation.receipt) == (State.FAILED, "")
    assert (books.floats["600000"], books.total, books.ledger) == (100_000, 0, [])


def test_a_third_payment_of_one_payout_is_still_one_double_payment() -> None:
    """`twice` counts payout ids; its values are how often each was paid."""
    books = _books()
    for number in count():
        conversation = _conversation(f"600000_ORG-r{number}_same")
        books.accept(conversation)
        books.settle(conversation, "0")
        if number == 2:
            break
    assert books.twice == {"same": 3}


def test_the_file_gives_the_same_books_again(tmp_path: Path) -> None:
    """Ledger, sum, float, ids, receipts and what is still owed; appended to, not rewritten."""
    path = str(tmp_path / "deep" / "books.jsonl")
    books = _books(path)
    paid, declined, told, open_, expired = (
        _conversation(f"600000_ORG_{name}") for name in ("paid", "no", "told", "open", "gone")
    )
    for conversation in (paid, declined, told, open_, expired):
        books.accept(conversation)
    for conversation in (paid, told):
        books.settle(conversation, "0")
    books.settle(declined, "1")
    books.expire(expired)
    books.delivered(told)
    books.set_float("600000", 777)
    books.close()
    again = Books(("600000",), 100_000, lambda: NOON, path)
    owed = again.open()
    assert again.ledger == books.ledger
    assert (again.total, again.floats) == (books.total, {"600000": 777})
    assert {one.originator_conversation_id: one.state for one in owed} == {
        "600000_ORG_paid": State.PAID,
        "600000_ORG_no": State.FAILED,
        "600000_ORG_open": State.ACCEPTED,
        "600000_ORG_gone": State.EXPIRED,
    }
    assert again.known("600000_ORG_told") is again.found(told.receipt)
    next_ = _conversation("600000_ORG_next")
    again.accept(next_)
    again.settle(next_, "0")
    assert next_.receipt not in {paid.receipt, told.receipt}
    again.close()


def test_two_requests_of_one_id_keep_their_order_over_a_restart(tmp_path: Path) -> None:
    """The first ends after the second was taken for new: the second stays the known one."""
    path = str(tmp_path / "books.jsonl")
    books = _books(path)
    first, second = _conversation(), _conversation()
    second.conversation_id = "AG_second"
    for conversation in (first, second):
        books.accept(conversation)
    books.settle(first, "0")
    books.close()
    again = Books(("600000",), 100_000, lambda: NOON, path)
    assert len(again.open()) == 2
    known = again.known("one")
    assert known is not None
    assert known.conversation_id == "AG_second"
    again.close()


def test_a_torn_last_line_is_dropped_and_other_damage_is_not_forgiven(tmp_path: Path) -> None:
    """The kill's last write never took effect; a line in the middle that cannot be read did."""
    path = tmp_path / "books.jsonl"
    books = _books(str(path))
    books.accept(_conversation())
    books.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"event":"ended","conv')
    again = _books(str(path))
    assert again.known("one") is not None
    assert path.read_bytes() == whole
    again.close()
    path.write_bytes(b"[]\n" + whole)
    with pytest.raises(BooksError, match="line 1"):
        _books(str(path))


def test_every_line_of_the_file_is_json(tmp_path: Path) -> None:
    """Another judge can read it without our code."""
    path = tmp_path / "books.jsonl"
    books = _books(str(path))
    conversation = _conversation()
    books.accept(conversation)
    books.settle(conversation, "0")
    books.delivered(conversation)
    books.set_float("600000", 1)
    books.close()
    events = [json.loads(line)["event"] for line in path.read_bytes().splitlines()]
    assert events == ["accepted", "ended", "delivered", "floated"]


def test_a_reset_empties_the_file_too(tmp_path: Path) -> None:
    """And what is written after it stands at the beginning."""
    path = tmp_path / "books.jsonl"
    books = _books(str(path))
    books.accept(_conversation())
    books.reset()
    assert path.read_bytes() == b""
    assert books.known("one") is None
    assert list(books.conversations()) == []
    books.accept(_conversation("two"))
    books.close()
    assert path.read_bytes().startswith(b'{"event":"accepted"')


def test_instants_are_utc_with_milliseconds() -> None:
    """The second is formatted once, its fraction each time."""
    moments = iter([NOON + 0.25, NOON + 0.999, NOON + 61])
    books = Books(("600000",), 100_000, lambda: next(moments))
    for number in range(3):
        conversation = _conversation(str(number))
        books.accept(conversation)
        books.settle(conversation, "0")
    assert [line.paid_at for line in books.ledger] == [
        "2026-01-15T09:00:00.250Z",
        "2026-01-15T09:00:00.999Z",
        "2026-01-15T09:01:01.000Z",
    ]
