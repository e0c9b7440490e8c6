"""What the gateway's tests share: a client of M-PESA that misbehaves as told, twin or simulator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol

from aiohttp import web

from ops.simulator import Simulator, SimulatorSettings, running_simulator
from payouts.domain.answers import QueueTimeout, Result
from payouts.domain.payout import Payout, State
from payouts.domain.values import AccountName, PayoutId, conversation_id_for
from payouts.mpesa.acknowledgements import (
    Acknowledgement,
    queue_timeout_acknowledgement,
    result_acknowledgement,
)
from payouts.mpesa.client import SoapGateway
from payouts.mpesa.results import parse_result
from payouts.mpesa.settings import AckNamespace, GatewayAccount, Timeouts
from payouts.mpesa.timeouts import parse_queue_timeout
from payouts.ports import Gateway
from tests.conformance.stores import Near
from tests.simulation.seams import GatewayFaults
from tests.simulation.twins.gateway import Mpesa, TwinGateway

DEFAULT: Final = AccountName("default")
WITHIN_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One misbehaviour in both vocabularies: the twin's shares, the simulator's kind."""

    shares: tuple[str, ...] = ()
    kind: str = "none"

    def on_twin(self) -> GatewayFaults:
        """Return the twin's faults: each of the shares always, and nothing else."""
        faults = GatewayFaults(latency_s=0.0, result_late_s=0.0, slow_s=0.0, timeout_s=0.0)
        for share in self.shares:
            setattr(faults, share, True if share in {"forgets", "away"} else 1.0)
        return faults

    def on_simulator(self) -> str:
        """Return the simulator's script."""
        return f'[[rule]]\nwhen = {{operation = "payment"}}\ndo = "{self.kind}"\n'


HONEST: Final = Fault()


@dataclass(slots=True)
class Heard:
    """What M-PESA has told a callback server."""

    results: list[Result] = field(default_factory=list)
    timeouts: list[QueueTimeout] = field(default_factory=list)

    async def take_result(self, result: Result) -> bool:
        """Take a Result, and acknowledge it."""
        self.results.append(result)
        return True

    async def take_timeout(self, notice: QueueTimeout) -> bool:
        """Take a notice, and acknowledge it."""
        self.timeouts.append(notice)
        return True


class Bed(Protocol):
    """A gateway, and the truth behind it."""

    gateway: Gateway
    heard: Heard

    def behave(self, fault: Fault) -> None:
        """Have every payment from now on meet this fault."""
        ...

    def times_paid(self, payout: Payout) -> int:
        """Return how often money moved under a payout's id."""
        ...

    def requests(self) -> int:
        """Return how many payment requests have come."""
        ...

    def is_quiet(self) -> bool:
        """Tell whether nothing more will happen by itself."""
        ...


class TwinBed:
    """The twin."""

    def __init__(self) -> None:
        self.heard = Heard()
        self._arrivals: list[str] = []
        self._mpesa = Mpesa(
            Near(), HONEST.on_twin(), self, self.heard.take_result, self.heard.take_timeout
        )
        self.gateway: Gateway = TwinGateway(self._mpesa)

    def behave(self, fault: Fault) -> None:
        """Change the faults."""
        self._mpesa.faults = fault.on_twin()

    def times_paid(self, payout: Payout) -> int:
        """Count in the ledger."""
        own_id = payout.originator_conversation_id
        return sum(one.own_id == own_id for one in self._mpesa.ledger)

    def requests(self) -> int:
        """Count what came."""
        return len(self._arrivals)

    def is_quiet(self) -> bool:
        """Ask the twin."""
        return not self._mpesa.busy()

    def arrived(self, own_id: str, *, amount_minor: int, receiver: str) -> None:  # noqa: ARG002
        """Hear of a request, as its watch."""
        self._arrivals.append(own_id)

    def paid(self, own_id: str, *, amount_minor: int, receiver: str, receipt: str) -> None:
        """Hear of money; the ledger has it."""

    def declined(self, own_id: str) -> None:
        """Hear of none."""


