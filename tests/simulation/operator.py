"""People at the command line: they order what they like; the guards are in the database."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeVar

from payouts.domain.errors import StoreUnavailableError
from payouts.domain.payout import Payout
from payouts.domain.values import AccountName, PayoutId, RunId
from payouts.ports import Order
from tests.simulation.clocks import pass_time
from tests.simulation.seams import StoreFaults
from tests.simulation.twins.store import TwinStore
from tests.simulation.upstream import RUNS

if TYPE_CHECKING:
    from tests.simulation.world import World

NAMES: Final = ("jane", "omar")
TRIES: Final = 50
ASK_FIRST_S: Final = 6.0  # For each payout: longer than it takes to take everything anew.

T = TypeVar("T")


class Operator:
    """Orders at random, now by true evidence, now by false, and tidies up in the end."""

    def __init__(self, world: World, draw: random.Random) -> None:
        self._world = world
        self._draw = draw
        self._store = TwinStore(world.books, world.wire, world.scenario.store, world.clock)
        self._at_desk = TwinStore(world.books, world.wire, StoreFaults(latency_s=0.01), world.clock)

    def _order(self, reason: str) -> Order:
        operator = self._draw.choice(NAMES)
        return Order(operator=operator, reason=reason, at=self._world.clock.now())

    async def order_something(self) -> None:
        """Give one order, sensible or not."""
        rows = list(self._world.books.payouts.values())
        if not rows:
            return
        row = self._draw.choice(rows)
        action = self._draw.choice(
            [
                self._retry,
                self._retry,
                self._cancel,
                self._resolve,
                self._resolve,
                self._hold,
                self._release,
                self._ask,
                self._republish,
            ]
        )
        self._world.auditor.seen[f"order {action.__name__.strip('_')}"] += 1
        try:
            await action(row)
        except StoreUnavailableError:
            return  # They look before they order it again.

    async def _retry(self, row: Payout) -> None:
        order = self._order("they fixed their number")
        self._world.auditor.retry_ordered(row.payout_id, order.operator)
        await self._store.retry(row.payout_id, order)

    async def _cancel(self, row: Payout) -> None:
        await self._store.cancel(row.payout_id, self._order("they have left"))

    async def _resolve(self, row: Payout) -> None:
        """Swear to something: mostly to the truth, and the auditor knows when not."""
        world, own_id = self._world, row.originator_conversation_id
        truth = world.auditor.truth
        says_paid = self._draw.random() < 0.5
        is_true = truth.paid(own_id) if says_paid else world.may_be_called_unpaid(own_id)
        if not says_paid and world.is_in_no_book(own_id):
            is_true = True  # They say what they saw: whether it was too soon is our guard's.
        if not is_true and (row.state.value != "in_doubt" or self._draw.random() < 0.7):
            return
        order = self._order("seen in the portal" if says_paid else "not in the statement")
        world.auditor.sworn(row.payout_id, order.operator, true=is_true)
        if says_paid:
            receipt = truth.receipt(own_id) or "INVENTED"
            await self._store.resolve_paid(row.payout_id, receipt, order)
        else:
            settled_s = float(str(world.scenario.settings["not_found_grace_s"]))
            await self._store.resolve_not_paid(row.payout_id, order, settled_s=settled_s)

    async def _hold(self, row: Payout) -> None:
        await self._store.hold(row.payout_id, self._order("let me look"))

    async def _release(self, row: Payout) -> None:
        await self._store.release(row.payout_id, self._order("it is fine"))

    async def _ask(self, row: Payout) -> None:
        await self._store.ask_now(row.payout_id, self._order("they call"))

    async def _republish(self, row: Payout) -> None:
        await self._store.republish(row.payout_id, self._order("downstream lost it"))

    async def pause_something(self, seconds: float) -> None:
        """Pause an account or a run for a while."""
        draw = self._draw
        if draw.random() < 0.5:
            name = draw.choice(list(self._world.books.accounts) or [AccountName("default")])
            await self._surely(lambda: self._pause_account(name, paused=True))
            await pass_time(seconds)
            await self._surely(lambda: self._pause_account(name, paused=False))
        else:
            run = RunId(draw.choice(RUNS))
            await self._surely(lambda: self._pause_run(run, paused=True))
            await pass_time(seconds)
            await self._surely(lambda: self._pause_run(run, paused=False))

    async def _pause_account(self, name: AccountName, *, paused: bool) -> None:
        await self._store.set_account_paused(name, paused=paused, order=self._order("a pause"))

    async def _pause_run(self, run: RunId, *, paused: bool) -> None:
        await self._store.set_run_paused(run, paused=paused, order=self._order("a pause"))

    async def tell_restored(self) -> None:
        """Say that the database was restored, before anything is started."""
        order = self._order("the disk broke")
        ask_first_s = ASK_FIRST_S * self._world.scenario.size.payouts
        await self._surely(lambda: self._at_desk.restored(order, ask_first_s=ask_first_s))

    async def resume_accounts(self) -> None:
        """Resume all accounts that are paused, whatever paused them."""
        for name, account in list(self._world.books.accounts.items()):
            if account.paused:
                order = self._order("all is well")
                await self._at_desk.set_account_paused(name, paused=False, order=order)

    async def tidy_up(self) -> None:
        """Resume and release what nobody else will, so that the world can come to rest."""
        books, store = self._world.books, self._at_desk
        await self.resume_accounts()
        for run in list(books.runs_paused):
            await store.set_run_paused(run, paused=False, order=self._order("all is well"))
        for row in list(books.payouts.values()):
            if (row.held or "").startswith(("held by operator", "same receiver")):
                await self._release_at_desk(row.payout_id)

    async def _release_at_desk(self, payout_id: PayoutId) -> None:
        await self._at_desk.release(payout_id, self._order("all is well"))

    async def _surely(self, order: Callable[[], Awaitable[T]]) -> T:
        """Order it until it was heard; each of these orders may be given twice."""
        for _ in range(TRIES):
            try:
                return await order()
            except StoreUnavailableError:
                await pass_time(0.5)
        return await order()
