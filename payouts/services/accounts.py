"""Whether an account may pay now: paused by a person or by refusals, or cut off by its circuit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from payouts.domain.answers import Answer, NotSent, NotSentCause, Response
from payouts.domain.code_types import CodeClass, Side
from payouts.domain.codes import blames_initiator, lookup
from payouts.domain.decisions import Policies
from payouts.domain.signals import Signal
from payouts.domain.values import AccountName
from payouts.ports import AccountStatus, Clock, Gateway, PayoutStore, Telemetry
from payouts.services.patience import Patience

CUT_FIRST_S: Final = 1.0
CUT_CAP_S: Final = 60.0


@dataclass(slots=True)
class _Standing:
    status: AccountStatus
    failures: int = 0
    cuts: int = 0
    cut_since: float | None = None
    pauses: int = 0  # How often this worker has paused it: what was read before is out of date.
    open: asyncio.Event = field(default_factory=asyncio.Event)


class Accounts:
    """Knows for each account whether commands may be taken and requests sent.

    Three configuration refusals in a row, over all workers, pause an account in the database; a
    code that says that the initiator is locked pauses it at once. A run of connection failures,
    or of answers that leave the outcome open, opens this worker's circuit, which closes by
    probing, after rests that grow until an answer is understood (design.md §3, "A sick account").
    """

    def __init__(
        self,
        names: Sequence[AccountName],
        store: PayoutStore,
        gateway: Gateway,
        clock: Clock,
        telemetry: Telemetry,
        policies: Policies,
    ) -> None:
        self._store = store
        self._gateway = gateway
        self._clock = clock
        self._telemetry = telemetry
        self._policies = policies
        self._patience = Patience(clock, telemetry)
        self._standings = {name: _Standing(status=AccountStatus(name=name)) for name in names}
        for standing in self._standings.values():
            standing.open.set()

    def is_open(self, name: AccountName) -> bool:
        """Tell whether this account may take commands and send."""
        return self._standings[name].open.is_set()

    def is_paused(self, name: AccountName) -> bool:
        """Tell whether nothing more may be sent for this account until a person resumes it."""
        return self._standings[name].status.paused

    async def until_open(self, name: AccountName, *, within_s: float) -> bool:
        """Wait a moment for an account to open; tell whether it is."""
        try:
            async with asyncio.timeout(within_s):
                await self._standings[name].open.wait()
        except TimeoutError:
            return False
        return True

    def open_accounts(self) -> list[AccountName]:
        """Return the accounts that may send now."""
        return [name for name in self._standings if self.is_open(name)]

    def reachable(self) -> list[AccountName]:
        """Return the accounts whose circuit is closed, paused or not."""
        return [name for name, one in self._standings.items() if one.cut_since is None]

    def statuses(self) -> Mapping[AccountName, AccountStatus]:
        """Return how each account stood when last looked at."""
        return {name: standing.status for name, standing in self._standings.items()}

    def cut_off(self) -> list[AccountName]:
        """Return the accounts whose circuit is open."""
        return [name for name, one in self._standings.items() if one.cut_since is not None]

    async def refresh(self) -> int:
        """Look the accounts up in the database; return how many are closed.

        An account that this worker pauses while the look-up is on its way stays paused.
        """
        pauses = {name: standing.pauses for name, standing in self._standings.items()}
        statuses = await self._store.account_statuses(list(self._standings))
        for name, status in statuses.items():
            if self._standings[name].pauses == pauses[name]:
                self._apply(name, status)
        return sum(not standing.open.is_set() for standing in self._standings.values())

    async def probe(self) -> int:
        """Try to connect for each account that is cut off, and close the circuit if it works."""
        closed = 0
        for name in self.cut_off():
            standing = self._standings[name]
            rest_s = min(CUT_CAP_S, CUT_FIRST_S * 2.0 ** (standing.cuts - 1))
            rested = self._clock.monotonic() - (standing.cut_since or 0.0) >= rest_s
            if rested and await self._gateway.probe(name):
                began = standing.cut_since or self._clock.monotonic()
                standing.cut_since, standing.failures = None, 0
                self._set_open(standing)
                seconds = self._clock.monotonic() - began
                self._telemetry.emit(Signal.CIRCUIT_CLOSED, account=name, seconds=seconds)
                closed += 1
        return closed

    async def pause(self, name: AccountName, reason: str) -> None:
        """Pause an account until a person resumes it; return once that is durable."""
        at = self._clock.now()
        status = await self._patience.until_durable(
            "pause an account",
            lambda: self._store.set_paused(name, paused=True, reason=reason, at=at),
        )
        self._pause(name, status)

    async def heed(self, name: AccountName, answer: Answer) -> None:
        """Learn from an answer: a locked initiator, or a run of failures or refusals."""
        standing = self._standings[name]
        if isinstance(answer, Response) and blames_initiator(Side.RESPONSE, answer.code):
            if not standing.status.paused:
                await self.pause(name, f"code {answer.code} says that the initiator is locked")
            return
        if isinstance(answer, NotSent):
            if answer.cause is not NotSentCause.FENCED:
                self._count_failure(name, standing)
            return
        klass = lookup(Side.RESPONSE, answer.code).klass if isinstance(answer, Response) else None
        if klass is None or klass is CodeClass.AMBIGUOUS:
            # A gateway that answers rubbish must not turn the whole queue into doubt.
            self._count_failure(name, standing)
            return
        standing.failures = standing.cuts = 0
        if klass is CodeClass.CONFIGURATION:
            await self._count_refusal(name, answer.code if isinstance(answer, Response) else "")
        elif klass is CodeClass.ACCEPTED and standing.status.refusals:
            standing.status = replace(standing.status, refusals=0)
            await self._patience.until_durable(
                "clear refusals", lambda: self._store.clear_refusals(name)
            )

    async def _count_refusal(self, name: AccountName, code: str) -> None:
        at = self._clock.now()  # The same in each try, or a lost answer would count twice.
        status = await self._patience.until_durable(
            "count a refusal",
            lambda: self._store.count_refusal(
                name,
                limit=self._policies.refusal_limit,
                reason=f"{self._policies.refusal_limit} configuration refusals in a row,"
                f" the last with code {code}",
                at=at,
            ),
        )
        if status.paused:  # Only `refresh` reopens: answers to counts may come out of order.
            self._pause(name, status)
        else:
            self._standings[name].status = replace(
                self._standings[name].status, refusals=status.refusals
            )

    def _count_failure(self, name: AccountName, standing: _Standing) -> None:
        standing.failures += 1
        if standing.failures >= self._policies.circuit_failures and standing.cut_since is None:
            standing.cut_since = self._clock.monotonic()
            standing.cuts += 1
            standing.open.clear()
            self._telemetry.emit(Signal.CIRCUIT_OPENED, account=name, failures=standing.failures)

    def _pause(self, name: AccountName, status: AccountStatus) -> None:
        self._standings[name].pauses += 1
        self._apply(name, status)

    def _apply(self, name: AccountName, status: AccountStatus) -> None:
        standing = self._standings[name]
        was_paused = standing.status.paused
        standing.status = status
        self._set_open(standing)
        if status.paused and not was_paused:
            self._telemetry.emit(
                Signal.ACCOUNT_PAUSED, account=name, reason=status.paused_reason or ""
            )
        elif was_paused and not status.paused:
            self._telemetry.emit(Signal.ACCOUNT_RESUMED, account=name)

    @staticmethod
    def _set_open(standing: _Standing) -> None:
        if standing.status.paused or standing.cut_since is not None:
            standing.open.clear()
        else:
            standing.open.set()
