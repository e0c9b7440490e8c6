"""What people may do to payouts, accounts and runs: orders, each guarded and each audited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from payouts.domain.events import Event
from payouts.domain.payout import Payout
from payouts.domain.values import AccountName, PayoutId, RunId


class Action(StrEnum):
    """What was ordered, as the audit names it."""

    RETRY = "retry"
    CANCEL = "cancel"
    RESOLVE_PAID = "resolve-paid"
    RESOLVE_NOT_PAID = "resolve-not-paid"
    HOLD = "hold"
    RELEASE = "release"
    PAUSE_ACCOUNT = "pause-account"
    RESUME_ACCOUNT = "resume-account"
    PAUSE_RUN = "pause-run"
    RESUME_RUN = "resume-run"
    RECONCILE = "reconcile"
    REPUBLISH = "republish"
    REPLAY_DEAD_LETTER = "replay-dead-letter"
    DISCARD_DEAD_LETTER = "discard-dead-letter"
    RESTORED = "restored"
    ARCHIVE = "archive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Who wants it and why. `operator` is a person's name; `reason` stands in the audit only."""

    operator: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What became of an order about one payout.

    Args:
        payout: the payout as it stands now (for `retry`: the new submission); None: unknown id.
        refusal: why nothing was done, and what to do instead; None: it was done.
        event: the completion event that the order wrote, if it ended the payout.
    """

    payout: Payout | None
    refusal: str | None = None
    event: Event | None = None

    @property
    def done(self) -> bool:
        """Tell whether the order was carried out."""
        return self.refusal is None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One line of the audit. `hash` covers all other fields and the hash of the line before."""

    number: int
    at: datetime
    operator: str
    action: str
    subject: str
    reason: str
    details: Mapping[str, str] = field(default_factory=dict)
    hash: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditCheck:
    """What the audit's chain says of itself; `broken_at` is the first line that does not fit."""

    entries: int
    head: str
    broken_at: int | None


class Orders(Protocol):
    """Carries orders out. Order, guard and audit line are one commit; refused ones leave nothing.

    None can send a payout again that is not conclusively failed (design.md §2, 4): the guards
    are in the database.

    Raises (every method):
        StoreUnavailableError: the database is away; look before ordering it again.
    """

    async def retry(self, payout_id: PayoutId, order: Order) -> Carried:
        """Make a new submission, with a second id, of a payout that has conclusively failed.

        Refused unless it is `failed`, is the payout's last submission, and nothing contradicts
        its end. One that failed by an operator's word needs another operator.
        """
        ...

    async def cancel(self, payout_id: PayoutId, order: Order) -> Carried:
        """End a payout of which nothing is on its way (`received`, `waiting`) as failed."""
        ...

    async def resolve_paid(self, payout_id: PayoutId, receipt: str, order: Order) -> Carried:
        """End a payout in doubt as succeeded, by the receipt that a person has seen."""
        ...

    async def resolve_not_paid(
        self, payout_id: PayoutId, order: Order, *, settled_s: float
    ) -> Carried:
        """End a payout in doubt as failed; `order.reason` is the evidence.

        Refused while the last send is younger than `settled_s`.
        """
        ...

    async def hold(self, payout_id: PayoutId, order: Order) -> Carried:
        """Send nothing (more) for an open payout until it is released."""
        ...

    async def release(self, payout_id: PayoutId, order: Order) -> Carried: ...

    async def ask_now(self, payout_id: PayoutId, order: Order) -> Carried:
        """Have the gateway asked about a payout that is accepted or in doubt, at once."""
        ...

    async def republish(self, payout_id: PayoutId, order: Order) -> Carried:
        """Have the completion event of an ended payout published again, with the same id."""
        ...

    async def set_account_paused(self, name: AccountName, *, paused: bool, order: Order) -> None:
        """Pause or resume an account; resuming forgets its refusals and its last balance."""
        ...

    async def set_run_paused(self, run_id: RunId, *, paused: bool, order: Order) -> None: ...

    async def paused_runs(self) -> Mapping[RunId, str]:
        """Return the runs that are paused, and why."""
        ...

    async def note_order(
        self, action: Action, subject: str, order: Order, details: Mapping[str, str]
    ) -> None:
        """Write an audit line for what is done outside the database, before it is done."""
        ...

    async def restored(self, order: Order, *, ask_first_s: float) -> int:
        """Tell that the database was restored: pause all accounts, doubt all that is open.

        Returns how many payouts are asked about before anything is sent for them again. What is
        new within `ask_first_s` is asked about first, too: it may be new to this database only.
        """
        ...

    async def audit_lines(self, *, before: int | None, limit: int) -> Sequence[AuditEntry]:
        """Return lines of the audit, newest first, older than line `before`."""
        ...

    async def check_audit(self) -> AuditCheck:
        """Compute the whole chain anew."""
        ...
