"""What a worker is made of, put together by hand; nothing here connects or starts."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from payouts.domain.commands import AccountRules
from payouts.domain.values import AccountName
from payouts.messaging.event_publisher import AmqpEventPublisher
from payouts.messaging.publisher import DeadLetters
from payouts.mpesa.client import SoapGateway
from payouts.ports import Telemetry
from payouts.runtime import system_jitter
from payouts.services.accounts import Accounts
from payouts.services.completion import Completions
from payouts.services.funds import Funds
from payouts.services.intake import Intake
from payouts.services.lease import Lease
from payouts.services.patience import Patience
from payouts.services.reconciliation import Reconciliation
from payouts.services.relay import Relay
from payouts.services.submission import Submission
from payouts.services.upkeep import Upkeep
from payouts.settings import WorkerSettings
from payouts.storage.clock import BooksClock
from payouts.storage.pace import PostgresPace
from payouts.storage.store import PostgresStore
from worker.commands import CommandHandler
from worker.pool import Pool
from worker.questions import Questions
from worker.suspects import Suspects


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapters:
    """What a worker talks to, opened and closed by its app."""

    store: PostgresStore
    gateway: SoapGateway
    pace: PostgresPace
    events: AmqpEventPublisher
    dead_letters: DeadLetters
    clock: BooksClock
    telemetry: Telemetry


class Parts:
    """The services of one worker over its adapters."""

    def __init__(self, settings: WorkerSettings, adapters: Adapters) -> None:
        self._settings = settings
        self._adapters = adapters
        store, clock, telemetry = adapters.store, adapters.clock, adapters.telemetry
        self.policies = settings.policies()
        self.rules = {name: one.rules(name) for name, one in settings.accounts.items()}
        self.relay = Relay(
            store, adapters.events, clock, telemetry, keep_unroutable=settings.mandatory_events
        )
        self.lease = Lease(
            store,
            clock,
            telemetry,
            name=f"{socket.gethostname()}:{os.getpid()}",
            lease_s=settings.worker_lease_s,
            accounts=list(self.rules),
        )
        self.accounts = Accounts(
            list(self.rules), store, adapters.gateway, clock, telemetry, self.policies
        )
        self.patience = Patience(clock, telemetry)
        self.suspects = Suspects(store=store, clock=clock, patience=self.patience)
        self.pool = Pool(self._submission(), adapters.pace, settings.concurrency, list(self.rules))
        self.intake = Intake(
            store=store,
            relay=self.relay,
            lease=self.lease,
            clock=clock,
            telemetry=telemetry,
            patience=self.patience,
        )

    def _submission(self) -> Submission:
        adapters = self._adapters
        return Submission(
            store=adapters.store,
            gateway=adapters.gateway,
            pace=adapters.pace,
            accounts=self.accounts,
            relay=self.relay,
            lease=self.lease,
            clock=adapters.clock,
            telemetry=adapters.telemetry,
            policies=self.policies,
            jitter=system_jitter,
            patience=self.patience,
        )

    def completions(self) -> Completions:
        """Return what takes Results that the broker's log tells; the worker must have enlisted."""
        adapters = self._adapters
        return Completions(
            store=adapters.store,
            relay=self.relay,
            clock=adapters.clock,
            telemetry=adapters.telemetry,
            policies=self.policies,
            actor=self.lease.actor,
        )

    def questions(self, completions: Completions) -> Questions:
        """Return what asks about payouts in doubt."""
        adapters = self._adapters
        return Questions(
            store=adapters.store,
            pool=self.pool,
            pace=adapters.pace,
            reconciliation=self._reconciliation(completions),
            accounts=self.accounts,
            clock=adapters.clock,
            claim_s=self.policies.query_interval_s,
        )

    def _reconciliation(self, completions: Completions) -> Reconciliation:
        adapters = self._adapters
        return Reconciliation(
            store=adapters.store,
            gateway=adapters.gateway,
            completions=completions,
            accounts=self.accounts,
            rules=self.rules.__getitem__,
            lease=self.lease,
            clock=adapters.clock,
            telemetry=adapters.telemetry,
            policies=self.policies,
            jitter=system_jitter,
        )

    def upkeep(self, completions: Completions) -> Upkeep:
        """Return the background work that a worker shares with callback servers."""
        adapters = self._adapters
        return Upkeep(
            store=adapters.store,
            completions=completions,
            relay=self.relay,
            clock=adapters.clock,
            telemetry=adapters.telemetry,
            policies=self.policies,
            lease_s=self._settings.worker_lease_s,
            actor=lambda: self.lease.actor,
        )

    def funds(self) -> Funds:
        """Return what keeps the accounts' floats."""
        minimums = {
            name: one.float_min
            for name, one in self._settings.accounts.items()
            if one.float_min is not None
        }
        return Funds(store=self._adapters.store, accounts=self.accounts, minimums=minimums)

    def handler(self, name: AccountName) -> CommandHandler:
        """Return what handles the commands of one account."""
        rules: AccountRules = self.rules[name]
        return CommandHandler(
            rules=rules,
            intake=self.intake,
            dead_letters=self._adapters.dead_letters,
            accounts=self.accounts,
            pace=self._adapters.pace,
            pool=self.pool,
            telemetry=self._adapters.telemetry,
            suspects=self.suspects,
            poison_after=self._settings.poison_after,
        )
