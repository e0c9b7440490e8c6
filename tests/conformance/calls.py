"""A call of a port's method as a value, so that it can be made twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Arguments = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a port's method."""

    method: str
    positional: tuple[Any, ...] = ()
    named: Arguments = field(default_factory=dict)
