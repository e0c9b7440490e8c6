"""The one table of every code that the gateway is known to answer, and what each one proves."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache

from payouts.domain.code_rows import ROWS
from payouts.domain.code_types import Blame, Code, CodeClass, Core, Side

CODES: tuple[Code, ...] = ROWS

_UNKNOWN_MEANING = "This code is not in the table; it is taken as ambiguous until it is."


class Family(StrEnum):
    """Which core answers: newer systems are G2 (since 2015); its rows are looked up first."""

    G2 = "G2"
    G1 = "G1"


@lru_cache(maxsize=1024)
def lookup(side: Side, code: str, family: Family = Family.G2) -> Code:
    """Return what `code` means on this side; all zeros is success, unknown is ambiguous.

    The family's own rows win over the broker's, Daraja's and the other core's. Leading zeros do
    not matter to the success code only (protocol.md, "The choices", 2).
    """
    text = code.strip()
    if text and not text.strip("0"):
        text = "0"
    order = [Core.G2, Core.BROKER, Core.DARAJA, Core.G1]
    if family is Family.G1:
        order = [Core.G1, Core.BROKER, Core.DARAJA, Core.G2]
    found = {row.core: row for row in CODES if row.side is side and row.code == text}
    for core in order:
        if core in found:
            return found[core]
    return Code(
        side=side,
        core=Core.G2,
        code=text,
        meaning=_UNKNOWN_MEANING,
        klass=CodeClass.AMBIGUOUS,
        proves_unpaid=False,
        source="protocol.md, The choices, 2",
    )


def blames_initiator(side: Side, code: str) -> bool:
    """Tell whether a code says that the initiator is locked, or that more tries will lock it.

    Only Results are documented to say so; a Response with such a code is believed as well, since
    a pause needs no proof and is undone by one command.
    """
    sides = {side, Side.RESULT} if side is Side.RESPONSE else {side}
    return any(lookup(one, code).blames is Blame.INITIATOR for one in sides)