class RealBed:
    """The client of the wire, the simulator, and a callback server that keeps what it is told."""

    def __init__(self, simulator: Simulator, gateway: SoapGateway, heard: Heard) -> None:
        self.gateway: Gateway = gateway
        self.heard = heard
        self._simulator = simulator

    def behave(self, fault: Fault) -> None:
        """Install a script; `away` lets the simulator refuse connections."""
        if fault.kind == "away":
            self._simulator.away(WITHIN_S)
        else:
            self._simulator.install_faults(fault.on_simulator())

    def times_paid(self, payout: Payout) -> int:
        """Count in the simulator's ledger."""
        own_id = payout.originator_conversation_id
        return sum(
            line["originator_conversation_id"] == own_id for line in self._simulator.ledger()
        )

    def requests(self) -> int:
        """Count what came, the spoiled ones too."""
        count: int = self._simulator.statistics()["requests"]
        return count

    def is_quiet(self) -> bool:
        """Ask the simulator."""
        return bool(self._simulator.statistics()["pending"] == 0)


@asynccontextmanager
async def open_bed(certificate: str | None) -> AsyncIterator[Bed]:
    """Give the client and the simulator, whose key is kept there; None: the twins of both."""
    if certificate is None:
        yield TwinBed()
        return
    heard = Heard()
    settings = SimulatorSettings(
        port=0,
        certificate=certificate,
        pay_delay_s=0.0,
        result_delay_s=0.01,
        queue_s=0.1,
        short_codes=("600000",),
    )
    async with _callbacks(heard) as url, running_simulator(settings) as simulator:
        account = GatewayAccount(
            name=DEFAULT,
            shortcode="600000",
            sp_id=settings.sp_id,
            sp_password=settings.sp_password,
            service_id="600000000",
            initiator_username=settings.initiator_username,
            initiator_password=settings.initiator_password,
            api_certificate=simulator.certificate_pem,
            gateway_url=simulator.url,
            query_url=simulator.query_url,
            result_url=f"{url}/result",
            queue_timeout_url=f"{url}/timeout",
        )
        gateway = SoapGateway(
            {DEFAULT: account},
            timeouts=Timeouts(connect_s=2.0, total_s=5.0),
            tls=None,
            now=lambda: datetime.now(UTC),
            connection_limit=4,
        )
        async with gateway:
            yield RealBed(simulator, gateway, heard)


@asynccontextmanager
async def _callbacks(heard: Heard) -> AsyncIterator[str]:
    async def result(request: web.Request) -> web.Response:
        await heard.take_result(parse_result(await request.read()))
        said = result_acknowledgement(Acknowledgement.SUCCESS, AckNamespace.REQUEST)
        return web.Response(body=said, content_type="text/xml")

    async def timeout(request: web.Request) -> web.Response:
        await heard.take_timeout(parse_queue_timeout(await request.read()))
        said = queue_timeout_acknowledgement(Acknowledgement.SUCCESS)
        return web.Response(body=said, content_type="text/xml")

    app = web.Application()
    app.router.add_post("/result", result)
    app.router.add_post("/timeout", timeout)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


def salary(name: str) -> Payout:
    """Give a payout that both pay."""
    return Payout(
        payout_id=PayoutId(name),
        account=DEFAULT,
        amount_minor=12_500,
        currency="KES",
        msisdn="254722000111",
        command_id="SalaryPayment",
        originator_conversation_id=conversation_id_for("600000", "ORG", PayoutId(name)),
        state=State.SUBMITTING,
        created_at=datetime.now(UTC),
    )


async def until(holds: Callable[[], bool]) -> None:
    """Return when a condition holds; the test fails if it does not in time."""
    async with asyncio.timeout(WITHIN_S):
        while not holds():  # noqa: ASYNC110 - what holds is seen from outside, by looking
            await asyncio.sleep(0.005)
