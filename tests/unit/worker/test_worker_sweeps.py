from datetime import UTC, datetime
from typing import Any, cast

from payouts.domain.decisions import Policies
from payouts.domain.signals import Signal
from payouts.domain.values import AccountName, WorkerId
from payouts.ports import AccountStatus, Gateway, PayoutStore
from payouts.services.accounts import Accounts
from payouts.services.lease import Lease
from worker.pool import Pool
from worker.sweeps import WorkerSweeps

NOW = datetime(2026, 11, 30, tzinfo=UTC)
NAME = AccountName("default")


class _Clock:
    """Stands still."""

    def now(self) -> datetime:
        return NOW

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
    """Remembers what a worker told of itself."""

    def __init__(self) -> None:
        self.served: list[AccountName] = []
        self.cut_off: list[AccountName] = []

    async def account_statuses(self, names: list[AccountName]) -> dict[AccountName, Any]:
        return {name: AccountStatus(name=name) for name in names}

    async def enlist(self, name: str, *, accounts: list[AccountName]) -> WorkerId:
        assert name
        self.served = accounts
        return WorkerId(1)

    async def beat(self, owner: WorkerId, *, cut_off: list[AccountName]) -> Any:
        assert owner == 1
        self.cut_off = cut_off
        return type("Heartbeat", (), {"alive": True})


class _Pool:
    """Takes what the sweeps bring until it closes."""

    closing = False


class _Questions:
    """Remembers of which accounts it was asked."""

    def __init__(self) -> None:
        self.asked: list[AccountName] = []

    async def ask(self, account: AccountName) -> int:
        self.asked.append(account)
        return 1


class Bed:
    """A worker's sweeps over what remembers."""

    def __init__(self) -> None:
        self.store, self.pool, self.questions = _Store(), _Pool(), _Questions()
        store, clock, policies = cast("PayoutStore", self.store), _Clock(), Policies()
        self.accounts = Accounts([NAME], store, cast("Gateway", None), clock, _Silent(), policies)
        self.lease = Lease(store, clock, _Silent(), name="w", lease_s=15, accounts=[NAME])
        nothing: Any = None
        self.sweeps = WorkerSweeps(
            store=store,
            pool=cast("Pool", self.pool),
            questions=cast("Any", self.questions),
            accounts=self.accounts,
            consumers={},
            funds=nothing,
            completions=nothing,
            upkeep=nothing,
            lease=self.lease,
            clock=clock,
            policies=policies,
            lease_s=15,
        )


async def test_a_worker_tells_what_it_serves_and_what_it_cannot_reach() -> None:
    """Others can see which accounts nobody serves, and whose circuit is open; it is not asked of.

    Proved by a heartbeat that tells nothing, and by asking of all accounts.
    """
    bed = Bed()
    await bed.lease.enlist()
    await bed.sweeps.beat()
    assert (bed.store.served, bed.store.cut_off) == ([NAME], [])
    assert await bed.sweeps.ask_doubts() == 1
    for _ in range(Policies().circuit_failures):
        bed.accounts._count_failure(NAME, bed.accounts._standings[NAME])
    await bed.sweeps.beat()
    assert bed.store.cut_off == [NAME]
    assert await bed.sweeps.ask_doubts() == 0
    assert bed.questions.asked == [NAME]


async def test_a_worker_that_stops_asks_nothing_more() -> None:
    """What it would begin now would be cut off.

    Proved by not looking at the pool.
    """
    bed = Bed()
    bed.pool.closing = True
    assert await bed.sweeps.ask_doubts() == 0
    assert bed.questions.asked == []
