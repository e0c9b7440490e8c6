"""`python -m ops.local up|env|down [NAME]`: private servers that stay up while one develops.

`check` prints where the programs of both are found.
"""

import argparse
import shlex
import sys
import time
from pathlib import Path

from ops.local.errors import LocalServerError
from ops.local.places import default_root
from ops.local.postgresql import find_binaries
from ops.local.rabbitmq import find_epmd, find_script
from ops.local.stack import LocalStack, take_down


def main(arguments: list[str] | None = None) -> int:
    """Does one of the three commands; exit status 1 where it failed."""
    parser = argparse.ArgumentParser(prog="python -m ops.local", description=__doc__)
    parser.add_argument("action", choices=("up", "env", "down", "check"))
    parser.add_argument("name", nargs="?", default="dev")
    parser.add_argument(
        "--root", type=Path, default=default_root(), help="the folder of all stacks"
    )
    chosen = parser.parse_args(arguments)
    actions = {"up": _up, "env": _env, "down": _down, "check": _check}
    try:
        actions[chosen.action](chosen.name, chosen.root)
    except LocalServerError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _up(name: str, root: Path) -> None:
    try:
        LocalStack.attach(name, root=root)
    except LocalServerError:
        take_down(name, root=root)
        began = time.monotonic()
        stack = LocalStack(name, root=root)
        stack.start()
        stack.keep()
        print(f"Up after {time.monotonic() - began:.1f} s.", file=sys.stderr)
    else:
        print("Already up.", file=sys.stderr)
    _env(name, root)


def _env(name: str, root: Path) -> None:
    """Prints lines for `eval` in a shell."""
    stack = LocalStack.attach(name, root=root)
    variables = {
        "PAYOUTS_AMQP_URL": stack.amqp_url,
        "PAYOUTS_DATABASE_URL": stack.database_url,
        "PAYOUTS_TEST_STACK": name,
    }
    for variable, value in variables.items():
        print(f"export {variable}={shlex.quote(value)}")


def _down(name: str, root: Path) -> None:
    ended = take_down(name, root=root)
    print(f"Ended {ended} processes." if ended else "Nothing was up.", file=sys.stderr)


def _check(_: str, root: Path) -> None:
    root.mkdir(exist_ok=True)
    print(find_script(), find_epmd(), find_binaries(root), sep="\n")


if __name__ == "__main__":
    raise SystemExit(main())
