"""`payouts codes`: the table of every code that the gateway is known to answer."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from ops.cli.exits import Exit
from ops.cli.screen import Screen, table
from payouts.domain.code_types import Code, CodeClass, Core, Side
from payouts.domain.codes import CODES


def codes(
    code: str = "",
    /,
    *,
    side: Side | None = None,
    core: Core | None = None,
    klass: Annotated[CodeClass | None, Parameter(name="--class")] = None,
    json: bool = False,
) -> Exit:
    """Print every code that the gateway is known to answer, and what each one proves.

    A code that is not in the table is taken as ambiguous: the payout is in doubt, not failed.

    Args:
        code: Only this code, such as 15.
        side: Only what is said there: at once, in the Result, or in the Result of a query.
        core: Only what this part of the system says.
        klass: Only codes that mean this for a payout.
        json: Write a JSON array.
    """
    rows = [
        row
        for row in CODES
        if code in {"", row.code}
        and (side is None or row.side is side)
        and (core is None or row.core is core)
        and (klass is None or row.klass is klass)
    ]
    screen = Screen()
    if json:
        screen.json([code_record(row) for row in rows])
    else:
        screen.show(
            table(
                ("side", "core", "code", "class", "proves unpaid", "meaning", "source"),
                (
                    (
                        row.side.value,
                        row.core.value,
                        row.code,
                        row.klass.value,
                        "yes" if row.proves_unpaid else "",
                        row.meaning,
                        row.source,
                    )
                    for row in rows
                ),
                right=("code",),
            )
        )
    if not rows:
        screen.say("No code fits; whatever is not in the table is ambiguous.")
    return Exit.DONE


def code_record(row: Code) -> dict[str, object]:
    """Return a code as `--json` tells it."""
    return {
        "side": row.side.value,
        "core": row.core.value,
        "code": row.code,
        "meaning": row.meaning,
        "class": row.klass.value,
        "proves_unpaid": row.proves_unpaid,
        "source": row.source,
    }
