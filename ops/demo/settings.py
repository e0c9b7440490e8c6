"""The demo's settings: test credentials, short waits, addresses of its own servers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ops.local.processes import plain_environment

FLOAT: Final = "10000000000.00"
WAITS: Final[Mapping[str, str]] = {
    "PAYOUTS_REQUEST_TIMEOUT_S": "2",
    "PAYOUTS_RESULT_DEADLINE_S": "3",
    "PAYOUTS_QUERY_INTERVAL_S": "1",
    "PAYOUTS_NOT_FOUND_GRACE_S": "2",
    "PAYOUTS_RETRY_FIRST_S": "1",
}
"""In production 30, 60, 30, 60 and 2: a person at a screen waits less patiently than a bank."""


def simulator_environ(mark: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return what the simulator is told: any free port, a float for all, delays of seconds."""
    return {
        **plain_environment(),
        **mark,
        "PAYOUTS_SIMULATOR_PORT": "0",
        "PAYOUTS_SIMULATOR_CERTIFICATE": str(folder / "gateway.pem"),
        "PAYOUTS_SIMULATOR_FLOAT_AMOUNT": FLOAT,
        "PAYOUTS_SIMULATOR_LATE_S": "5",
        "PAYOUTS_SIMULATOR_SLOW_S": "3",
    }


def product_environ(
    stack_urls: tuple[str, str], simulator: Mapping[str, Any], callback_port: int
) -> dict[str, str]:
    """Return what workers, callback server and the command line are told.

    Args:
        stack_urls: of RabbitMQ and PostgreSQL.
        simulator: what its ready line told.
        callback_port: where the callback server will listen.
    """
    callbacks = f"http://127.0.0.1:{callback_port}/mpesa"
    return {
        "PAYOUTS_AMQP_URL": stack_urls[0],
        "PAYOUTS_DATABASE_URL": stack_urls[1],
        "PAYOUTS_GATEWAY_URL": simulator["url"],
        "PAYOUTS_QUERY_URL": simulator["query_url"],
        "PAYOUTS_SP_ID": "600000",
        "PAYOUTS_SP_PASSWORD": "simulator-password",
        "PAYOUTS_SERVICE_ID": "600000000",
        "PAYOUTS_INITIATOR_USERNAME": "payouts",
        "PAYOUTS_INITIATOR_PASSWORD": "simulator-initiator",
        "PAYOUTS_API_CERTIFICATE": simulator["certificate"],
        "PAYOUTS_SHORTCODE": "600000",
        "PAYOUTS_ORGANISATION": "DEMO",
        "PAYOUTS_RESULT_URL": f"{callbacks}/result",
        "PAYOUTS_QUEUE_TIMEOUT_URL": f"{callbacks}/timeout",
        "PAYOUTS_CALLBACK_PORT": str(callback_port),
        "PAYOUTS_LOG_FORMAT": "console",
        **WAITS,
    }
