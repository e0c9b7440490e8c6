"""`payouts worker`, `payouts callback-server`, `payouts simulator`: the deployables, by name.

Each is imported only when it is asked for, so that looking at a payout loads no XML library.
"""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

Processes = Annotated[int, Parameter(validator=Number(gte=1, lte=256))]


def worker(*, processes: Processes = 1) -> int:
    """Take commands, send requests to the gateway, settle doubt, publish events.

    Runs until SIGTERM or SIGINT, then drains. Configured by the environment.

    Args:
        processes: How many worker processes to run; one that dies is started again.
    """
    from worker.app import run  # noqa: PLC0415 - see the module's first words

    return run(processes)


def callback_server(*, processes: Processes = 1) -> int:
    """Take Results and queue time-outs from M-PESA and publish completion events.

    Runs until SIGTERM or SIGINT, then drains. Configured by the environment.

    Args:
        processes: How many processes share the port; one that dies is started again.
    """
    from callback_server.app import run  # noqa: PLC0415 - see the module's first words

    return run(processes)


def simulator() -> int:
    """Run a gateway that behaves like M-PESA's and pays nobody; for tests only.

    Prints one JSON line with its addresses once it serves. Configured by the environment, by the
    variables of docs/reference/simulator.md.
    """
    from ops.simulator.app import run  # noqa: PLC0415 - see the module's first words

    return run()
