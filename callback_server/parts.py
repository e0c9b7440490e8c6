"""What a callback server is made of, put together by hand; nothing here connects or starts."""

from __future__ import annotations

import os
import socket
from typing import Final

from callback_server.bodies import Bodies
from callback_server.fairness import FairShare
from callback_server.guards import AllowList
from callback_server.handlers import Handlers
from callback_server.sweeps import CallbackSweeps
from callback_server.visitors import Visitors
from payouts.messaging.event_publisher import AmqpEventPublisher
from payouts.mpesa.settings import AckNamespace
from payouts.ports import Clock, Telemetry
from payouts.services.completion import Completions
from payouts.services.health import StoreHealth
from payouts.services.relay import Relay
from payouts.services.upkeep import Upkeep
from payouts.settings import CallbackSettings
from payouts.storage.store import PostgresStore

PARSING_REST: Final = 2.0  # Large bodies get a third of the time; real Results are small.
TAKEN_AT_ONCE: Final = 200  # More would only wait at the database, in nobody's order.


class Parts:
    """The services of one callback server over its store and its publisher."""

    def __init__(
        self,
        settings: CallbackSettings,
        store: PostgresStore,
        events: AmqpEventPublisher,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        actor = f"callback server {socket.gethostname()}:{os.getpid()}"
        self.health = StoreHealth(store)
        self.relay = Relay(
            store, events, clock, telemetry, keep_unroutable=settings.mandatory_events
        )
        self.completions = Completions(
            store=store,
            relay=self.relay,
            clock=clock,
            telemetry=telemetry,
            policies=settings.policies(),
            actor=actor,
        )
        self.allow = AllowList(
            networks=settings.callback_allow,
            trusted_proxies=settings.callback_trusted_proxies,
        )
        self.visitors = Visitors(
            limit=settings.callback_connections,
            head_within_s=settings.callback_request_timeout_s,
            telemetry=telemetry,
        )
        self.handlers = Handlers(
            completions=self.completions,
            ack_namespace=AckNamespace[settings.ack_namespace.name],
            allow=self.allow,
            telemetry=telemetry,
            bodies=Bodies(within_s=settings.callback_request_timeout_s),
            visitors=self.visitors,
            parsing=FairShare(1, rest=PARSING_REST),
            taking=FairShare(TAKEN_AT_ONCE),
        )
        upkeep = Upkeep(
            store=store,
            completions=self.completions,
            relay=self.relay,
            clock=clock,
            telemetry=telemetry,
            policies=settings.policies(),
            lease_s=settings.worker_lease_s,
            actor=lambda: actor,
        )
        self.sweeps = CallbackSweeps(
            upkeep=upkeep, completions=self.completions, health=self.health
        )
