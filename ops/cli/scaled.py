"""`payouts bench processes`: whether more worker processes pay as many times as much."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from ops.cli.exits import Exit
from ops.cli.measured import folder_of, numbers, show
from ops.cli.screen import Screen

MOST = 64
Positive = Annotated[int, Parameter(validator=Number(gte=1))]
Seconds = Annotated[float, Parameter(validator=Number(gt=0))]


def processes(
    *,
    processes: str = "1,2,4,8",
    answer_s: Seconds = 0.5,
    seconds: Seconds = 15.0,
    rounds: Positive = 2,
    output: Path | None = None,
    json: bool = False,
) -> Exit:
    """Compare the throughput of 1, 2, 4 and 8 worker processes behind a gateway that takes time.

    With the defaults it takes about four minutes. Let the machine do nothing else.

    Args:
        processes: How many workers, comma-separated.
        answer_s: What the gateway takes for each answer.
        seconds: Of each round, about, where cores do not bound it.
        rounds: Of each number.
        output: The folder of the results; where it is not given a new one below .local/bench.
        json: Write the figures for programs.
    """
    # Loaded here, so that looking at a payout loads no servers.
    from ops.bench.processes import Options, markdown, run  # noqa: PLC0415

    screen = Screen()
    folder = folder_of(output, "processes-")
    options = Options(
        processes=sorted(numbers("--processes", processes, most=MOST)),
        answer_s=answer_s,
        seconds=seconds,
        rounds=rounds,
        output=folder,
    )
    document = run(options, screen.say)
    show(screen, document, markdown(document), folder, json=json)
    return Exit.DONE
