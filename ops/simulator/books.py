"""The accountant: floats, conversations, and a ledger of every payment that was really made.

Amounts are integers of cents inside, strings with two decimals outside. With a file, every line is
written before the act it tells is visible to anybody, so a killed simulator comes back with them.
"""

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from ops.simulator.records import (
    Accepted,
    Conversation,
    Delivered,
    Ended,
    Event,
    Floated,
    Payment,
    State,
    money,
    payout_key,
    receipt_number,
)


class BooksError(Exception):
    """The books file cannot be read: a line before its last is damaged. Move the file away."""


class Books:
    """Guarantees that ledger, totals and floats agree after every call."""

    def __init__(
        self, short_codes: tuple[str, ...], opening: int, clock: Callable[[], float], path: str = ""
    ) -> None:
        """`opening` is the float of each short code in cents; `path` the file, empty for none."""
        self._short_codes = short_codes
        self._opening = opening
        self._clock = clock
        self._file: BinaryIO | None = None
        self._path = Path(path) if path else None
        self._second = ("", 0)
        self._clear()

    def _clear(self) -> None:
        self.floats = dict.fromkeys(self._short_codes, self._opening)
        self.ledger: list[Payment] = []
        self.total = 0
        self.twice: dict[str, int] = {}
        self._paid: set[str] = set()
        self._serial = 0
        self._conversations: dict[str, Conversation] = {}
        self._by_other: dict[str, Conversation] = {}
        self._undelivered: dict[str, Conversation] = {}

    def open(self) -> list[Conversation]:
        """Guarantees the books as the file left them; returns what is still owed a Result.

        Raises:
            BooksError: when the file is damaged elsewhere than in its unfinished last line.
        """
        if self._path is None:
            return []
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch()
        self._replay(self._path)
        self._file = self._path.open("ab", buffering=0)
        return list(self._undelivered.values())

    def close(self) -> None:
        """Guarantees that the file is closed; the books stay readable."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def reset(self) -> None:
        """Guarantees empty books and full floats, in the file too."""
        self._clear()
        if self._file is not None:
            self._file.truncate(0)

    def accept(self, conversation: Conversation) -> None:
        """Guarantees that the request is known by its ids from now on."""
        self._write(Accepted(conversation))
        self._enter(conversation)

    def settle(self, conversation: Conversation, code: str) -> None:
        """Guarantees the end of a request: paid when `code` is 0 or it `pays`, else declined."""
        conversation.result_code = code
        conversation.ended_at = self._clock()
        if code != "0" and not conversation.pays:
            conversation.state = State.FAILED
            conversation.balance = self.floats[self._paying(conversation)]
            self._write(Ended(conversation))
            return
        conversation.state = State.PAID
        conversation.receipt = receipt_number(self._serial + 1, conversation.ended_at)
        conversation.balance = self.floats[conversation.short_code] - conversation.amount
        payment = self._payment(conversation)
        self._write(Ended(conversation, payment))
        self._enter_payment(conversation, payment)

    def expire(self, conversation: Conversation) -> None:
        """Guarantees that a cached request is dropped and its id free again."""
        conversation.state = State.EXPIRED
        conversation.ended_at = self._clock()
        self._write(Ended(conversation))

    def telling(self, conversation: Conversation) -> None:
        """Guarantees that the instant of the first Result is known; the file does not keep it."""
        if not conversation.told_at:
            conversation.told_at = self._clock()

    def delivered(self, conversation: Conversation) -> None:
        """Guarantees that no Result is owed for this request after a restart."""
        self._write(Delivered(conversation.conversation_id))
        self._undelivered.pop(conversation.conversation_id, None)

    def set_float(self, short_code: str, amount: int) -> None:
        """Guarantees that the short code has exactly `amount` cents."""
        self._write(Floated(short_code, amount))
        self.floats[short_code] = amount

    def known(self, originator_conversation_id: str) -> Conversation | None:
        """Guarantees the latest request of that id, or nothing."""
        return self._conversations.get(originator_conversation_id)

    def found(self, identifier: str) -> Conversation | None:
        """Guarantees the request with that ConversationID or receipt, or nothing."""
        return self._by_other.get(identifier)

    def conversations(self) -> Iterator[Conversation]:
        """Guarantees each known request once, oldest first."""
        return iter(self._conversations.values())

    def _paying(self, conversation: Conversation) -> str:
        return (
            conversation.short_code
            if conversation.short_code in self.floats
            else self._short_codes[0]
        )

    def _enter(self, conversation: Conversation) -> None:
        self._conversations[conversation.originator_conversation_id] = conversation
        self._by_other[conversation.conversation_id] = conversation
        self._undelivered[conversation.conversation_id] = conversation

    def _replace(self, conversation: Conversation) -> None:
        """A request whose duplicate was taken for new may end after that one was entered."""
        latest = self._conversations.get(conversation.originator_conversation_id)
        self._enter(conversation)
        if latest is not None and latest.conversation_id != conversation.conversation_id:
            self._conversations[conversation.originator_conversation_id] = latest

    def _enter_payment(self, conversation: Conversation, payment: Payment) -> None:
        self._serial += 1
        self.floats[conversation.short_code] = conversation.balance
        self.ledger.append(payment)
        self.total += conversation.amount
        self._by_other[conversation.receipt] = conversation
        key = payout_key(conversation.originator_conversation_id)
        if key in self._paid:
            self.twice[key] = self.twice.get(key, 1) + 1
        self._paid.add(key)

    def _payment(self, conversation: Conversation) -> Payment:
        return Payment(
            originator_conversation_id=conversation.originator_conversation_id,
            conversation_id=conversation.conversation_id,
            receipt=conversation.receipt,
            msisdn=conversation.msisdn,
            amount=money(conversation.amount),
            short_code=conversation.short_code,
            command_id=conversation.command_id,
            paid_at=self._instant(conversation.ended_at),
        )

    def _instant(self, moment: float) -> str:
        second = int(moment)
        if second != self._second[1]:
            text = dt.datetime.fromtimestamp(second, dt.UTC).isoformat()
            self._second = (text.removesuffix("+00:00"), second)
        return f"{self._second[0]}.{int((moment - second) * 1000):03}Z"

    def _write(self, event: Event) -> None:
        if self._file is not None:
            self._file.write(msgspec.json.encode(event) + b"\n")

    def _replay(self, path: Path) -> None:
        decoder = msgspec.json.Decoder(Event)
        whole = 0
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.endswith(b"\n"):
                    break  # The line the last process was killed in: it never took effect.
                try:
                    self._again(decoder.decode(line))
                except msgspec.DecodeError as error:
                    raise BooksError(f"{path}, line {number}: {error}") from None
                whole += len(line)
        with path.open("r+b") as file:
            file.truncate(whole)

    def _again(self, event: Event) -> None:
        match event:
            case Accepted(conversation):
                self._enter(conversation)
            case Ended(conversation, payment):
                self._replace(conversation)
                if payment is not None:
                    self._enter_payment(conversation, payment)
            case Delivered(identifier):
                self._undelivered.pop(identifier, None)
            case Floated(short_code, amount):
                self.floats[short_code] = amount
