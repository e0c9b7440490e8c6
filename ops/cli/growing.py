"""`payouts bench growth`: whether costs grow with what has ended."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from ops.cli.exits import Exit
from ops.cli.measured import folder_of, show
from ops.cli.screen import Screen

Positive = Annotated[int, Parameter(validator=Number(gte=1))]


def growth(
    *,
    payouts: Positive = 10_000_000,
    rounds: Positive = 20,
    output: Path | None = None,
    json: bool = False,
) -> Exit:
    """Time writes, sweeps and looks on empty books and on full ones; exit 1 if one grows.

    A private PostgreSQL is filled by COPY: each million of payouts takes one to three minutes
    and 2 GB of disk. A call grows if it reads more rows the more payouts have ended.

    Args:
        payouts: How many have ended.
        rounds: How often each call is made on each side.
        output: The folder of the results; where it is not given a new one below .local/bench.
        json: Write the figures for programs.
    """
    # Loaded here, so that looking at a payout loads no servers.
    from ops.bench.growth import Options, run  # noqa: PLC0415
    from ops.bench.growth_report import growing, markdown  # noqa: PLC0415

    screen = Screen()
    folder = folder_of(output, "growth-")
    document = run(Options(payouts=payouts, rounds=rounds, output=folder), screen.say)
    show(screen, document, markdown(document), folder, json=json)
    for name in growing(document):
        screen.complain(f"{name}: reads more rows the more payouts have ended.")
    return Exit.FAILED if growing(document) else Exit.DONE
