"""What a fault proxy does to the bytes that pass it, at present."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Way(StrEnum):
    """In which direction bytes go: up to the server, or down to the client."""

    UP = "up"
    DOWN = "down"


@dataclass(slots=True)
class Weather:
    """What the proxy does to bytes at present. As made: nothing."""

    delay_s: float = 0.0
    bytes_per_s: float = 0.0
    stalled: frozenset[Way] = frozenset()
    swallows: bool = False
    reset_after: int = 0

    @property
    def fair(self) -> bool:
        """Tell whether chunks may be forwarded as they come."""
        return not (
            self.delay_s or self.bytes_per_s or self.stalled or self.swallows or self.reset_after
        )
