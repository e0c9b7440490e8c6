"""Ports of the loopback, each given to one asker: found free, and held until they are listened on.

A private RabbitMQ listens seconds after its ports were chosen. Meanwhile another run on the same
machine would find the same port free and be faster, and one of the two servers would end at once.
"""

import os
import random
import socket
import sys
from collections import deque

from ops.local.errors import LocalServerError

# Below the range from which systems take the ports of outgoing connections: such a connection
# could take the port of a server that is being restarted, or even reach itself on it.
PORTS = range(20_000, 30_000)

# The oldest are let go, so that a long run does not keep a file open for each port it ever took.
HELD = 200

_held: deque[int] = deque()


def free_ports(count: int) -> tuple[int, ...]:
    """Finds ports of 127.0.0.1 on which nobody listens, away from those of outgoing connections.

    On Linux they are held for this process: bound without listening, which lets a server listen
    there (all set SO_REUSEADDR) but nobody else find them here, in this or another process.

    Raises:
        LocalServerError: There are not so many.
    """
    found: list[int] = []
    for port in random.sample(PORTS, k=min(len(PORTS), 1000)):
        if _hold(port):
            found.append(port)
        if len(found) == count:
            return tuple(found)
    raise LocalServerError("No free ports were found on 127.0.0.1.")


def _hold(port: int) -> bool:
    probe = socket.socket()
    try:
        # Without SO_REUSEADDR: with it, a port that somebody holds would seem free.
        probe.bind(("127.0.0.1", port))
    except OSError:
        probe.close()
        return False
    if sys.platform != "linux":
        probe.close()  # Elsewhere a bound port cannot be bound again by the server.
        return True
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _held.append(probe.detach())
    while len(_held) > HELD:
        os.close(_held.popleft())
    return True
