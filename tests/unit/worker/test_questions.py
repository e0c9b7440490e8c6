import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from payouts.domain.decisions import Policies
from payouts.domain.errors import StoreUnavailableError
from payouts.domain.payout import Payout, State
from payouts.domain.signals import Signal
from payouts.domain.values import AccountName, OriginatorConversationId, PayoutId
from payouts.ports import AccountStatus, Gateway, PayoutStore
from payouts.services.accounts import Accounts
from payouts.services.reconciliation import Reconciliation
from worker.pool import Pool
from worker.questions import Questions

NOW = datetime(2026, 11, 30, tzinfo=UTC)
NAME = AccountName("default")
CLAIM_S = 30.0


class _Clock:
    """Goes on when it is told to."""

    def __init__(self) -> None:
        self.instant = NOW

    def now(self) -> datetime:
        return self.instant

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        assert seconds >= 0


class _Silent:
    """Hears signals and forgets them."""

    def emit(self, signal: Signal, /, **fields: object) -> None:
        assert signal
        assert fields


class _Store:
    """Has doubts once; remembers what was claimed and what was kept."""

    def __init__(self, doubts: list[Payout], *, paused: bool) -> None:
        self._doubts, self._paused = doubts, paused
        self.limits: list[int] = []
        self.kept: list[list[str]] = []
        self.settled: set[str] = set()

    async def account_statuses(self, names: list[AccountName]) -> dict[AccountName, Any]:
        return {name: AccountStatus(name=name, paused=self._paused) for name in names}

    async def claim_doubts(
        self, accounts: list[AccountName], *, limit: int, **_: object
    ) -> list[Payout]:
        self.limits.append(limit)
        doubts, self._doubts = self._doubts, []
        return [one for one in doubts if one.account in accounts]

    async def keep_doubts(self, payout_ids: list[PayoutId], *, until: datetime) -> set[PayoutId]:
        assert until > NOW
        self.kept.append(sorted(payout_ids))
        return set(payout_ids) - self.settled

    def doubt(self, *doubts: Payout) -> None:
        """Have these doubts once more."""
        self._doubts += doubts


class _Settling:
    """Remembers what was settled; what is in `slow` is not answered before `answer`."""

    def __init__(self) -> None:
        self.settled: list[str] = []
        self.slow: set[str] = set()
        self.left: set[str] = set()
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def leave(self, payout: Payout) -> bool:
        return payout.payout_id in self.left

    async def settle(self, payout: Payout) -> None:
        self.settled.append(payout.payout_id)
        if payout.payout_id in self.slow:
            await asyncio.shield(self.answer)


class _Slots:
    """Has slots for everybody, and counts those that are out; turns come when `open` is set."""

    closing = False

    def __init__(self) -> None:
        self.out = 0
        self.open = asyncio.Event()
        self.open.set()

    async def take_slot(self, account: AccountName) -> None:
        assert account
        self.out += 1

    async def turn(self, account: AccountName) -> None:
        assert account
        await self.open.wait()

    def give_back(self, account: AccountName) -> None:
        assert account
        self.out -= 1


def doubt(name: str, *, ask_now: bool = False) -> Payout:
    return Payout(
        payout_id=PayoutId(name),
        account=NAME,
        amount_minor=100,
        currency="KES",
        msisdn="254712345678",
        command_id="BusinessPayment",
        originator_conversation_id=OriginatorConversationId(f"600000_ORG_{name}"),
        state=State.IN_DOUBT,
        created_at=NOW,
        attempts=1,
        ask_now=ask_now,
    )


class Bed:
    """A worker's questions over a store that has two doubts."""

    def __init__(self, *, paused: bool = False) -> None:
        self.store = _Store([doubt("plain"), doubt("wanted", ask_now=True)], paused=paused)
        self.clock, self.slots, self.settling = _Clock(), _Slots(), _Settling()
        store = cast("PayoutStore", self.store)
        self.accounts = Accounts(
            [NAME], store, cast("Gateway", None), self.clock, _Silent(), Policies()
        )
        self.questions = Questions(
            store=store,
            pool=cast("Pool", self.slots),
            pace=cast("Any", self.slots),
            reconciliation=cast("Reconciliation", self.settling),
            accounts=self.accounts,
            clock=self.clock,
            claim_s=CLAIM_S,
        )

    async def ask(self) -> int:
        """Sweep once."""
        return await self.questions.ask(NAME)

    @property
    def tasks(self) -> dict[PayoutId, asyncio.Task[None]]:
        """What is under way."""
        return self.questions._under_way[NAME].tasks


