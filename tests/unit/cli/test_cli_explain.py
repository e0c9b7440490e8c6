"""Every state is explained: what it means, why, what happens next and when."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ops.cli.explain import MEANINGS, Surroundings, explain
from payouts.domain.commands import AccountRules, payout_of, validate
from payouts.domain.payout import (
    HELD_CONTRADICTED,
    HELD_REPEAT,
    HELD_RETURNED,
    HELD_RUN,
    Payout,
    Reason,
    ReasonSource,
    State,
)
from payouts.domain.values import AccountName, PayoutId
from payouts.ports import AccountStatus

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
SOON = NOW + timedelta(seconds=12)
RULES = AccountRules(name=AccountName("default"), shortcode="600000", organisation="ORG")
REASON = Reason(source=ReasonSource.RESPONSE, code="26", klass="refused-retry", description="Busy.")


def payout(state: State, **facts: object) -> Payout:
    """Gives a payout in a state."""
    command = validate({"payout_id": "a", "msisdn": "0712345678", "amount": "5"}, RULES)
    made = payout_of(command, RULES, state=state, now=NOW - timedelta(hours=1))
    return replace(made, **facts)  # type: ignore[arg-type]


def following(state: State, status: AccountStatus | None = None, **facts: object) -> str:
    """Gives what happens next."""
    return explain(payout(state, **facts), Surroundings(account=status), NOW).next


def test_every_state_has_its_meaning() -> None:
    """A state without an explanation would end `show` with an error."""
    assert set(MEANINGS) == set(State)
    for state in State:
        assert explain(payout(state), Surroundings(), NOW).next


def test_the_reason_says_who_said_it() -> None:
    """Source, code, class and description, with every number in it masked."""
    said = replace(REASON, description="Receiver 254712345678 or 0712345678 is busy, 100000001.")
    told = explain(payout(State.WAITING, reason=said, next_action_at=SOON), Surroundings(), NOW).why
    assert told == (
        "The gateway answered 26 (refused-retry): Receiver 2547****5678 or 0712**5678 is busy,"
        " 100000001."
    )


def test_what_waits_is_sent_under_the_same_id() -> None:
    """The instant is told beside the words."""
    told = explain(payout(State.WAITING, next_action_at=SOON), Surroundings(), NOW)
    assert told.next == "It is sent, under the same id."
    assert told.at == SOON


def test_what_waits_unsent_with_an_end_says_so() -> None:
    """A payout that was never sent may expire."""
    assert "it fails unsent" in following(State.RECEIVED, next_action_at=SOON, not_after=SOON)
    told = following(State.WAITING, next_action_at=SOON, not_after=SOON, submitted_at=NOW)
    assert "unsent" not in told


def test_a_paused_account_holds_what_waits() -> None:
    """The reason and the way out are named, and no instant is promised."""
    status = AccountStatus(name=AccountName("default"), paused=True, paused_reason="locked")
    told = explain(payout(State.RECEIVED, next_action_at=SOON), Surroundings(account=status), NOW)
    assert "while account default is paused (locked). `payouts resume default`" in told.next
    assert told.at is None


def test_an_overdue_step_asks_for_a_worker() -> None:
    """A step that was due minutes ago means that nobody does it."""
    late = NOW - timedelta(minutes=3)
    assert "That was due 3 min ago: see that a worker runs" in following(
        State.WAITING, next_action_at=late
    )


def test_accepted_waits_for_its_result() -> None:
    """A payout in the broker's queue says so."""
    assert "owes us" in MEANINGS[State.ACCEPTED]
    assert following(State.ACCEPTED, queued=True, next_action_at=SOON).startswith(
        "The broker keeps it in its queue."
    )


def test_doubt_tells_how_often_was_asked() -> None:
    """Queries, counted not-founds and the length of the doubt are told."""
    told = following(
        State.IN_DOUBT,
        next_action_at=SOON,
        queries=3,
        not_found_count=1,
        doubt_since=NOW - timedelta(minutes=5),
    )
    assert "asked again (3 asked so far)" in told
    assert "Not found 1 of 2 times" in told
    assert "in doubt for 5 min" in told


def test_doubt_without_a_next_step_is_for_a_person() -> None:
    """It says where to look."""
    assert "A person decides" in following(State.IN_DOUBT, doubt_since=NOW)


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED])
def test_what_has_ended_has_nothing_next(state: State) -> None:
    """An end is an end."""
    assert following(state).startswith("Nothing; it has ended.")


def around(state: State, surroundings: Surroundings, **facts: object) -> str:
    """Gives what happens next, given what stands around a payout."""
    return explain(payout(state, **facts), surroundings, NOW).next


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ("held by operator jane", "`payouts release a` lets it go on."),
        (f"{HELD_REPEAT} old-1", "`payouts release a` lets it go on."),
        (HELD_RUN, "`payouts resume --run r-1` lets it go on."),
        (HELD_CONTRADICTED, "may pay a second time. `payouts cancel a` ends it."),
        (HELD_RETURNED, "That Result ends it, or has it asked about."),
    ],
)
def test_each_hold_names_its_way_out(held: str, said: str) -> None:
    """What the database would refuse is not advised."""
    told = explain(
        payout(State.RECEIVED, held=held, run_id="r-1", next_action_at=SOON), Surroundings(), NOW
    )
    assert told.next.endswith(said)
    assert told.at is None


def test_a_held_payout_on_its_way_says_that_nothing_more_is_sent() -> None:
    """Its Result, or a question, goes on."""
    for state in (State.SUBMITTING, State.ACCEPTED, State.IN_DOUBT):
        told = following(state, held="held by operator jane", next_action_at=SOON)
        assert told.endswith("Nothing more is sent for it: it is held (held by operator jane).")


def test_a_paused_run_holds_what_waits() -> None:
    """The reason and the way out are named."""
    told = around(State.WAITING, Surroundings(run_paused="wrong file (jane)"), run_id="r-1")
    assert told == (
        "Nothing while its run r-1 is paused (wrong file (jane))."
        " `payouts resume --run r-1` lets it go on."
    )


def test_what_a_restore_brought_back_is_asked_about_first() -> None:
    """It may have been sent before."""
    assert "asked first" in following(State.RECEIVED, ask_now=True, next_action_at=SOON)


def test_what_failed_names_how_it_may_be_paid_again() -> None:
    """By whom, where the word of one operator is not enough; or that it was done already."""
    again = around(State.FAILED, Surroundings())
    assert again.endswith("`payouts retry a`.")
    eyes = around(State.FAILED, Surroundings(resolved_by="jane"))
    assert eyes.endswith("ordered by another operator than jane (four eyes).")
    done = around(State.FAILED, Surroundings(resolved_by="jane", later=PayoutId("a-r2")))
    assert done.endswith("It was submitted again as a-r2.")
    assert "retry" not in around(State.SUCCEEDED, Surroundings())
