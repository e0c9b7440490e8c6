"""Who is connected, from where, and who has to leave when there is no more room."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum, auto
from typing import Final

from payouts.domain.signals import Signal
from payouts.ports import Telemetry

MAX_HEAD_BYTES: Final = 16 * 1024
PASSES: Final = 8  # Of the loop, from a request's bytes to its handler; aiohttp needs three.
SETTLED_S: Final = 5.0


class Phase(Enum):
    """What a connection is doing."""

    HEAD = auto()  # Connected, or in the middle of a request's head.
    BODY = auto()  # Sending a body, within the handler's time, or the rest of a refused one.
    BUSY = auto()  # Its request is whole and in hand; it is not dropped.
    IDLE = auto()  # Between two requests.


class Visitor:
    """One connection; `drop` ends it at once."""

    __slots__ = ("drop", "early", "head_bytes", "inside", "phase", "source", "timer")

    def __init__(self, source: str, drop: Callable[[], None]) -> None:
        self.source = source
        self.drop = drop
        self.phase = Phase.HEAD
        self.head_bytes = 0
        self.early = False
        self.inside = True
        self.timer: asyncio.TimerHandle | None = None


class Visitors:
    """Keeps connections within `limit`, so that no source can take the room of the others.

    When all room is taken, the source with the most connections loses the one that has waited
    longest. Where that is the newcomer's own source, the newcomer is refused instead as long as
    nobody of it has waited for SETTLED_S: refusing is cheap, and keeps the line at the door
    short. Whoever has a whole request in hand stays. A head that does not arrive in time, or is
    too large, ends its connection.

    Args:
        limit: the most connections at a time.
        head_within_s: how long a request's head may take, from the connection or its first byte.
    """

    def __init__(self, *, limit: int, head_within_s: float, telemetry: Telemetry) -> None:
        self.limit = limit
        self.head_within_s = head_within_s
        self._telemetry = telemetry
        self._waiting: dict[str, OrderedDict[Visitor, float]] = {}
        self._counts: dict[str, int] = {}
        self._sizes: dict[int, dict[str, None]] = {}
        self._most = 0
        self._known: dict[object, Visitor] = {}
        self._total = 0

    def __len__(self) -> int:
        """Return how many are connected."""
        return self._total

    def enter(self, source: str, drop: Callable[[], None]) -> Visitor | None:
        """Let a connection in, dropping another one if need be; None where nobody can leave."""
        if self._total >= self.limit and not self.make_room(source):
            self._tell("refused")
            return None
        visitor = Visitor(source, drop)
        self._count(source, 1)
        self._wait(visitor)
        self._arm(visitor)
        return visitor

    def name(self, visitor: Visitor, protocol: object) -> None:
        """Note which of the server's protocols a visitor speaks with."""
        self._known[protocol] = visitor

    def leave(self, visitor: Visitor, protocol: object = None) -> None:
        """Note that a connection has ended; more than once does no harm."""
        self._known.pop(protocol, None)
        self._disarm(visitor)
        if not visitor.inside:
            return
        visitor.inside = False
        self._unwait(visitor)
        self._count(visitor.source, -1)

    def heard(self, visitor: Visitor, size: int) -> None:
        """Note that bytes came."""
        if visitor.phase is Phase.BUSY:
            visitor.early = True
        elif visitor.phase is Phase.IDLE:
            visitor.phase = Phase.HEAD
            self._arm(visitor)
        if visitor.phase is not Phase.HEAD:
            return
        before = visitor.head_bytes
        visitor.head_bytes += size
        if before <= MAX_HEAD_BYTES < visitor.head_bytes:
            self._look_again(visitor, PASSES)

    @contextmanager
    def request(
        self, protocol: object, has_ended: Callable[[], bool] = lambda: True
    ) -> Iterator[None]:
        """Hold for as long as a request is handled, from its head on.

        Args:
            protocol: the server's, as told to `name`.
            has_ended: whether all of the request has come; what is still sent of one that was
                refused is read for a moment, so that the sender hears of it.
        """
        visitor = self._known.get(protocol)
        if visitor is None:
            yield
            return
        self._disarm(visitor)
        visitor.phase = Phase.BODY
        try:
            yield
        finally:
            if visitor.inside:
                self._wait(visitor)
                visitor.phase = Phase.HEAD if visitor.early else Phase.IDLE
                if not has_ended():
                    visitor.phase = Phase.BODY
                if visitor.phase is not Phase.IDLE:
                    visitor.early = False
                    self._arm(visitor)

    @contextmanager
    def whole(self, protocol: object) -> Iterator[None]:
        """Hold for as long as a request that has arrived as a whole is worked on."""
        visitor = self._known.get(protocol)
        if visitor is None:
            yield
            return
        visitor.phase = Phase.BUSY
        self._unwait(visitor)
        try:
            yield
        finally:
            visitor.phase = Phase.BODY

    def make_room(self, source: str = "") -> bool:
        """Drop the one who waits longest of the greediest source; False where nobody is dropped.

        Args:
            source: that of the newcomer.
        """
        if source in self._counts and self._counts[source] >= self._most:
            return self._drop_settled(source)
        for size in range(self._most, 0, -1):
            for one in self._sizes.get(size, ()):  # The one that has been so large for longest.
                if one in self._waiting:
                    self._drop(next(iter(self._waiting[one])), "crowded")
                    return True
        return False

    def _drop_settled(self, source: str) -> bool:
        line = self._waiting.get(source)
        if line is None:
            return False  # All that it has is in hand: it has had its share.
        visitor, since = next(iter(line.items()))
        if asyncio.get_running_loop().time() - since < SETTLED_S:
            return False
        self._drop(visitor, "crowded")
        return True

    def _count(self, source: str, change: int) -> None:
        """Keep how many each source has, and which sources have so many."""
        before = self._counts.pop(source, 0)
        now = before + change
        self._total += change
        if before:
            peers = self._sizes[before]
            del peers[source]
            if not peers:
                del self._sizes[before]
        if now:
            self._counts[source] = now
            self._sizes.setdefault(now, {})[source] = None
        if now > self._most:
            self._most = now
        elif self._most not in self._sizes:
            self._most -= 1

    def _wait(self, visitor: Visitor) -> None:
        line = self._waiting.setdefault(visitor.source, OrderedDict())
        line[visitor] = asyncio.get_running_loop().time()
        line.move_to_end(visitor)

    def _unwait(self, visitor: Visitor) -> None:
        line = self._waiting.get(visitor.source)
        if line is not None:
            line.pop(visitor, None)
            if not line:
                del self._waiting[visitor.source]

    def _arm(self, visitor: Visitor) -> None:
        visitor.head_bytes = 0
        loop = asyncio.get_running_loop()
        visitor.timer = loop.call_later(self.head_within_s, self._drop, visitor, "late")

    def _disarm(self, visitor: Visitor) -> None:
        if visitor.timer is not None:
            visitor.timer.cancel()
            visitor.timer = None

    def _look_again(self, visitor: Visitor, passes: int) -> None:
        """Drop who sent more than a head, unless a handler has been called for it by then.

        Passes are counted instead of time: a whole request, its body along with its head, is
        not taken for a head without end where the process stands still for a moment.
        """
        if visitor.phase is not Phase.HEAD or visitor.head_bytes <= MAX_HEAD_BYTES:
            return
        if passes == 0:
            self._drop(visitor, "head")
        else:
            asyncio.get_running_loop().call_soon(self._look_again, visitor, passes - 1)

    def _drop(self, visitor: Visitor, reason: str) -> None:
        self._tell(reason)
        self.leave(visitor)
        visitor.drop()

    def _tell(self, reason: str) -> None:
        self._telemetry.emit(Signal.CALLBACK_DROPPED, reason=reason)
