"""`payouts bench budget`: what a payout's microseconds are spent on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from ops.cli.exits import Exit
from ops.cli.measured import folder_of, show
from ops.cli.screen import Screen

LEAST = 500


def budget(
    *,
    payouts: Annotated[int, Parameter(validator=Number(gte=LEAST))] = 8000,
    rounds: Annotated[int, Parameter(validator=Number(gte=1))] = 4,
    output: Path | None = None,
    json: bool = False,
) -> Exit:
    """Tell what CPU a payout costs, layer by layer, here and in the bare pipeline.

    py-spy looks at worker and callback server while they drain a queue. It needs the right to
    look at processes of its own user (ptrace). With the defaults it takes a few minutes.

    Args:
        payouts: How many are paid by each, in each round.
        rounds: Of both, in turn; medians are told.
        output: The folder of the results; where it is not given a new one below .local/bench.
        json: Write the figures for programs.
    """
    # Loaded here, so that looking at a payout loads no servers.
    from ops.bench.budget import Options, markdown, run  # noqa: PLC0415

    screen = Screen()
    folder = folder_of(output, "budget-")
    document = run(Options(payouts=payouts, rounds=rounds, output=folder), screen.say)
    show(screen, document, markdown(document), folder, json=json)
    return Exit.DONE
