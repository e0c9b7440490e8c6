"""What a worker does with one delivery: validate, make durable, acknowledge, send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from payouts.domain.commands import AccountRules, Command
from payouts.domain.errors import InvalidCommandError
from payouts.domain.signals import Signal
from payouts.messaging.codec import decode_command
from payouts.messaging.delivery import Delivery
from payouts.messaging.publisher import DeadLetters
from payouts.ports import Pace, Telemetry
from payouts.services.accounts import Accounts
from payouts.services.intake import REASON_POISON, Intake, PutAside, Taken
from worker.pool import Pool
from worker.suspects import SUSPECT_TRIES, Suspects

CLOSED_FOR_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandHandler:
    """Handles the deliveries of one account's queue.

    When `handle` returns, the delivery may be acknowledged: its payout, or its dead letter, is
    durable. When it raises, the delivery goes back to the queue.
    """

    rules: AccountRules
    intake: Intake
    dead_letters: DeadLetters
    accounts: Accounts
    pace: Pace
    pool: Pool
    telemetry: Telemetry
    suspects: Suspects
    poison_after: int

    async def handle(self, delivery: Delivery) -> None:
        """Make one command's payout durable and start sending it."""
        if delivery.delivery_count < self.poison_after:
            await self._handle(delivery)
            return
        async with self.suspects.alone(delivery.body) as begun:
            self.telemetry.emit(
                Signal.COMMAND_SUSPECTED,
                account=self.rules.name,
                deliveries=delivery.delivery_count,
                begun=begun,
            )
            if begun < SUSPECT_TRIES:
                await self._handle(delivery)
                return
            detail = (
                f"delivered {delivery.delivery_count} times without success, {begun} times alone"
            )
            await self._put_aside(
                delivery, PutAside(reason=REASON_POISON, detail=detail, payout_id=None)
            )

    async def _handle(self, delivery: Delivery) -> None:
        try:
            command = self.intake.read(decode_command(delivery.body), self.rules)
        except InvalidCommandError as error:
            aside = await self.intake.refuse(
                error,
                body=delivery.body,
                message_id=delivery.message_id,
                account=self.rules.name,
            )
            await self._put_aside(delivery, aside)
            return
        outcome = await self._take(command)
        if isinstance(outcome, PutAside):
            await self._put_aside(delivery, outcome)

    async def _take(self, command: Command) -> Taken | PutAside:
        # Closed: by the end of the moment the consumer is paused, so that what is in hand is
        # written down as `received` and nothing follows it.
        if not await self.accounts.until_open(self.rules.name, within_s=CLOSED_FOR_S):
            return await self.intake.take(command, self.rules, send=False)
        await self.pool.take_slot(self.rules.name)
        handed_over = False
        try:
            await self.pace.turn(self.rules.name)
            # The account may have been paused while the command waited for its turn.
            with self.pool.expecting(command.payout_id):
                outcome = await self.intake.take(
                    command, self.rules, send=self.accounts.is_open(self.rules.name)
                )
                if isinstance(outcome, Taken) and outcome.submit:
                    self.pool.start(outcome.payout, has_turn=True)
                    handed_over = True
            return outcome
        finally:
            if not handed_over:
                self.pool.give_back(self.rules.name)

    async def _put_aside(self, delivery: Delivery, aside: PutAside) -> None:
        await self.dead_letters.put(delivery, reason=aside.reason, detail=aside.detail)
        self.telemetry.emit(
            Signal.COMMAND_DEAD_LETTERED,
            account=self.rules.name,
            reason=aside.reason,
            payout_id=aside.payout_id,
        )
