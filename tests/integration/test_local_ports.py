"""Ports that private servers and programs of tests are given: never one to two askers."""

import asyncio
import socket
import subprocess
import sys

import pytest

from ops.local import LocalServerError, ports
from ops.local.ports import free_ports

ASK = "from ops.local import ports; ports.PORTS = range({0}, {0} + 1); ports.free_ports(1)"


@pytest.mark.skipif(sys.platform != "linux", reason="ports are held on Linux alone")
def test_a_port_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that was given and is not yet listened on is found by nobody else, in any process.

    Two stacks of one suite had the same: the RabbitMQ that was slower to start ended at once.
    Proved by setting SO_REUSEADDR before the probe binds: the port is given again.
    """
    (port,) = free_ports(1)
    asked = subprocess.run(  # noqa: S603 - Our own text.
        [sys.executable, "-c", ASK.format(port)], check=False, capture_output=True, text=True
    )
    assert "No free ports were found" in asked.stderr
    monkeypatch.setattr(ports, "PORTS", range(port, port + 1))
    with pytest.raises(LocalServerError):
        free_ports(1)


async def test_a_held_port_can_be_listened_on_again_and_again() -> None:
    """Who was given the port listens there, ends, and listens there again; then nobody answers."""
    (port,) = free_ports(1)
    for _ in range(2):
        server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", port)
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_a_long_run_keeps_few_files_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest ports are let go when many were given."""
    monkeypatch.setattr(ports, "HELD", 3)
    free_ports(10)
    assert len(ports._held) <= 3
