"""All parsers under attack, and how an input is changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Final

from tests.fuzz.oracle import Target
from tests.fuzz.targets import callbacks, commands, configuration, sheets, soap, statements

CORPUS: Final = Path(__file__).parent / "corpus"
TARGETS: Final[Mapping[str, Target]] = {
    target.name: target
    for target in (
        commands.TARGET,
        *soap.TARGETS,
        callbacks.TARGET,
        sheets.TARGET,
        statements.TARGET,
        *configuration.TARGETS,
    )
}


def changed(target: Target, data: bytes, random: Random) -> bytes:
    """Return an input that is a few changes away from another one."""
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 5))):
        if target.tokens and random.random() < 0.1:
            at = random.randint(0, len(data))
            data = data[:at] + random.choice(target.tokens) + data[at:]
        else:
            data = random.choice(target.mutators)(data, random)
        data = data[: target.most]
    return data


def known_cases(target: Target) -> list[Path]:
    """Return the files of inputs that once were found."""
    folder = CORPUS / target.name
    return sorted(folder.iterdir()) if folder.is_dir() else []
