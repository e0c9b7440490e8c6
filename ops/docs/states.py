"""The tables of `docs/reference/states.md`: the life of a payout, from its one table."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Final

from ops.docs.sections import filled, table
from payouts.domain import payout
from payouts.domain.payout import ENDED, TRANSITIONS, State, sources_of

PATH: Final = "docs/reference/states.md"

MEANINGS: Final[Mapping[State, str]] = {
    State.RECEIVED: "The payout is durable and nothing has been sent.",
    State.SUBMITTING: "An attempt is written down; its request is about to be on the wire, or is.",
    State.WAITING: "The last attempt was certainly not taken. It is sent again later.",
    State.ACCEPTED: "The gateway has taken it, or keeps it in its queue. A Result will come.",
    State.IN_DOUBT: "The gateway may have taken it. Nobody knows yet, so it is asked.",
    State.SUCCEEDED: "The money moved.",
    State.FAILED: "It is certain that no money moved.",
}
BORN: Final = (State.RECEIVED, State.SUBMITTING, State.FAILED)
"""The states in which a payout may begin (`payouts.ports.Intent`)."""

_COMMENTED: Final = re.compile(r'^ {4}# (?P<comment>.+)\n {4}(?P<name>[A-Z_]+) = "', re.MULTILINE)


def page() -> str:
    """Guarantees the page as it should stand."""
    return filled(
        PATH,
        {
            "states": _states(),
            "matrix": _matrix(),
            "transitions": _transitions(),
            "diagram": f"```mermaid\n{diagram()}\n```",
        },
    )


def actors() -> Mapping[State, str]:
    """Guarantees for each state the comment in the code that names who moves payouts in and out."""
    source = inspect.getsource(payout)
    found = {one["name"]: one["comment"] for one in _COMMENTED.finditer(source)}
    return {state: found[state.name] for state in State}


def diagram() -> str:
    """Guarantees a Mermaid state diagram with every legal transition."""
    lines = ["stateDiagram-v2"]
    lines += [f"    [*] --> {state}" for state in BORN]
    lines += [f"    {source} --> {target}" for source, target in TRANSITIONS]
    lines += [f"    {state} --> [*]" for state in State if state in ENDED]
    return "\n".join(lines)


def _states() -> str:
    who = actors()
    rows = ((f"`{state}`", MEANINGS[state], who[state]) for state in State)
    return table(("state", "means", "who moves it"), *rows)


def _matrix() -> str:
    targets = [state for state in State if sources_of(state)]
    rows = (
        (f"`{source}`", *("●" if (source, target) in TRANSITIONS else " " for target in targets))
        for source in State
    )
    return table(("from ↓ to →", *(f"`{target}`" for target in targets)), *rows)


def _transitions() -> str:
    rows = ((f"`{one}`", f"`{other}`", why) for (one, other), why in TRANSITIONS.items())
    return table(("from", "to", "when"), *rows)
