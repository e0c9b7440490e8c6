"""Takes commands in: each becomes one durable payout, or is put aside with the reason."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from payouts.domain.commands import AccountRules, Command, payout_of, validate
from payouts.domain.errors import InvalidCommandError
from payouts.domain.events import rejection_of
from payouts.domain.payout import Payout, Reason, ReasonSource, State
from payouts.domain.signals import Signal
from payouts.ports import Clock, Intent, IntentOutcome, PayoutStore, Recorded, Telemetry
from payouts.services.lease import Lease
from payouts.services.patience import Patience
from payouts.services.relay import Relay

REASON_INVALID = "invalid"
REASON_CONFLICT = "conflict"
REASON_POISON = "poison"
PAUSED = "its account or its run is paused"
ASKED_FIRST = "after a restore it is asked about before it is sent"
EXPIRED = Reason(
    source=ReasonSource.LOCAL,
    code="expired",
    klass="expired",
    description="Its not_after had passed before the first submission began; it was never sent.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PutAside:
    """The command belongs to the dead letters; `detail` repeats no personal data."""

    reason: str
    detail: str
    payout_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The payout is durable; `submit` is set if this worker has to send it now."""

    payout: Payout
    submit: bool


@dataclass(slots=True)
class _Instants:
    """Makes a clock's readings differ, as an intent is known again by its instant.

    Two deliveries of one command, taken at one reading of the clock, would both find the other's
    row to be their own, and both would send it.
    """

    read: datetime | None = None
    since: timedelta = timedelta()

    def differing(self, now: datetime) -> datetime:
        """Return an instant that was not returned for the same reading before."""
        self.since = self.since + timedelta(microseconds=1) if now == self.read else timedelta()
        self.read = now
        return now + self.since


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """Makes payouts durable, idempotently by `payout_id` (contract.md §1)."""

    store: PayoutStore
    relay: Relay
    lease: Lease
    clock: Clock
    telemetry: Telemetry
    patience: Patience
    _instants: _Instants = field(default_factory=_Instants, init=False, repr=False)

    def read(self, fields: Mapping[str, object], account: AccountRules) -> Command:
        """Return the valid command, or raise InvalidCommandError with all problems."""
        return validate(fields, account)

    async def take(
        self, command: Command, account: AccountRules, *, send: bool
    ) -> Taken | PutAside:
        """Return once the payout of a valid command is durable, or known to conflict.

        Args:
            command: what is to be paid.
            account: the account that pays.
            send: whether this worker is about to send it; otherwise it waits as `received`.
        """
        intent = self._intent(command, account, send=send)
        outcome = await self.patience.until_durable(
            "record an intent", lambda: self.store.record_intent(intent)
        )
        match outcome.recorded:
            case Recorded.NEW:
                self._tell_new(outcome, wanted=intent.payout.state)
                return Taken(payout=outcome.payout, submit=outcome.payout.state is State.SUBMITTING)
            case Recorded.SAME:
                self.relay.offer(outcome.event)
                self.telemetry.emit(
                    Signal.COMMAND_REPEATED,
                    payout_id=command.payout_id,
                    account=command.account,
                    ended=outcome.payout.ended,
                )
                return Taken(payout=outcome.payout, submit=False)
            case Recorded.CONFLICT:
                return PutAside(
                    reason=REASON_CONFLICT,
                    detail="the payout exists with another "
                    f"{', '.join(outcome.differences)}; use a new payout_id for a new payment",
                    payout_id=command.payout_id,
                )

    async def refuse(
        self, error: InvalidCommandError, *, body: bytes, message_id: str | None, account: str
    ) -> PutAside:
        """Return how to put an invalid command aside, after its `payout.rejected` is durable."""
        if error.payout_id is not None:
            event = rejection_of(
                error.payout_id,
                error.problems,
                message_key=message_id or hashlib.sha256(body).hexdigest(),
                account=account,
                at=self.clock.now(),
            )
            is_new = await self.patience.until_durable(
                "record a rejection", lambda: self.store.record_rejection(event)
            )
            if is_new:
                self.relay.offer(event)
        return PutAside(
            reason=REASON_INVALID, detail="; ".join(error.problems), payout_id=error.payout_id
        )

    def _intent(self, command: Command, account: AccountRules, *, send: bool) -> Intent:
        now = self._instants.differing(self.clock.now())
        if command.not_after is not None and command.not_after <= now:
            payout = payout_of(command, account, state=State.FAILED, now=now)
            payout = replace(payout, reason=EXPIRED, completed_at=now)
        elif send:
            payout = payout_of(command, account, state=State.SUBMITTING, now=now)
            payout = replace(payout, owner=self.lease.owner, claimed_at=now, attempts=1)
        else:
            payout = payout_of(command, account, state=State.RECEIVED, now=now)
            payout = replace(payout, next_action_at=now + timedelta(seconds=1))
        return Intent(payout=payout, actor=self.lease.actor)

    def _tell_new(self, outcome: IntentOutcome, *, wanted: State) -> None:
        payout = outcome.payout
        self.telemetry.emit(
            Signal.COMMAND_RECEIVED,
            payout_id=payout.payout_id,
            account=payout.account,
            state=payout.state.value,
        )
        self.relay.offer(outcome.event)
        if payout.held is not None or (wanted is State.SUBMITTING and payout.state is not wanted):
            self.telemetry.emit(
                Signal.COMMAND_HELD,
                payout_id=payout.payout_id,
                account=payout.account,
                reason=payout.held or (ASKED_FIRST if payout.ask_now else PAUSED),
            )
