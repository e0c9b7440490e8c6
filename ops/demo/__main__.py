"""`python -m ops.demo [--keep] [--payouts N] | --stop`; `ops/demo.sh` sets up and calls it."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from ops.cli.exits import Exit
from ops.cli.screen import Screen
from ops.demo import keeping, salaries
from ops.demo.app import NAME, Demo, Options
from payouts.domain.errors import PayoutsError

MOST = 20_000
_INTERRUPTED = 128 + signal.SIGINT


def main(arguments: list[str] | None = None) -> int:
    """Run or stop the demo; exit 0 if all is well, 1 if not, 2 for wrong usage."""
    chosen = _parse(arguments)
    screen = Screen()
    try:
        if chosen.stop:
            ended = keeping.stop()
            screen.say(f"Ended {ended} processes." if ended else "Nothing was up.")
            return Exit.DONE
        options = Options(keep=chosen.keep, payouts=chosen.payouts, name=chosen.name)
        return asyncio.run(_interruptible(Demo(options, screen)))
    except PayoutsError as error:
        screen.complain(str(error))
        return Exit.FAILED
    except (KeyboardInterrupt, asyncio.CancelledError):
        screen.say("Interrupted; everything was stopped.")
        return _INTERRUPTED


async def _interruptible(demo: Demo) -> int:
    """Treat SIGTERM and a closed terminal as Ctrl-C: everything is cleaned up."""
    task = asyncio.current_task()
    if task is not None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await demo.run()


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ops/demo.sh", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave everything up at the end")
    parser.add_argument("--stop", action="store_true", help="stop what --keep has left up")
    parser.add_argument(
        "--payouts",
        type=int,
        default=salaries.SHIPPED,
        metavar="N",
        help=f"pay so many, 1 to {MOST:,}, instead of the shipped file's {salaries.SHIPPED:,}",
    )
    parser.add_argument("--name", default=NAME, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if not 1 <= chosen.payouts <= MOST:
        parser.error(f"--payouts must be 1 to {MOST}")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
