"""What each process needs to know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self, TypeVar

from pydantic import Field

from payouts.domain.errors import SettingsError
from payouts.domain.values import AccountName
from payouts.settings.accounts import AccountSettings, RuleSettings
from payouts.settings.groups import (
    AdminSettings,
    BrokerSettings,
    CallbackServerSettings,
    EventSettings,
    GatewaySettings,
    Group,
    IntakeSettings,
    LogSettings,
    OperatorSettings,
    PolicySettings,
    ProcessSettings,
    SendingSettings,
    StatementSettings,
    StoreSettings,
)
from payouts.settings.loading import Loading

G = TypeVar("G", bound=Group)


class WorkerSettings(
    IntakeSettings,
    GatewaySettings,
    PolicySettings,
    EventSettings,
    ProcessSettings,
    AdminSettings,
    BrokerSettings,
    StoreSettings,
    LogSettings,
):
    """What a worker needs; each account with all that its requests take."""

    accounts: Mapping[AccountName, AccountSettings] = Field(description="by name")

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        """Return the settings that `environ` tells.

        Raises:
            SettingsError: with every problem, each with its variable's name.
        """
        loading = Loading(environ)
        accounts = loading.accounts(AccountSettings)
        return _finished(loading, loading.group(cls, accounts=accounts))


class CallbackSettings(
    CallbackServerSettings,
    PolicySettings,
    EventSettings,
    ProcessSettings,
    AdminSettings,
    BrokerSettings,
    StoreSettings,
    LogSettings,
):
    """What a callback server needs: no credential of the gateway, only the accounts' names."""

    account_names: tuple[AccountName, ...] = Field(description="for the topology")

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        """Return the settings that `environ` tells.

        Raises:
            SettingsError: with every problem, each with its variable's name.
        """
        loading = Loading(environ)
        names = loading.account_names()
        return _finished(loading, loading.group(cls, account_names=names))


class DatabaseSettings(StoreSettings, LogSettings):
    """What a command of the command line needs that only looks at the database."""

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        """Return the settings that `environ` tells.

        Raises:
            SettingsError: with every problem, each with its variable's name.
        """
        loading = Loading(environ)
        return _finished(loading, loading.group(cls))


class OrderSettings(OperatorSettings, DatabaseSettings):
    """What an order of an operator needs."""


class RehearsalSettings(SendingSettings, DatabaseSettings):
    """What `payouts send --dry-run` needs to look at the database."""


class DeadLetterSettings(BrokerSettings, LogSettings):
    """What a look at the dead letters needs."""

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        """Return the settings that `environ` tells.

        Raises:
            SettingsError: with every problem, each with its variable's name.
        """
        loading = Loading(environ)
        return _finished(loading, loading.group(cls))


class DeadLetterOrderSettings(OrderSettings, BrokerSettings):
    """What an order about dead letters needs: their queue, and the audit."""


class ReconcileSettings(StatementSettings, StoreSettings, LogSettings):
    """What a comparison of a statement with the books needs: of the accounts their names only."""

    account_names: tuple[AccountName, ...] = Field(description="whose statement it can be")

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        """Return the settings that `environ` tells.

        Raises:
            SettingsError: with every problem, each with its variable's name.
        """
        loading = Loading(environ)
        names = loading.account_names()
        return _finished(loading, loading.group(cls, account_names=names))


class SendSettings(SendingSettings, BrokerSettings, StoreSettings, LogSettings):
    """What `payouts send` needs: the accounts' rules, none of their credentials."""

    accounts: Mapping[AccountName, RuleSettings] = Field(description="by name")

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        """Return the settings that `environ` tells.

        Raises:
            SettingsError: with every problem, each with its variable's name.
        """
        loading = Loading(environ)
        accounts = loading.accounts(RuleSettings)
        return _finished(loading, loading.group(cls, accounts=accounts))


def _finished(loading: Loading, settings: G | None) -> G:
    loading.finish()
    if settings is None:
        raise SettingsError(
            ("the configuration is not usable, for a reason not told; report this",)
        )
    return settings
