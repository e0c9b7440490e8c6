"""The twin's intake: new payouts, as payouts/storage/intake.py makes them durable."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from payouts.domain.commands import Command, differences
from payouts.domain.errors import StoreRefusedError
from payouts.domain.events import Event
from payouts.domain.payout import HELD_REPEAT, HELD_RETURNED, HELD_RUN, Payout, State
from payouts.domain.values import PayoutId
from payouts.ports import Intent, IntentOutcome, Recorded
from tests.simulation.twins.books import Statement
from tests.simulation.twins.constraints import check_insert
from tests.simulation.twins.entering import storable_reason
from tests.simulation.twins.rows import EventRow, Line, changed
from tests.simulation.twins.session import Session


class Intake(Session):
    """Records intents and rejections."""

    async def record_intent(self, intent: Intent) -> IntentOutcome:
        """Insert the payout, or tell how it compares to the one that exists (see the port)."""
        wanted = intent.payout
        if wanted.submitted_at is not None or wanted.conversation_id is not None:
            raise StoreRefusedError("(an intent was sent already)")
        return await self._call("record_intent", lambda st: self._record_intent(st, intent))

    async def record_rejection(self, event: Event) -> bool:
        """Write a `payout.rejected` event unless a payout with its subject exists."""

        def work(st: Statement) -> bool:
            if event.subject in st.tables.payouts:
                return False
            if event.event_id not in st.tables.events:
                row = EventRow(
                    event.event_id,
                    PayoutId(event.subject),
                    event.type,
                    event.time,
                    dict(event.data),
                )
                st.event(row, event)
            return True

        return await self._call("record_rejection", work)

    def _record_intent(self, st: Statement, intent: Intent) -> IntentOutcome:
        wanted = intent.payout
        standing = st.tables.payouts.get(wanted.payout_id)
        if standing is None or "intent once" in st.without:
            return self._new(st, wanted, intent.actor)
        check_insert(self._as_it_may_begin(st, wanted), st.without)  # Before the key is looked up.
        if _is_own(wanted, standing):
            return IntentOutcome(
                recorded=Recorded.NEW, payout=standing, event=self._completion_event(standing)
            )
        # Both have the content's fields, and only these are compared.
        found = differences(cast("Command", wanted), standing)
        if found and "conflict compare" not in st.without:
            return IntentOutcome(recorded=Recorded.CONFLICT, payout=standing, differences=found)
        event = self._completion_event(standing)
        if event is not None:
            st.publish_completion_again(standing.payout_id)
        return IntentOutcome(recorded=Recorded.SAME, payout=standing, event=event)

    def _new(self, st: Statement, wanted: Payout, actor: str) -> IntentOutcome:
        payout = self._as_it_may_begin(st, wanted)
        st.insert(payout, watched=bool(self._settings.repeat_window_s))
        reason = payout.reason
        st.line(
            payout.payout_id,
            Line(
                payout.created_at,
                actor,
                "intent",
                payout.attempts,
                None,
                payout.state,
                None if reason is None else reason.source.value,
                None if reason is None else reason.code,
                payout.held,
            ),
        )
        event = None
        if payout.completed_at is not None:
            event = st.completion_event(payout, show_msisdn=self._settings.show_msisdn)
        return IntentOutcome(recorded=Recorded.NEW, payout=payout, event=event)

    def _as_it_may_begin(self, st: Statement, wanted: Payout) -> Payout:
        """Return the payout, at rest where it may not go out or may have gone out before."""
        account = st.tables.accounts.get(wanted.account)
        paused = asks = False
        if account is not None:
            paused = account.paused and "insert paused" not in st.without
            until = account.ask_first_until
            asks = until is not None and wanted.created_at < until
        if "insert ask first" in st.without:
            asks = False
        held = self._held(st, wanted)
        if held is None and not asks and not (paused and wanted.state is State.SUBMITTING):
            kept = storable_reason(wanted.reason)
            return wanted if kept is wanted.reason else changed(wanted, {"reason": kept})
        return changed(
            wanted,
            {
                "state": State.RECEIVED,
                "attempts": 0,
                "owner": None,
                "claimed_at": None,
                "next_action_at": wanted.next_action_at or wanted.created_at,
                "reason": None,
                "completed_at": None,
                "held": held,
                "ask_now": asks,
            },
        )

    def _held(self, st: Statement, wanted: Payout) -> str | None:
        without = st.without
        if (
            wanted.originator_conversation_id in st.tables.unmatched
            and "unmatched held" not in without
        ):
            return HELD_RETURNED
        if wanted.state is State.FAILED:
            return None
        if wanted.run_id in st.tables.runs_paused and "insert paused" not in without:
            return HELD_RUN
        repeated = self._repeated(st, wanted)
        if repeated is not None and "insert held" not in without:
            return f"{HELD_REPEAT} {repeated}"
        return None

    def _repeated(self, st: Statement, wanted: Payout) -> str | None:
        window_s = self._settings.repeat_window_s
        if not window_s:
            return None
        since = wanted.created_at - timedelta(seconds=window_s)
        others = [
            other
            for payout_id in st.tables.watched.get((wanted.msisdn, wanted.amount_minor), ())
            if (other := st.tables.payouts[payout_id]).currency == wanted.currency
            and payout_id != wanted.payout_id
            and other.state is not State.FAILED
            and other.created_at > since
        ]
        latest = max(others, key=lambda other: other.created_at, default=None)
        return None if latest is None else latest.payout_id


def _is_own(wanted: Payout, standing: Payout) -> bool:
    """Tell whether the row is this very intent's, from a commit whose outcome was not heard."""
    return (
        standing.state is wanted.state
        and standing.owner == wanted.owner
        and standing.claimed_at == wanted.claimed_at
        and standing.attempts == wanted.attempts
        and standing.created_at == wanted.created_at
        and not differences(cast("Command", wanted), standing)
    )
