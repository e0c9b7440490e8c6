"""Makes a found input small, so that a person sees what matters."""

from __future__ import annotations

import re
import time
from typing import Final

from tests.fuzz.oracle import Target, examine

_NUMBERS: Final = re.compile(r"[0-9.]+")


def kind_of(target: Target, data: bytes) -> str | None:
    """Return what is wrong with an input, without its figures; None where nothing is."""
    try:
        examine(target, data)
    except Exception as error:  # noqa: BLE001 - whatever comes out is the finding
        return f"{type(error).__name__} {_NUMBERS.sub('', str(error))[:24]}"
    return None


def minimised(target: Target, data: bytes, within_s: float = 60.0) -> bytes:
    """Return a shorter input with the same finding: slices are left out while it stays."""
    kind = kind_of(target, data)
    deadline = time.monotonic() + within_s
    width = max(1, len(data) // 2)
    while kind is not None:
        at = 0
        while at < len(data) and time.monotonic() < deadline:
            shorter = data[:at] + data[at + width :]
            if kind_of(target, shorter) == kind:
                data = shorter
            else:
                at += width
        if width == 1 or time.monotonic() >= deadline:
            break
        width //= 2
    return data
