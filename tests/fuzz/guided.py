"""One target under atheris: a process of its own, as libFuzzer ends the one that it runs in.

Called by `tests.fuzz.__main__`, with the target's name, the folder for what is found, and
libFuzzer's own arguments.
"""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from random import Random
from typing import Final

import atheris

with atheris.instrument_imports(
    include=["payouts", "callback_server", "ops", "json", "xml", "tomllib", "csv"]
):
    from tests.fuzz.catalogue import TARGETS, changed
    from tests.fuzz.oracle import Target, examine

INSTRUMENTED_TIMES: Final = 4.0
WEIGHED_EACH: Final = 64


class Harness:
    """Feeds one target, and weighs memory now and then."""

    def __init__(self, target: Target, folder: Path) -> None:
        self._target = target
        self._folder = folder
        self._runs = 0

    def run(self, data: bytes) -> None:
        """Examine one input."""
        self._runs += 1
        weigh = self._runs % WEIGHED_EACH == 0
        try:
            examine(self._target, data, weigh=weigh, times=INSTRUMENTED_TIMES)
        except Exception:
            (self._folder / "found").write_bytes(data)
            raise

    def mutate(self, data: bytes, most: int, seed: int) -> bytes:
        """Change an input by its structure, or as libFuzzer does."""
        random = Random(seed)  # noqa: S311 - to be repeated, not to be secret
        if random.random() < 0.3:
            mutated: bytes = atheris.Mutate(data, most)
            return mutated
        return changed(self._target, data, random)[:most]


def main() -> None:
    """Run libFuzzer; does not return."""
    name, folder, *options = sys.argv[1:]
    warnings.simplefilter("ignore")
    logging.lastResort = None
    harness = Harness(TARGETS[name], Path(folder))
    atheris.Setup([sys.argv[0], *options], harness.run, custom_mutator=harness.mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
