"""How a guard of the services is taken out: a patch of the real code, for as long as a seed plays.

Guards that live in SQL are switches of the twin store (tests/simulation/twins/guards.py).
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final
from unittest.mock import patch

from payouts.domain import decisions
from payouts.domain.answers import OutcomeUnknown, Response
from payouts.domain.code_types import Code, CodeClass, Side
from payouts.domain.codes import lookup
from payouts.domain.commands import Command
from payouts.domain.decisions import Fail, Found, decide_record, decide_status
from payouts.domain.errors import StoreUnavailableError
from payouts.domain.events import Event
from payouts.domain.payout import Payout, Reason, ReasonSource, State
from payouts.ports import Move
from payouts.services import endings, intake, reconciliation, submission
from payouts.services.completion import Completions
from payouts.services.incidents import Incidents
from payouts.services.intake import Intake, PutAside, Taken
from payouts.services.lease import Lease
from payouts.services.patience import Patience
from payouts.services.relay import Relay
from payouts.services.upkeep import Upkeep
from tests.simulation.twins.store import TwinStore
from worker import commands as worker_commands
from worker.commands import CommandHandler
from worker.pool import Pool


@contextmanager
def _patched(*patches: Any) -> Iterator[None]:
    with ExitStack() as stack:
        for one in patches:
            stack.enter_context(one)
        yield


def _send_first() -> Any:
    """Send, then write the intent."""

    async def take(self: CommandHandler, command: Command) -> Taken | PutAside:
        await self.pool.take_slot(self.rules.name)
        payout = self.intake._intent(command, self.rules, send=True).payout
        if payout.state is State.SUBMITTING:
            self.pool.start(payout, has_turn=True)
        else:
            self.pool.give_back(self.rules.name)
        return await self.intake.take(command, self.rules, send=True)

    return _patched(patch.object(CommandHandler, "_take", take))


def _acknowledge_command_first() -> Any:
    handle = CommandHandler.handle

    async def at_once(self: CommandHandler, delivery: Any) -> None:
        asyncio.create_task(handle(self, delivery))  # noqa: RUF006 - the world keeps it

    return _patched(patch.object(CommandHandler, "handle", at_once))


def _acknowledge_result_first() -> Any:
    take = Completions.take_result

    async def at_once(self: Completions, result: Any, **named: Any) -> None:
        async def later() -> None:
            try:
                await take(self, result, **named)
            except StoreUnavailableError:
                return

        asyncio.create_task(later())  # noqa: RUF006 - the world keeps it

    return _patched(patch.object(Completions, "take_result", at_once))


def _submit_repeats() -> Any:
    take = Intake.take

    async def taken(self: Intake, command: Any, account: Any, *, send: bool) -> Taken | PutAside:
        outcome = await take(self, command, account, send=send)
        if isinstance(outcome, Taken) and not outcome.payout.ended:
            return Taken(payout=outcome.payout, submit=True)
        return outcome

    return _patched(patch.object(Intake, "take", taken))


def _equal_instants() -> Any:
    def now(_: object, at: datetime) -> datetime:
        return at

    return _patched(patch.object(intake._Instants, "differing", now))


def _random_event_ids() -> Any:
    draw = random.Random(1)  # noqa: S311 - repeatable on purpose

    def drawn(*_: object) -> str:
        return str(uuid.UUID(int=draw.getrandbits(128)))

    return _patched(patch("payouts.domain.events.event_id_for", drawn))


def _forget_before_publishing() -> Any:
    publish = Relay._publish

    async def first(self: Relay, event: Event) -> None:
        try:
            await self._outbox.mark_published(event.event_id)
        except StoreUnavailableError:
            return
        await publish(self, event)

    return _patched(patch.object(Relay, "_publish", first))


def _lease_never_lapses() -> Any:
    return _patched(patch.object(Lease, "holds", lambda _: True))


def _fence_ignored() -> Any:
    submit = submission.Submission._send_once

    async def anyway(self: Any, payout: Payout, _: Callable[[], bool]) -> Any:
        return await submit(self, payout, lambda: True)

    return _patched(patch.object(submission.Submission, "_send_once", anyway))


def _no_revoking() -> Any:
    return _patched(patch.object(Pool, "revoke", lambda *_: None))


def _no_slots() -> Any:
    async def at_once(self: Pool, account: Any) -> None:
        self._free[account] -= 1

    def returned(self: Pool, account: Any) -> None:
        self._free[account] += 1

    return _patched(
        patch.object(Pool, "take_slot", at_once), patch.object(Pool, "give_back", returned)
    )


def _code_fails(code: str) -> Any:
    def looked_up(side: Side, said: str, *rest: Any) -> Code:
        row = lookup(side, said, *rest)
        if side is Side.RESPONSE and said == code:
            return replace(row, klass=CodeClass.REFUSED_FINAL, proves_unpaid=True)
        return row

    return _patched(
        patch.object(decisions, "lookup", looked_up), patch.object(submission, "lookup", looked_up)
    )


def _unknown_fails() -> Any:
    decide = decisions._decide_send

    def decided(answer: Any, **named: Any) -> Any:
        if isinstance(answer, OutcomeUnknown):
            reason = Reason(
                source=ReasonSource.RESPONSE,
                code=answer.cause.value,
                klass="refused-final",
                description="Taken for a failure.",
            )
            return Fail(reason=reason)
        return decide(answer, **named)

    return _patched(patch.object(decisions, "_decide_send", decided))


def _refusal_of_a_later_send_fails() -> Any:
    decide = decisions.decide_answer

    def decided(payout: Payout, *args: Any, **named: Any) -> Any:
        return decide(replace(payout, doubt_since=None), *args, **named)

    return _patched(patch.object(submission, "decide_answer", decided))


def _unknown_waits() -> Any:
    decide = decisions._decide_send

    def decided(answer: Any, **named: Any) -> Any:
        if isinstance(answer, OutcomeUnknown):
            return decide(Response(code="26"), **named)
        return decide(answer, **named)

    return _patched(patch.object(decisions, "_decide_send", decided))


def _overdue_fails() -> Any:
    find = Upkeep.find_overdue

    async def found(self: Upkeep) -> int:
        ids = await self.store.mark_overdue(now=self.clock.now(), limit=200, actor=self.actor())
        for payout_id in ids:
            await self.store.move(
                Move(
                    payout_id=payout_id,
                    to=State.FAILED,
                    sources=frozenset({State.IN_DOUBT}),
                    at=self.clock.now(),
                    actor=self.actor(),
                    kind="overdue",
                    reason=Reason(
                        source=ReasonSource.RESULT,
                        code="overdue",
                        klass="refused-final",
                        description="Taken for a failure.",
                    ),
                )
            )
        return await find(self) + len(ids)

    return _patched(patch.object(Upkeep, "find_overdue", found))


def _unanswered_is_not_found() -> Any:
    def decided(result: Any) -> Any:
        found, end = decide_status(result)
        return (Found.NOT_FOUND if found is Found.NO_ANSWER else found), end

    return _patched(patch("payouts.services.query_answers.decide_status", decided))


def _under_way_is_not_found() -> Any:
    def decided(result: Any) -> Any:
        found, end = decide_status(result)
        return (Found.NOT_FOUND if found is Found.UNDER_WAY else found), end

    def recorded(*args: Any, **named: Any) -> Any:
        found = decide_record(*args, **named)
        return Found.NOT_FOUND if found is Found.UNDER_WAY else found

    return _patched(
        patch("payouts.services.query_answers.decide_status", decided),
        patch.object(reconciliation, "decide_record", recorded),
    )


def _no_sightings() -> Any:
    async def unseen(*_: object) -> None:
        return

    return _patched(patch.object(endings.Endings, "see", unseen))


def _one_is_enough() -> Any:
    return _patched(patch.object(reconciliation, "NOT_FOUND_ENOUGH", 1))


def _refusals_count_at_once() -> Any:
    def decided(payout: Payout, *args: Any, policies: Any, **named: Any) -> Any:
        hasty = replace(policies, not_found_grace_s=-1e6)
        return decide_record(payout, *args, policies=hasty, **named)

    return _patched(patch.object(reconciliation, "decide_record", decided))


def _no_incidents() -> Any:
    async def unkept(*_: object) -> None:
        return

    return _patched(patch.object(Incidents, "record", unkept))


def _impatient() -> Any:
    async def once(_: Patience, __: str, write: Any) -> Any:
        return await write()

    return _patched(patch.object(Patience, "until_durable", once))


def _no_leftovers() -> Any:
    async def none(*_: object) -> int:
        return 0

    return _patched(patch.object(Upkeep, "find_abandoned", none))


def _poison_untried() -> Any:
    return _patched(patch.object(worker_commands, "SUSPECT_TRIES", 0))


def _restore_untold() -> Any:
    async def unsaid(*_: object, **__: object) -> int:
        return 0

    return _patched(patch.object(TwinStore, "restored", unsaid))


def _unclear_ends() -> Any:
    decide = decisions.decide_result

    def decided(result: Any, *rest: Any) -> Any:
        verdict = decide(result, *rest)
        if isinstance(verdict, decisions.Unclear):
            return decisions.End(to=State.FAILED, reason=verdict.reason)
        return verdict

    return _patched(patch("payouts.services.completion.decide_result", decided))


REMOVALS: Final[Mapping[str, Callable[[], Any]]] = MappingProxyType(
    {
        "intent before effect": _send_first,
        "command acknowledged last": _acknowledge_command_first,
        "result acknowledged last": _acknowledge_result_first,
        "repeats are not submitted": _submit_repeats,
        "instants of intents differ": _equal_instants,
        "derived event ids": _random_event_ids,
        "published before marked": _forget_before_publishing,
        "lease lapses": _lease_never_lapses,
        "fence before the first byte": _fence_ignored,
        "orphans are revoked": _no_revoking,
        "slots": _no_slots,
        "duplicate is doubt": lambda: _code_fails("15"),
        "ambiguous code is doubt": lambda: _code_fails("17"),
        "unknown outcome is doubt": _unknown_fails,
        "unknown outcome is not sent again": _unknown_waits,
        "later refusal is doubt": _refusal_of_a_later_send_fails,
        "overdue is doubt": _overdue_fails,
        "no answer is no proof": _unanswered_is_not_found,
        "under way is known": _under_way_is_not_found,
        "sightings forget": _no_sightings,
        "proof count": _one_is_enough,
        "refusals in the log settle": _refusals_count_at_once,
        "unclear Result is doubt": _unclear_ends,
        "contradictions are kept": _no_incidents,
        "patience": _impatient,
        "abandoned is found": _no_leftovers,
        "suspects are tried alone": _poison_untried,
        "restore is told": _restore_untold,
    }
)
