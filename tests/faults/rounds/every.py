"""Every kind of round in which what is around the product misbehaves, by the name of its kind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from tests.faults.arena import Arena
from tests.faults.killing import Order, Outcome
from tests.faults.rounds.clocks import clocks
from tests.faults.rounds.gateway import (
    gateway,
    gateway_away,
    gateway_each,
    gateway_forgetful,
    gateway_resending,
)
from tests.faults.rounds.network import network
from tests.faults.rounds.servers import servers
from tests.faults.rounds.zombies import zombies

ROUNDS: Final[Mapping[str, Callable[[Arena, Order], Awaitable[Outcome]]]] = {
    "network": network,
    "servers": servers,
    "gateway": gateway,
    "gateway-each": gateway_each,
    "gateway-forgetful": gateway_forgetful,
    "gateway-resending": gateway_resending,
    "gateway-away": gateway_away,
    "zombies": zombies,
    "clocks": clocks,
}
