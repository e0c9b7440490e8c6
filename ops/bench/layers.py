"""From the stacks that py-spy has sampled to the layers that they were in: pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

OTHER: Final = "event loop, sockets, garbage collection"
LAYERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "aiohttp/": "HTTP: aiohttp",
        "callback_server/": "HTTP: callback server",
        "aio_pika/": "AMQP: aio-pika",
        "aiormq/": "AMQP: aio-pika",
        "pamqp/": "AMQP: aio-pika",
        "payouts/messaging/": "AMQP: payouts.messaging",
        "payouts/mpesa/": "SOAP: build and read",
        "ops/bench/bare/wire.py": "SOAP: build and read",
        "sqlalchemy/": "SQL: SQLAlchemy",
        "asyncpg/": "SQL: asyncpg",
        "payouts/storage/": "SQL: payouts.storage",
        "payouts/domain/": "decisions",
        "payouts/services/": "decisions",
        "payouts/telemetry/": "metrics and logs",
        "worker/": "worker",
        "ops/bench/bare/": "the bare program",
    }
)
_FRAME: Final = re.compile(r"\((.*?)(?::\d+)?\)$")
_LOOP: Final = re.compile(r"^Runner\.run \(asyncio/runners\.py(?::\d+)?\)$")
# A thread that waits for work is told as working: its lock is C.
_IDLE: Final = re.compile(r"^_worker \(concurrent/futures/thread\.py(?::\d+)?\)$")


def layer_of(stack: str) -> str | None:
    """Return the layer of one stack, outermost frame first; None: the thread had nothing to do.

    The innermost frame of a layer counts: what the standard library does for it is its work.
    """
    frames = stack.split(";")
    if _IDLE.match(frames[-1]):
        return None
    if _LOOP.match(frames[-1]):
        return OTHER
    for frame in reversed(frames):
        found = _FRAME.search(frame)
        if found is None:
            continue
        for prefix, layer in LAYERS.items():
            if found[1].startswith(prefix):
                return layer
    return OTHER


def by_layer(lines: Iterable[str]) -> Counter[str]:
    """Return how many samples each layer has, of py-spy's format `raw`: a stack and a number."""
    samples: Counter[str] = Counter()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        layer = layer_of(stack)
        if layer is not None:
            samples[layer] += int(count)
    return samples


def shared(samples: Mapping[str, int], cpu_us: float) -> dict[str, float]:
    """Return the microseconds of each layer, all together `cpu_us`; the largest comes first."""
    total = sum(samples.values())
    ordered = sorted(samples.items(), key=lambda one: -one[1])
    return {layer: cpu_us * count / total for layer, count in ordered}
