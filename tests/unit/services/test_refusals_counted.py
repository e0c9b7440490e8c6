from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import cast

from payouts.domain.answers import Response
from payouts.domain.decisions import Policies
from payouts.domain.errors import StoreUnavailableError
from payouts.domain.signals import Signal
from payouts.domain.values import AccountName
from payouts.ports import AccountStatus, Gateway, PayoutStore
from payouts.services.accounts import Accounts

NAME = AccountName("default")


class _GrowingClock:
    """Never tells the same instant twice."""

    def __init__(self) -> None:
        self._now = datetime(2026, 11, 23, tzinfo=UTC)

    def now(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        assert seconds >= 0


class _DeafStore:
    """Counts refusals as the database does, by their instant; its first answer is lost."""

    def __init__(self) -> None:
        self.instants: set[datetime] = set()
        self._lost = False

    async def account_statuses(
        self, names: Sequence[AccountName]
    ) -> Mapping[AccountName, AccountStatus]:
        return {name: AccountStatus(name=name) for name in names}

    async def count_refusal(
        self, name: AccountName, *, limit: int, reason: str, at: datetime
    ) -> AccountStatus:
        assert reason
        self.instants.add(at)
        if not self._lost:
            self._lost = True
            raise StoreUnavailableError
        count = len(self.instants)
        return AccountStatus(name=name, refusals=count, paused=count >= limit)


class _Silent:
    """Hears signals and forgets them."""

    def emit(self, signal: Signal, /, **fields: object) -> None:
        assert signal
        assert fields


async def test_a_refusal_whose_count_was_not_heard_counts_once() -> None:
    """The write that is tried again is the same refusal, not a second one.

    Proved by asking the clock in each try: two refusals were counted.
    """
    store = _DeafStore()
    accounts = Accounts(
        [NAME],
        cast("PayoutStore", store),
        cast("Gateway", None),
        _GrowingClock(),
        _Silent(),
        Policies(),
    )
    await accounts.heed(NAME, Response(code="100000007"))
    assert len(store.instants) == 1
    assert accounts.statuses()[NAME].refusals == 1
    assert not accounts.is_paused(NAME)
