"""What the commands that measure have in common: where results go, and how they are told."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ops.cli.exits import UsageError
from ops.cli.screen import Screen


def folder_of(output: Path | None, kind: str = "") -> Path:
    """Return where results go: as asked for, else a new folder below .local/bench."""
    # Loaded here, so that looking at a payout loads no servers.
    from ops.demo.children import ROOT  # noqa: PLC0415

    return output or ROOT / ".local" / "bench" / f"{kind}{datetime.now(UTC):%Y%m%d-%H%M%S}"


def numbers(name: str, text: str, *, most: int | None = None) -> list[int]:
    """Return the whole numbers above 0 in a comma-separated option, each once.

    Raises:
        UsageError: it is something else, or one is above `most`.
    """
    parts = [part.strip() for part in text.split(",")]
    found = [int(part) for part in parts if part.isascii() and part.isdecimal()]
    if len(found) != len(parts) or min(found) < 1 or (most is not None and max(found) > most):
        limit = f" of at most {most}" if most is not None else ""
        raise UsageError(f"{name} must be whole numbers above 0{limit}, comma-separated.")
    return list(dict.fromkeys(found))


def show(
    screen: Screen, document: Mapping[str, Any], table: str, folder: Path, *, json: bool
) -> None:
    """Tell the figures, to programs or as a table, and where they were written."""
    if json:
        screen.json(document)
    else:
        for line in table.splitlines():
            screen.line(line)
    screen.say(f"Written to {folder}.")
