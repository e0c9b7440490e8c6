"""Which paying accounts are configured here."""

from __future__ import annotations

import os

from payouts.domain.values import AccountName
from payouts.settings.loading import Loading


def configured_accounts() -> tuple[AccountName, ...]:
    """Return the names of the configured accounts; nothing else of them is looked at.

    Raises:
        SettingsError: the accounts file cannot be read.
    """
    loading = Loading(os.environ)
    names = loading.account_names()
    loading.finish()
    return names
