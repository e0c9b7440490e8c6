"""`payouts bench full`: whether throughput falls with what has ended."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from ops.cli.exits import Exit
from ops.cli.measured import folder_of, show
from ops.cli.screen import Screen

LEAST = 100
Positive = Annotated[int, Parameter(validator=Number(gte=1))]


def full(
    *,
    ended: Positive = 10_000_000,
    payouts: Annotated[int, Parameter(validator=Number(gte=LEAST))] = 8000,
    rounds: Positive = 3,
    output: Path | None = None,
    json: bool = False,
) -> Exit:
    """Compare throughput on empty books and on full ones, in turn.

    The full books are filled by COPY: each million of payouts takes one to three minutes and
    2.5 GB of disk. Let the machine do nothing else.

    Args:
        ended: Payouts in the full books.
        payouts: How many are paid in each round.
        rounds: On each of the two.
        output: The folder of the results; where it is not given a new one below .local/bench.
        json: Write the figures for programs.
    """
    # Loaded here, so that looking at a payout loads no servers.
    from ops.bench.full import Options, markdown, run  # noqa: PLC0415

    screen = Screen()
    folder = folder_of(output, "full-")
    options = Options(ended=ended, payouts=payouts, rounds=rounds, output=folder)
    document = run(options, screen.say)
    show(screen, document, markdown(document), folder, json=json)
    return Exit.DONE