@pytest.mark.parametrize(("paused", "asked"), [(False, ["plain", "wanted"]), (True, ["wanted"])])
async def test_while_an_account_is_paused_only_what_is_wanted_is_asked(
    asked: list[str], *, paused: bool
) -> None:
    """A person, or a restore, wants to know before anybody lets the account send again.

    Proved by asking about everything.
    """
    bed = Bed(paused=paused)
    await bed.accounts.refresh()
    await bed.ask()
    assert bed.settling.settled == asked


async def test_a_question_that_is_answered_late_holds_no_other_up() -> None:
    """It counts among those under way until it is answered; how it fails is told then.

    Proved by waiting for all questions of a turn: a gateway that lets one in ten wait made every
    payout wait for the time-out of a request, turn by turn.
    """
    bed = Bed()
    bed.settling.slow = {"plain"}
    assert await bed.ask() == 2
    bed.store.doubt(doubt("next"))
    assert await bed.ask() == 1
    assert bed.settling.settled == ["plain", "wanted", "next"]
    bed.settling.answer.set_exception(StoreUnavailableError())
    await asyncio.wait(bed.tasks.values())
    with pytest.raises(StoreUnavailableError):
        await bed.ask()
    assert await bed.ask() == 0
    assert bed.store.limits == [20, 19, 20, 20]


async def test_what_is_under_way_is_not_asked_about_twice_at_once() -> None:
    """A claim that ran out while its question is under way is nobody's second question.

    Proved by beginning whatever is claimed: where turns are rare, the same few payouts took all
    of them, and seeds of the simulation left others in doubt though they were paid.
    """
    bed = Bed()
    bed.settling.slow = {"plain"}
    await bed.ask()
    bed.store.doubt(doubt("plain"))
    assert await bed.ask() == 0
    assert bed.settling.settled == ["plain", "wanted"]


async def test_claims_of_what_waits_for_its_turn_are_renewed() -> None:
    """As long as it waits it is this worker's, and a turn is never spent on what is settled.

    Proved by not renewing (no claim is kept), and by asking about what is in doubt no more.
    """
    bed = Bed()
    bed.slots.open.clear()
    await bed.ask()
    assert bed.store.kept == []
    bed.clock.instant += timedelta(seconds=CLAIM_S / 2)
    await bed.ask()
    await bed.ask()
    assert bed.store.kept == [["plain", "wanted"]]
    bed.clock.instant += timedelta(seconds=CLAIM_S / 2)
    bed.store.settled = {"plain"}
    await bed.ask()
    assert len(bed.store.kept) == 2
    waiting = list(bed.tasks.values())
    bed.slots.open.set()
    await asyncio.wait(waiting)
    await bed.ask()
    assert bed.settling.settled == ["wanted"]
    assert bed.slots.out == 0


async def test_what_is_left_to_a_person_takes_neither_slot_nor_turn() -> None:
    """Turns are for requests.

    Proved by leaving it in its turn.
    """
    bed = Bed()
    bed.settling.left = {"plain"}
    bed.slots.open.clear()
    await bed.ask()
    assert bed.slots.out == 1
    await bed.questions.stop()
    assert bed.settling.settled == []


async def test_questions_that_are_still_unanswered_end_with_the_worker() -> None:
    """A worker that stops leaves no question behind; they are asked again.

    Proved by not cancelling them.
    """
    bed = Bed()
    bed.settling.slow = {"plain", "wanted"}
    await bed.ask()
    asked = list(bed.tasks.values())
    await bed.questions.stop()
    assert [task.cancelled() for task in asked] == [True, True]
    assert bed.slots.out == 0
