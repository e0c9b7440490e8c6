"""The command `payouts`, put together; every error ends as one clear line and an exit status."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from cyclopts import App, CycloptsError, Group, Parameter

from ops.cli import (
    accounts,
    benchmark,
    budgeting,
    codes,
    database,
    filled,
    growing,
    listing,
    pacing,
    processes,
    runs,
    scaled,
    show,
    verifying,
)
from ops.cli.dead_letters import commands as dead_letters
from ops.cli.exits import CommandError, Exit
from ops.cli.orders import archiving, asking, audit, commands, pausing, restored
from ops.cli.screen import Screen
from ops.cli.sending import command as sending
from payouts.domain.errors import PayoutsError, SettingsError

_PLAIN = Parameter(negative=())
_INTERRUPTED = 128 + signal.SIGINT
_EPILOGUE = (
    "Exit status: 0 done; 1 failed; 2 wrong usage or configuration; 3 done, but not every payout"
    " succeeded. Settings come from the environment (docs/reference/settings.md); `--json` writes"
    " for programs; `NO_COLOR` is respected."
)


def build_app() -> App:
    """Return the command with all its commands; nothing is run or connected."""
    app = App(
        name="payouts",
        help="Pay out over M-PESA: nobody is paid twice, nothing is lost.",
        help_epilogue=_EPILOGUE,
        help_format="markdown",
        version=_version,
        default_parameter=_PLAIN,
        suppress_keyboard_interrupt=False,
        exit_on_error=False,
        print_error=False,
        result_action="return_value",
    )
    running = Group("Run", sort_key=0)
    paying = Group("Pay", sort_key=1)
    looking = Group("Look", sort_key=2)
    steering = Group("Steer", sort_key=3)
    app["--help"].group = app["--version"].group = Group("About", sort_key=4)

    app.command(processes.worker, group=running)
    app.command(processes.callback_server, group=running)
    app.command(processes.simulator, group=running)
    app.command(_benchmarks(running))
    app.command(_database(running))

    app.command(sending.send, group=paying)

    app.command(show.show, group=looking)
    app.command(listing.list_payouts, name="list", group=looking)
    app.command(_runs(looking))
    app.command(verifying.verify, group=looking)
    app.command(codes.codes, group=looking)

    _add_steering(app, steering)
    return app


def _add_steering(app: App, group: Group) -> None:
    app.command(accounts.accounts, group=group)
    app.command(pausing.pause, group=group)
    app.command(pausing.resume, group=group)
    app.command(commands.hold, group=group)
    app.command(commands.release, group=group)
    app.command(commands.cancel, group=group)
    app.command(commands.retry, group=group)
    app.command(asking.reconcile, group=group)
    app.command(commands.resolve, group=group)
    app.command(archiving.archive, group=group)

    events = _part("events", "Work with completion events.", group)
    events.command(commands.republish)
    app.command(events)

    letters = _part("dead-letters", "Work through what makes no payout.", group)
    letters.command(dead_letters.list_letters, name="list")
    letters.command(dead_letters.show_letter, name="show")
    letters.command(dead_letters.replay)
    letters.command(dead_letters.discard)
    app.command(letters)

    trail = _part("audit", "See who ordered what, and why.", group)
    trail.command(audit.list_lines, name="list")
    trail.command(audit.verify)
    app.command(trail)


def _database(group: Group) -> App:
    schema = _part("db", "Look after the database.", group)
    schema.command(database.upgrade)
    schema.command(database.current)
    schema.command(restored.restored)
    return schema


def _benchmarks(group: Group) -> App:
    bench = App(name="bench", group=group, default_parameter=_PLAIN)
    bench.default(benchmark.bench)
    bench.command(budgeting.budget)
    bench.command(filled.full)
    bench.command(growing.growth)
    bench.command(pacing.pace)
    bench.command(scaled.processes)
    return bench


def _runs(group: Group) -> App:
    run = _part("run", "Look at disbursement runs, and steer them.", group)
    run.command(runs.show_run, name="show")
    run.command(pausing.pause_run, name="pause")
    run.command(pausing.resume_run, name="resume")
    return run


def _part(name: str, text: str, group: Group) -> App:
    return App(name=name, help=text, group=group, default_parameter=_PLAIN)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status of contract.md §5; nothing is raised."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    screen = Screen()
    try:
        outcome = build_app()(tokens)
    except CycloptsError as error:
        screen.complain(f"{error}\nSee `payouts {_help_for(error)}--help`.")
        return Exit.USAGE
    except SettingsError as error:
        screen.complain(str(error))
        return Exit.USAGE
    except CommandError as error:
        screen.complain(str(error))
        return error.status
    except PayoutsError as error:
        screen.complain(str(error))
        return Exit.FAILED
    except KeyboardInterrupt:
        screen.say("Interrupted.")
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has gone, such as `head`; nothing is left to be told.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    except Exception as error:  # noqa: BLE001 - the last resort; a message could hold a number
        screen.complain(f"This should not happen: {_place_of(error)}. Please report it.")
        return Exit.FAILED
    return int(outcome) if isinstance(outcome, int) else Exit.DONE


def _version() -> str:
    try:
        return version("mpesa-payouts")
    except PackageNotFoundError:
        return "not installed"


def _help_for(error: CycloptsError) -> str:
    chain = error.command_chain or ()
    return "".join(f"{name} " for name in chain)


def _place_of(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    place = f" at {Path(last.filename).name}:{last.lineno}" if last else ""
    return f"{type(error).__name__}{place}"
