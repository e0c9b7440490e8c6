"""The measured stacks: which programs each one is, and in which words it is told its settings.

Every stack gets the same `BENCH_…` variables; the product is told the same in its own words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin

from ops.demo.children import ROOT, python
from ops.simulator.settings import SimulatorSettings

PEER_PYTHON: Final = ROOT / ".venv-bench" / "bin" / "python"
RESULT_PATH: Final = "/mpesa/result"
OURS: Final = "ours"
BARE: Final = "bare"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One way to build it: two programs, each ready when it says so.

    Args:
        name: as on the command line.
        about: what it is, for the report.
        worker: the command that starts its worker; with `callback_server` empty for ours, whose
            processes are started as they are anywhere.
        callback_server: the same for its callback server.
    """

    name: str
    about: str
    worker: Sequence[str] = ()
    callback_server: Sequence[str] = ()

    @property
    def needs_peers(self) -> bool:
        """Whether it runs in `.venv-bench`."""
        return str(PEER_PYTHON) in self.worker


def _peer(name: str, about: str) -> Stack:
    module = f"ops.bench.peers.{name}_stack"
    return Stack(
        name=name,
        about=about,
        worker=(str(PEER_PYTHON), "-m", f"{module}.worker"),
        callback_server=(str(PEER_PYTHON), "-m", f"{module}.callback_server"),
    )


STACKS: Final[Mapping[str, Stack]] = {
    stack.name: stack
    for stack in (
        Stack(
            name=BARE,
            about="aio-pika, aiohttp, lxml, uvloop; no database: not durable, not idempotent",
            worker=python("ops.bench.bare.worker"),
            callback_server=python("ops.bench.bare.callback_server"),
        ),
        Stack(name=OURS, about="this system as shipped, one worker, one callback server"),
        _peer("faststream", "FastStream, aiohttp, SQLAlchemy async; one transaction per step"),
        _peer("celery", "Celery (prefork), requests, zeep, SQLAlchemy; one transaction per step"),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a stack finds everything in one round."""

    amqp_url: str
    database_url: str
    gateway_url: str
    certificate: str
    callback_port: int
    queue: str
    events_exchange: str
    concurrency: int


def bench_environ(place: Place) -> dict[str, str]:
    """Return what every stack is told."""
    gateway = SimulatorSettings()
    return {
        "BENCH_AMQP_URL": place.amqp_url,
        "BENCH_DATABASE_URL": place.database_url,
        "BENCH_GATEWAY_URL": place.gateway_url,
        "BENCH_RESULT_URL": f"http://127.0.0.1:{place.callback_port}{RESULT_PATH}",
        "BENCH_CALLBACK_HOST": "127.0.0.1",
        "BENCH_CALLBACK_PORT": str(place.callback_port),
        "BENCH_QUEUE": place.queue,
        "BENCH_EVENTS_EXCHANGE": place.events_exchange,
        "BENCH_CONCURRENCY": str(place.concurrency),
        "BENCH_SHORTCODE": gateway.short_codes[0],
        "BENCH_ORGANISATION": "ORG",
        "BENCH_SP_ID": gateway.sp_id,
        "BENCH_SP_PASSWORD": gateway.sp_password,
        "BENCH_SERVICE_ID": f"{gateway.sp_id}000",
        "BENCH_INITIATOR_USERNAME": gateway.initiator_username,
        "BENCH_INITIATOR_PASSWORD": gateway.initiator_password,
        "BENCH_API_CERTIFICATE": place.certificate,
    }


_SAME: Final = (
    *("AMQP_URL", "DATABASE_URL", "GATEWAY_URL", "RESULT_URL", "CALLBACK_HOST", "CALLBACK_PORT"),
    *("CONCURRENCY", "SHORTCODE", "ORGANISATION", "SP_ID", "SP_PASSWORD", "SERVICE_ID"),
    *("INITIATOR_USERNAME", "INITIATOR_PASSWORD", "API_CERTIFICATE"),
)


def product_environ(bench: Mapping[str, str]) -> dict[str, str]:
    """Return the same in the product's words; all that is not said has its default."""
    return {
        **{f"PAYOUTS_{name}": bench[f"BENCH_{name}"] for name in _SAME},
        "PAYOUTS_QUEUE_TIMEOUT_URL": urljoin(bench["BENCH_RESULT_URL"], "timeout"),
    }
