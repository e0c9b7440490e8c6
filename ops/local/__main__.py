"""`python -m ops.local up|env|down [NAME]`: private servers that stay up while one develops."""

import argparse
import shlex
import sys
import time

from ops.local.errors import LocalServerError
from ops.local.stack import LocalStack, take_down


def main(arguments: list[str] | None = None) -> int:
    """Does one of the three commands; exit status 1 where it failed."""
    parser = argparse.ArgumentParser(prog="python -m ops.local", description=__doc__)
    parser.add_argument("action", choices=("up", "env", "down"))
    parser.add_argument("name", nargs="?", default="dev")
    chosen = parser.parse_args(arguments)
    actions = {"up": _up, "env": _env, "down": _down}
    try:
        actions[chosen.action](chosen.name)
    except LocalServerError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _up(name: str) -> None:
    try:
        LocalStack.attach(name)
    except LocalServerError:
        take_down(name)
        began = time.monotonic()
        stack = LocalStack(name)
        stack.start()
        stack.keep()
        print(f"Up after {time.monotonic() - began:.1f} s.", file=sys.stderr)
    else:
        print("Already up.", file=sys.stderr)
    _env(name)


def _env(name: str) -> None:
    """Prints lines for `eval` in a shell."""
    stack = LocalStack.attach(name)
    variables = {
        "PAYOUTS_AMQP_URL": stack.amqp_url,
        "PAYOUTS_DATABASE_URL": stack.database_url,
        "PAYOUTS_TEST_STACK": name,
    }
    for variable, value in variables.items():
        print(f"export {variable}={shlex.quote(value)}")


def _down(name: str) -> None:
    ended = take_down(name)
    print(f"Ended {ended} processes." if ended else "Nothing was up.", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
