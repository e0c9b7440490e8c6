"""`payouts bench`: this system and what one would build instead, measured in one run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from ops.cli.exits import Exit, UsageError
from ops.cli.measured import folder_of, show
from ops.cli.screen import Screen

HALF_LOADS: Final = 3

Positive = Annotated[int, Parameter(validator=Number(gte=1))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured.

    Args:
        payouts: The most commands that wait at the start of a round.
        seconds: About how long a round drains; a slow stack gets fewer payouts for it.
        rounds: Of each stack, in turn.
        half_load: Also time each step while commands come at half of a stack's throughput.
        concurrency: Requests in flight.
    """

    payouts: Positive = 12_000
    seconds: Annotated[float, Parameter(validator=Number(gt=0))] = 12.0
    rounds: Positive = 5
    half_load: Annotated[bool, Parameter(negative="--no-half-load")] = True
    concurrency: Positive = 100


def bench(
    *,
    stacks: str = "bare,ours,faststream,celery",
    size: Annotated[Size | None, Parameter(name="*")] = None,
    output: Path | None = None,
    json: bool = False,
) -> int:
    """Compare throughput, CPU, memory and latency with those of other stacks.

    RabbitMQ, PostgreSQL and the gateway simulator are started for it, private, on this machine.
    With the defaults it takes about a quarter of an hour; let the machine do nothing else.

    Args:
        stacks: Which ones, comma-separated: bare, ours, faststream, celery.
        size: How much is measured.
        output: The folder of the results; where it is not given a new one below .local/bench.
        json: Write the figures for programs.
    """
    # Loaded here, so that looking at a payout loads no servers.
    from ops.bench.findings import Options  # noqa: PLC0415
    from ops.bench.run import run  # noqa: PLC0415
    from ops.bench.stacks import PEER_PYTHON, STACKS  # noqa: PLC0415

    screen = Screen()
    names = list(dict.fromkeys(name.strip() for name in stacks.split(",") if name.strip()))
    if not names or not STACKS.keys() >= set(names):
        raise UsageError(f"--stacks must be of {', '.join(STACKS)}.")
    if any(STACKS[name].needs_peers for name in names) and not PEER_PYTHON.exists():
        raise UsageError("The peer stacks have an environment of their own: call ops/bench.sh.")
    chosen = size or Size()
    options = Options(
        stacks=names,
        rounds=chosen.rounds,
        payouts=chosen.payouts,
        seconds=chosen.seconds,
        concurrency=chosen.concurrency,
        half_loads=min(chosen.rounds, HALF_LOADS) if chosen.half_load else 0,
        output=folder_of(output),
    )
    results = run(options, screen.say)
    show(screen, results.document, results.markdown, options.output, json=json)
    return Exit.DONE
