"""`payouts bench pace`: whether workers together keep to their limit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from ops.cli.exits import Exit
from ops.cli.measured import folder_of, numbers, show
from ops.cli.screen import Screen

LEAST_S = 2.0
MOST_WORKERS = 16


def pace(
    *,
    workers: str = "1,2,4",
    limits: str = "20,100,500",
    seconds: Annotated[float, Parameter(validator=Number(gte=LEAST_S))] = 12.0,
    output: Path | None = None,
    json: bool = False,
) -> Exit:
    """Count what comes at the gateway in every second; exit 1 if one holds too much.

    For each limit in turn, so many workers with more work than they may send, then workers that
    come and go, by SIGTERM and SIGKILL, for five times as long. No second, wherever it begins, may
    hold more than PAYOUTS_TPS and 2 %. How much of the limit is used is told, not judged: on a
    machine that others keep busy it is less. With the defaults it takes seven minutes.

    Args:
        workers: How many, comma-separated.
        limits: PAYOUTS_TPS, comma-separated; whole numbers.
        seconds: The length of a run.
        output: The folder of the results; where it is not given a new one below .local/bench.
        json: Write the figures for programs.
    """
    # Loaded here, so that looking at a payout loads no servers.
    from ops.bench.pace import Options, run  # noqa: PLC0415
    from ops.bench.pace_report import broken, markdown  # noqa: PLC0415

    screen = Screen()
    options = Options(
        workers=numbers("--workers", workers, most=MOST_WORKERS),
        limits=numbers("--limits", limits),
        seconds=seconds,
        output=folder_of(output, "pace-"),
    )
    document = run(options, screen.say)
    show(screen, document, markdown(document), options.output, json=json)
    for sentence in broken(document):
        screen.complain(sentence)
    return Exit.FAILED if broken(document) else Exit.DONE
