from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest
from services_bed import (
    NAME,
    OWNER,
    Clock,
    Port,
    Signals,
    completions,
    in_doubt,
    payout,
    result,
)

from payouts.domain.answers import BrokerRecord, NotSent, NotSentCause, Response
from payouts.domain.commands import AccountRules
from payouts.domain.decisions import Ambiguous, Policies
from payouts.domain.payout import Payout, State
from payouts.domain.signals import Signal
from payouts.domain.values import AccountName, ConversationId
from payouts.ports import CompletionOutcome, Gateway, PayoutStore
from payouts.services.accounts import Accounts
from payouts.services.lease import Lease
from payouts.services.reconciliation import Reconciliation

LONG_AGO = timedelta(days=3)


class _Gateway:
    """Answers as it was taught; has a broker's log if it was given one."""

    def __init__(self, record: BrokerRecord | None = None) -> None:
        self._record = record

    def can_ask_broker(self, account: AccountName) -> bool:
        assert account
        return self._record is not None

    async def ask_broker(self, one: Payout) -> BrokerRecord:
        assert one.state is State.IN_DOUBT
        assert self._record is not None
        return self._record

    async def ask_core(self, *_: object, **__: object) -> Response:
        return Response(code="0", conversation_id=ConversationId("AG_q"))


class Bed:
    """Reconciliation over a store that remembers."""

    def __init__(
        self,
        policy: Ambiguous = Ambiguous.QUERY,
        *,
        record: BrokerRecord | None = None,
        again: Payout | None = None,
    ) -> None:
        self.store = Port({"enlist": OWNER, "resend": again})
        self.signals, self.clock = Signals(), Clock()
        store = cast("PayoutStore", self.store)
        gateway = cast("Gateway", _Gateway(record))
        policies = Policies(ambiguous=policy)
        self.lease = Lease(store, self.clock, self.signals, name="w", lease_s=15)
        self.reconciliation = Reconciliation(
            store=store,
            gateway=gateway,
            completions=completions(self.store, self.clock, self.signals),
            accounts=Accounts([NAME], store, gateway, self.clock, self.signals, policies),
            rules=lambda name: AccountRules(name=name, shortcode="600000", organisation="ORG"),
            lease=self.lease,
            clock=self.clock,
            telemetry=self.signals,
            policies=policies,
            jitter=lambda: 0.5,
        )

    async def settle(self, doubtful: Payout) -> Sequence[str]:
        """Do the next step and give what the store was asked."""
        await self.lease.enlist()
        self.store.asked.clear()
        if not await self.reconciliation.leave(doubtful):
            await self.reconciliation.settle(doubtful)
        return self.store.names


def stuck(**changes: Any) -> Payout:
    since = Clock().now() - LONG_AGO
    return in_doubt(doubt_since=since, submitted_at=since, last_sent_at=since, **changes)


@pytest.mark.parametrize("policy", list(Ambiguous))
@pytest.mark.parametrize("doubtful", [in_doubt(ask_now=True), stuck(ask_now=True)])
async def test_what_a_person_wants_asked_is_asked(policy: Ambiguous, doubtful: Payout) -> None:
    """Whatever the policy, and however long it is in doubt; nothing is sent again before.

    Proved by looking at the policy, or at how long, first.
    """
    asked = await Bed(policy).settle(doubtful)
    assert "record_query" in asked
    assert not {"resend", "postpone", "record_incident"} & set(asked)


async def test_with_the_policy_hold_a_doubt_is_looked_at_once_and_left_alone() -> None:
    """Nobody asks, nobody sends, even on the proof of answers to a person's questions.

    Proved by leaving its next look planned: it was claimed again every interval, and sent.
    """
    bed = Bed(Ambiguous.HOLD)
    assert await bed.settle(in_doubt(not_found_count=2)) == ["postpone"]
    assert bed.store.calls("postpone")[0]["next_action_at"] is None


@pytest.mark.parametrize(
    ("attempts", "queries", "step"),
    [(1, 0, "resend"), (2, 0, "resend"), (3, 0, "record_query"), (3, 1, "resend")],
)
async def test_sends_that_leave_it_open_each_time_are_followed_by_a_question(
    attempts: int, queries: int, step: str
) -> None:
    """With the policy resend, too: where every answer is lost, sending on settles nothing.

    Proved by sending on: a round of faults saw the 93rd send of a payout that was long paid.
    """
    doubtful = in_doubt(attempts=attempts, queries=queries)
    bed = Bed(Ambiguous.RESEND, again=doubtful)
    asked = await bed.settle(doubtful)
    assert [one for one in asked if one in ("resend", "record_query")] == [step]


