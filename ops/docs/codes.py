"""The tables of `docs/reference/codes.md`: every code of the gateway and what it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ops.docs.sections import filled, table
from payouts.domain.code_types import CodeClass, Side
from payouts.domain.codes import CODES

PATH: Final = "docs/reference/codes.md"

EFFECTS: Final[Mapping[CodeClass, tuple[str, str]]] = {
    CodeClass.ACCEPTED: ("`accepted`", "does not occur"),
    CodeClass.QUEUED: ("`accepted`, marked as queued by the broker", "does not occur"),
    CodeClass.COMPLETED: ("`accepted`", "`succeeded`"),
    CodeClass.REFUSED_RETRY: ("`waiting`: the same id is sent again later", "`failed`"),
    CodeClass.REFUSED_FINAL: ("`failed`", "`failed`"),
    CodeClass.CONFIGURATION: (
        "`waiting`; some in a row pause the account",
        "`failed`; some in a row pause the account",
    ),
    CodeClass.DUPLICATE: ("`in_doubt`: an earlier send of this id arrived", "`in_doubt`"),
    CodeClass.INTERMEDIATE: ("`in_doubt`", "no move; a line in the timeline"),
    CodeClass.NOT_FOUND: ("`in_doubt`", "`in_doubt`"),
    CodeClass.AMBIGUOUS: ("`in_doubt`: anything may have happened", "`in_doubt`"),
}
"""Where a class leads in a Response and in a Result, where its code proves what it must."""


def page() -> str:
    """Guarantees the page as it should stand."""
    return filled(PATH, {"classes": _classes(), **{side.value: _codes(side) for side in Side}})


def _classes() -> str:
    rows = ((f"`{klass}`", *EFFECTS[klass]) for klass in CodeClass)
    return table(("class", "in a Response", "in a Result"), *rows)


def _codes(side: Side) -> str:
    rows = (
        (
            f"`{row.code}`",
            row.core.value,
            _cell(row.meaning),
            f"`{row.klass}`",
            "yes" if row.proves_unpaid else "no",
            "" if row.blames is None else row.blames.value,
            _cell(row.source),
        )
        for row in CODES
        if row.side is side
    )
    columns = ("code", "said by", "meaning", "class", "no money moved", "blames", "source")
    return table(columns, *rows)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
