"""From a row to a command: spreadsheet damage is named, the rest is the contract's own check."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ops.cli.sending.columns import Columns
from ops.cli.sending.csv_file import Row
from payouts.domain.commands import AccountRules, Command, validate
from payouts.domain.errors import InvalidCommandError

_SCIENTIFIC: Final = re.compile(r"[+-]?\d+(?:[.,]\d+)?[eE][+-]?\d+")
_LOST_ZERO: Final = re.compile(r"[71]\d{8}")
_DECIMAL_NUMBER: Final = re.compile(r"\+?\d{9,}[.,]0+")
_SEPARATED: Final = re.compile(r"\+?[\d() .\u00a0/-]+")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_WHOLE_NUMBER: Final = re.compile(r"\+?\d{10,}")
_PLAIN_AMOUNT: Final = re.compile(r"\d+(?:\.\d+)?")
_SUSPECTS: Final = frozenset(("payout_id", "msisdn", "amount"))
_COLUMN_AS_TEXT: Final = "format the column as text and export again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong, and where; `line` 0 is the file as a whole. Never repeats a receiver."""

    line: int
    column: str
    text: str

    def __str__(self) -> str:
        place = f"line {self.line}" if self.line else "the file"
        column = f", {self.column}" if self.column else ""
        return f"{place}{column}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What a row gets that does not say it itself."""

    run_id: str
    account: str


class RowReader:
    """Turns rows into checked commands, the same row always into the same command.

    Args:
        columns: what the header names.
        defaults: run and account of rows that name none.
        rules: the accounts that may pay, by name.
    """

    def __init__(
        self, columns: Columns, defaults: Defaults, rules: Mapping[str, AccountRules]
    ) -> None:
        self._columns = columns
        self._defaults = defaults
        self._rules = rules
        self._derived = "payout_id" not in columns
        self._suspects = tuple(
            (position, name) for position, name in enumerate(columns.names) if name in _SUSPECTS
        )

    def fields(self, row: Row) -> dict[str, object]:
        """Return the fields that the row's command has, unchecked."""
        fields = self._columns.fields(row.cells)
        fields.setdefault("run_id", self._defaults.run_id)
        fields.setdefault("account", self._defaults.account)
        if self._derived:
            fields["payout_id"] = derived_payout_id(str(fields["run_id"]), row)
        return fields

    def read(self, row: Row) -> tuple[Command | None, dict[str, object], list[Problem]]:
        """Return the valid command (or None), the fields to publish, and all problems."""
        problems = self._damage(row)
        fields = self.fields(row)
        rules = self._rules.get(str(fields["account"]))
        if rules is None:
            known = ", ".join(sorted(self._rules))
            text = f"no such account is configured; known: {known}"
            return None, fields, [*problems, Problem(line=row.line, column="account", text=text)]
        try:
            command = validate(fields, rules)
        except InvalidCommandError as error:
            named = {problem.column for problem in problems}
            for said in error.problems:
                column, _, text = said.partition(": ")
                if column not in named:
                    problems.append(Problem(line=row.line, column=column, text=text))
            return None, fields, problems
        return (None if problems else command), fields, problems

    def _damage(self, row: Row) -> list[Problem]:
        """Find what a spreadsheet did to the row, which the contract's check would only refuse."""
        names = self._columns.names
        cells = row.cells
        found = []
        if len(cells) != len(names) and (len(cells) < len(names) or any(cells[len(names) :])):
            text = f"has {len(cells)} cells where the header names {len(names)} columns"
            found.append(Problem(line=row.line, column="", text=text))
        suspects = self._suspects
        if not "".join(cells).isascii():
            suspects = tuple(enumerate(names))  # Broken UTF-8 may stand in every one.
        for position, name in suspects:
            text = _damage_of(name, cells[position]) if position < len(cells) else ""
            if text:
                found.append(Problem(line=row.line, column=name, text=text))
        return found


def _damage_of(name: str, cell: str) -> str:
    if _SURROGATE.search(cell):
        return "is not UTF-8; export the file as “CSV UTF-8”"
    if name == "msisdn":
        return _damage_of_number(cell)
    if name == "amount":
        return _damage_of_amount(cell)
    if name == "payout_id" and _SCIENTIFIC.fullmatch(cell):
        return f"a spreadsheet has turned it into scientific notation; {_COLUMN_AS_TEXT}"
    return ""


def _damage_of_number(cell: str) -> str:
    if _WHOLE_NUMBER.fullmatch(cell):
        return ""
    if _SCIENTIFIC.fullmatch(cell):
        return (
            "a spreadsheet has turned the number into scientific notation and lost its last"
            f" digits; {_COLUMN_AS_TEXT}"
        )
    if _LOST_ZERO.fullmatch(cell):
        return (
            "9 digits: a spreadsheet has dropped the leading 0;"
            f" write 2547… or 2541…, or {_COLUMN_AS_TEXT}"
        )
    if _DECIMAL_NUMBER.fullmatch(cell):
        return f"a spreadsheet has turned the number into a decimal; {_COLUMN_AS_TEXT}"
    if _SEPARATED.fullmatch(cell) and re.search(r"\d[() .\u00a0/-]", cell):
        return "write the number without blanks, hyphens or brackets"
    return ""


def _damage_of_amount(cell: str) -> str:
    if _PLAIN_AMOUNT.fullmatch(cell):
        return ""
    if _SCIENTIFIC.fullmatch(cell):
        return f"a spreadsheet has turned it into scientific notation; {_COLUMN_AS_TEXT}"
    if "," in cell or " " in cell or "\u00a0" in cell:
        return "write it without currency and separators of thousands, such as 1250.50"
    return ""


def derived_payout_id(run_id: str, row: Row) -> str:
    """Return an id for a row without one: the same for the same run, line and content."""
    text = "\x1f".join((run_id, str(row.line), *row.cells))
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    return f"p-{digest[:32]}"


def derived_run_id(file_digest: str) -> str:
    """Return a run id for a file: the same for the same content, whatever the file's name."""
    return f"run-{file_digest[:16]}"
