"""Makes settings of values, or tells every problem at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from payouts.domain.errors import SettingsError
from payouts.domain.values import AccountName
from payouts.settings.accounts import DEFAULT_ACCOUNT, AccountSettings, RuleSettings
from payouts.settings.groups import Group, variable_of
from payouts.settings.kinds import NAME_PATTERN
from payouts.settings.sources import (
    Given,
    Problem,
    Values,
    read_table,
    read_tables,
    read_variables,
    shown,
)

ACCOUNTS_FILE: Final = "PAYOUTS_ACCOUNTS_FILE"

G = TypeVar("G", bound=Group)
R = TypeVar("R", bound=RuleSettings)


class Loading:
    """One reading of the environment that collects what is wrong; `finish` tells it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._problems: dict[str, Problem] = {}

    def group(self, kind: type[G], **parts: object) -> G | None:
        """Return settings of this kind; None if something is wrong.

        Args:
            kind: which settings.
            parts: fields that were made before; None where that failed.
        """
        names = [name for name in kind.model_fields if name not in parts]
        values = read_variables(self._environ, names)
        self._note(values.problems)
        made = {name: {} if part is None else part for name, part in parts.items()}
        return self._make(kind, {**values.texts, **made}, values.unreadable, "")

    def accounts(self, kind: type[R]) -> Mapping[AccountName, R] | None:
        """Return the settings of each account; None if something is wrong."""
        tables = self._tables()
        if tables is None:
            return None
        inherited = read_variables(self._environ, kind.model_fields)
        self._note(inherited.problems)
        accounts: dict[AccountName, R] = {}
        for name, table in tables.items():
            made = self._account(kind, name, table, inherited)
            if made is not None:
                accounts[AccountName(name)] = made
        return accounts

    def account_names(self) -> tuple[AccountName, ...]:
        """Return the names of the accounts, without looking at their settings."""
        return tuple(AccountName(name) for name in self._tables() or {})

    def finish(self) -> None:
        """Raise SettingsError if anything was wrong."""
        if self._problems:
            raise SettingsError(tuple(self._problems))

    def _tables(self) -> Mapping[str, Mapping[str, object] | None] | None:
        if not self._environ.get(ACCOUNTS_FILE):
            return {DEFAULT_ACCOUNT: None}
        tables = read_tables(self._environ, ACCOUNTS_FILE)
        if isinstance(tables, Values):
            self._note(tables.problems)
            return None
        for name in tables:
            if NAME_PATTERN.fullmatch(name) is None:
                text = "must be named by 1-64 of A-Z a-z 0-9 . _ -"
                self._note([Problem(f"{ACCOUNTS_FILE} [{shown(name)}]", text)])
        return tables

    def _account(
        self,
        kind: type[R],
        name: str,
        table: Mapping[str, object] | None,
        inherited: Values,
    ) -> R | None:
        if table is None:
            return self._make(kind, inherited.texts, inherited.unreadable, "")
        # A table has all settings of an account, also those that this kind does not look at.
        where = f"{ACCOUNTS_FILE} [{shown(name)}]"
        own = read_table(table, AccountSettings.model_fields, where)
        wanted = {key: text for key, text in own.texts.items() if key in kind.model_fields}
        self._note(own.problems)
        unreadable = inherited.unreadable | own.unreadable
        return self._make(
            kind, {**inherited.texts, **wanted}, unreadable, f" (account {shown(name)})"
        )

    def _make(
        self, kind: type[G], values: Mapping[str, object], unreadable: set[str], whose: str
    ) -> G | None:
        only: dict[str, Any] = {"_build_sources": ((Given(kind, values),), {})}
        try:
            return kind(**only)
        except ValidationError as error:
            hidden = {variable_of(name) for name in unreadable}
            self._note(
                [
                    Problem(problem.variable + whose, problem.text)
                    for problem in map(_problem_of, error.errors(include_url=False))
                    if problem.variable not in hidden
                ]
            )
            return None

    def _note(self, problems: list[Problem]) -> None:
        self._problems.update({str(problem): problem for problem in problems})


def _problem_of(error: ErrorDetails) -> Problem:
    """Return a problem of pydantic's; its text names limits and choices, never the value."""
    text = error["msg"].removeprefix("Value error, ")
    variable = variable_of(str(error["loc"][0]))
    if error["type"] == "missing":
        return Problem(variable, "is required")
    text = text.replace("Input should be", "must be").replace("String should have", "must have")
    return Problem(variable, text)