async def test_what_was_never_sent_is_no_doubt_of_a_send() -> None:
    """With the policy hold, too, what a restore brought back is asked about, then sent."""
    bed = Bed(Ambiguous.HOLD)
    assert "record_query" in await bed.settle(in_doubt(attempts=0))
    assert "resend" in await bed.settle(in_doubt(attempts=0, not_found_count=2))


async def test_a_doubt_that_lasts_is_left_to_a_person() -> None:
    """One incident, no further question; it is the same incident each time."""
    bed = Bed()
    assert await bed.settle(stuck()) == ["record_incident", "postpone"]
    assert bed.store.calls("record_incident")[0]["a"].at == stuck().doubt_since
    assert len(bed.signals.of(Signal.PAYOUT_STUCK)) == 1


def logged(*codes: str, requests: int = 1) -> BrokerRecord:
    """Give a broker's log with these Responses."""
    return BrokerRecord(
        response=Response(code="0"),
        requests=requests,
        responses=tuple(Response(code=code) for code in codes),
    )


@pytest.mark.parametrize(
    ("record", "known", "sighted"),
    [
        (logged(), None, True),
        (logged("15"), None, True),
        (logged("17"), None, False),
        (logged("0"), ConversationId("AG_1"), True),
        (logged(requests=0), None, False),
        (BrokerRecord(response=Response(code="100000001")), None, False),
    ],
    ids=["request", "duplicate", "left open", "accepted", "not found", "no answer"],
)
async def test_a_log_that_knows_the_request_forgets_earlier_not_found(
    record: BrokerRecord, known: ConversationId | None, *, sighted: bool
) -> None:
    """The broker's word that it had the request speaks against sending it again.

    Proved by leaving the sighting out of each branch.
    """
    doubtful = in_doubt(not_found_count=1, conversation_id=known)
    asked = await Bed(record=record).settle(doubtful)
    assert ("record_sighting" in asked) is sighted
    assert "resend" not in asked


@pytest.mark.parametrize(
    ("doubtful", "record", "core"),
    [
        (in_doubt(ask_now=True), logged(requests=0), True),
        (in_doubt(ask_now=True), logged(), True),
        (in_doubt(ask_now=True), replace(logged(), results=(result(),)), False),
        (in_doubt(ask_now=True, attempts=0), logged(requests=0), False),
        (in_doubt(), logged(requests=0), False),
    ],
    ids=["not in the log", "no answer in the log", "Result", "a restore's", "not wanted"],
)
async def test_a_person_who_asks_is_told_by_the_core_too(
    doubtful: Payout, record: BrokerRecord, *, core: bool
) -> None:
    """The broker's log rarely settles it: `payouts reconcile` had to be ordered again for the core.

    What a restore asks about before it is first sent needs one answer at a time. Proved by asking
    only one of them.
    """
    bed = Bed(record=record)
    ended = payout(state=State.SUCCEEDED)
    bed.store.answers["complete"] = CompletionOutcome(applied=True, payout=ended)
    asked = await bed.settle(doubtful)
    assert ("attach_conversation" in asked) is core


async def test_a_fenced_question_is_no_failure_of_the_gateway() -> None:
    """An answer that says that we held back opens no circuit."""
    bed = Bed()
    for _ in range(10):
        await bed.reconciliation.accounts.heed(NAME, NotSent(cause=NotSentCause.FENCED))
    assert not bed.reconciliation.accounts.cut_off()


@pytest.mark.parametrize(
    ("requests", "timeouts", "noted"), [(1, 1, True), (2, 1, False), (1, 0, False)]
)
async def test_the_log_tells_of_a_queue_time_out_that_was_lost(
    requests: int, timeouts: int, noted: bool
) -> None:
    """What the broker dropped may be asked about again, though its notice never came, or too soon.

    Proved by leaving it marked as queued: no *not found* counts, and it is asked for ever.
    """
    codes = ["100000000"] * requests
    bed = Bed(record=replace(logged(*codes, requests=requests), queue_timeouts=timeouts))
    long_ago = Clock().now() - timedelta(hours=1)
    cached = in_doubt(
        queued=True,
        conversation_id=ConversationId("AG_1"),
        submitted_at=long_ago,
        last_sent_at=long_ago,
    )
    await bed.settle(cached)
    told = [call["a"] for call in bed.store.calls("note")]
    assert [move.kind for move in told if move.queued is False] == ["queue time-out"] * noted
