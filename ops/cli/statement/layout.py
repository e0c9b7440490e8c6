"""Which column of a statement tells what: the portal's export by itself, others by a setting."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ops.cli.exits import UsageError
from payouts.settings.kinds import STATEMENT_FIELDS

DELIMITERS: Final = (",", ";", "\t", "|")
HEADER_WITHIN: Final = 100  # Lines; exports begin with the organisation's name, period and such.
_NEEDED: Final = ("receipt", "completed")
_MONEY: Final = ("withdrawn", "amount")
_USUAL: Final[dict[str, tuple[str, ...]]] = {
    "receipt": ("receiptno", "receiptnumber", "receipt"),
    "completed": ("completiontime", "completed", "completeddatetime"),
    "details": ("details", "transactiondetails"),
    "status": ("transactionstatus", "status"),
    "withdrawn": ("withdrawn", "paidout"),
    "paid_in": ("paidin",),
    "amount": ("amount", "transactionamount"),
    "reason": ("reasontype", "reason"),
    "party": ("otherpartyinfo", "otherparty"),
    "linked": ("linkedtransactionid",),
    "originator": ("originatorconversationid", "originalconversationid"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where each field stands in a row; fields that a statement does not have are absent.

    Args:
        delimiter: what parts the cells.
        line: the header's line, counted from 1.
        width: how many columns the header names.
        positions: the cell of each field, counted from 0.
    """

    delimiter: str
    line: int
    width: int
    positions: dict[str, int]

    def cells(self, row: Sequence[str]) -> dict[str, str]:
        """Return the cells by field; a short row lacks those at its end."""
        return {
            field: cleaned(row[position])
            for field, position in self.positions.items()
            if position < len(row)
        }


def cleaned(cell: str) -> str:
    """Return a cell without blanks and without what spreadsheets put around texts."""
    text = cell.strip()
    if text.startswith('="') and text.endswith('"'):
        text = text[2:-1]
    return text.removeprefix("'").strip()


def find_layout(lines: Iterable[str], columns: Sequence[tuple[str, str]]) -> Layout:
    """Return the layout that the first line that names the needed columns tells.

    Args:
        lines: the first lines of the file.
        columns: field and column's name, from PAYOUTS_STATEMENT_COLUMNS; what it does not name
            is looked for under its usual names.

    Raises:
        UsageError: no line names them, or one names a column twice.
    """
    wanted = {**_USUAL, **{field: (_plain(column),) for field, column in columns}}
    for number, line in enumerate(lines, 1):
        for delimiter in DELIMITERS:
            names = _names(line, delimiter)
            positions = _positions(names, wanted)
            if not _enough(positions):
                continue
            _check(names, positions, columns)
            return Layout(delimiter=delimiter, line=number, width=len(names), positions=positions)
    told = dict(columns)
    shown = ", ".join(repr(told[field]) if field in told else field for field in _NEEDED)
    raise UsageError(
        f"None of the first {HEADER_WITHIN} lines names the columns of a statement ({shown}, and"
        f" {' or '.join(told.get(one, one) for one in _MONEY)}). PAYOUTS_STATEMENT_COLUMNS says"
        f" what they are called; its fields are {', '.join(STATEMENT_FIELDS)}."
    )


def _names(line: str, delimiter: str) -> list[str]:
    try:
        return [_plain(cell) for cell in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return []


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def _positions(names: Sequence[str], wanted: dict[str, tuple[str, ...]]) -> dict[str, int]:
    found = {}
    for field, spellings in wanted.items():
        for name in spellings:
            if name in names:
                found[field] = names.index(name)
                break
    return found


def _enough(positions: dict[str, int]) -> bool:
    return all(field in positions for field in _NEEDED) and any(
        field in positions for field in _MONEY
    )


def _check(
    names: Sequence[str], positions: dict[str, int], columns: Sequence[tuple[str, str]]
) -> None:
    missing = [column for field, column in columns if field not in positions]
    if missing:
        raise UsageError(
            f"The statement has no column {', '.join(map(repr, missing))}, which"
            " PAYOUTS_STATEMENT_COLUMNS names."
        )
    twice = sorted(field for field, at in positions.items() if names.count(names[at]) > 1)
    if twice:
        raise UsageError(
            f"The statement has two columns of the name that tells {', '.join(twice)};"
            " rename one of them."
        )
