"""The columns of a file: which command field each one fills."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Final

from payouts.domain.commands import FIELDS

METADATA: Final = "metadata."
_MOST_DIGITS: Final = 4
_MOST_COLUMNS: Final = 256
_LISTED: Final = 20
_PLAIN: Final = re.compile(r"[a-z][a-z0-9_.-]{0,31}")
COLUMNS: Final = (
    "payout_id",
    "amount",
    "msisdn",
    "command_id",
    "account",
    "currency",
    "run_id",
    "remark",
    "occasion",
    "not_after",
)
NEEDED: Final = ("amount", "msisdn")
_COMMON: Final[Mapping[str, str]] = {
    "phone": "msisdn",
    "phone number": "msisdn",
    "phone_number": "msisdn",
    "mobile": "msisdn",
    "number": "msisdn",
    "telephone": "msisdn",
    "receiver": "msisdn",
    "id": "payout_id",
    "reference": "payout_id",
    "ref": "payout_id",
    "sum": "amount",
    "value": "amount",
    "type": "command_id",
    "run": "run_id",
    "note": "remark",
    "remarks": "remark",
    "name": "metadata.name",
}


class Columns:
    """Which field stands in which cell; `metadata` keys likewise."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self._keys = tuple(
            (name, name.removeprefix(METADATA) if name.startswith(METADATA) else None)
            for name in names
        )

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def fields(self, cells: Sequence[str]) -> dict[str, object]:
        """Return the command's fields that the cells tell; an empty cell is an absent field."""
        fields: dict[str, object] = {}
        metadata: dict[str, str] = {}
        for (name, key), cell in zip(self._keys, cells, strict=False):
            if not cell:
                continue
            if key is None:
                fields[name] = cell
            else:
                metadata[key] = cell
        if metadata:
            fields["metadata"] = metadata
        return fields


def read_columns(header: Sequence[str]) -> tuple[Columns, list[str]]:
    """Return the columns and every problem of the header, each naming its column.

    Names are compared without regard to case; the key after `metadata.` keeps its case.
    """
    if len(header) > _MOST_COLUMNS:
        return Columns(()), [f"names {len(header)} columns; {_MOST_COLUMNS} are taken"]
    names = [_known(name) for name in header]
    problems: list[str] = []
    for position, name in enumerate(names, 1):
        if len(problems) == _LISTED:
            problems.append("and more")
            break
        if not name:
            problems.append(f"column {position} has no name")
        elif not name.startswith(METADATA) and name not in COLUMNS:
            problems.append(f"{_shown(name, position)}{_hint(name)}")
        elif name == METADATA:
            problems.append(f"column {position}: name the key after “metadata.”")
        elif name in names[: position - 1]:
            problems.append(f"column {_plainly(name, position)} stands there twice")
    problems.extend(
        f"column {name} is missing{_lookalike(name, names)}" for name in NEEDED if name not in names
    )
    return Columns(tuple(names)), problems


def _known(name: str) -> str:
    lower = name.lower()
    if lower.startswith(METADATA):
        return METADATA + name[len(METADATA) :]
    return lower


def _shown(name: str, position: int) -> str:
    # A file without a header has a receiver's number or name where a column's should be.
    if sum(character.isdigit() for character in name) > _MOST_DIGITS:
        return f"column {position} has no name but data: the first line must name the columns"
    if name in _COMMON or _PLAIN.fullmatch(name):
        return f"unknown column {name!a}"
    return f"unknown column at position {position}"


def _plainly(name: str, position: int) -> str:
    key = name.removeprefix(METADATA)
    return name if _PLAIN.fullmatch(key.lower()) else str(position)


def _hint(name: str) -> str:
    if name == "metadata":
        return ": give each key a column of its own, such as metadata.department"
    close = difflib.get_close_matches(name, sorted(FIELDS - {"metadata"}), n=1)
    wanted = _COMMON.get(name) or (close[0] if close else None)
    if wanted is not None:
        return f": did you mean {wanted}?"
    return f": known are {', '.join(COLUMNS)} and metadata.KEY"


def _lookalike(name: str, names: Sequence[str]) -> str:
    found = [ascii(one) for one in names if _COMMON.get(one) == name]
    return f" (is it {found[0]}?)" if found else ""
