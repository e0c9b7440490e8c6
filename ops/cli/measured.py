"""What the commands that measure have in common: where results go, and how they are told."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ops.cli.screen import Screen


def folder_of(output: Path | None, kind: str = "") -> Path:
    """Return where results go: as asked for, else a new folder below .local/bench."""
    # Loaded here, so that looking at a payout loads no servers.
    from ops.demo.children import ROOT  # noqa: PLC0415

    return output or ROOT / ".local" / "bench" / f"{kind}{datetime.now(UTC):%Y%m%d-%H%M%S}"


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
