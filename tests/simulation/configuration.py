"""The settings of simulated processes: the product's own, read once, changed by the scenario."""

from __future__ import annotations

from functools import cache
from typing import Final

from payouts.domain.values import AccountName
from payouts.settings import CallbackSettings, WorkerSettings
from tests.simulation.scenario import Scenario

SHORTCODES: Final = {AccountName("default"): "600000", AccountName("second"): "600001"}
ORGANISATION: Final = "ORG"
_ENVIRONMENT: Final = {
    "PAYOUTS_AMQP_URL": "amqp://localhost/",
    "PAYOUTS_DATABASE_URL": "postgresql://localhost/books",
    "PAYOUTS_GATEWAY_URL": "http://localhost/",
    "PAYOUTS_SP_ID": "sp",
    "PAYOUTS_SP_PASSWORD": "nobody",
    "PAYOUTS_SERVICE_ID": "service",
    "PAYOUTS_INITIATOR_USERNAME": "initiator",
    "PAYOUTS_INITIATOR_PASSWORD": "nobody",
    "PAYOUTS_API_CERTIFICATE": __file__,  # Nothing is encrypted here; it has to be a file.
    "PAYOUTS_SHORTCODE": SHORTCODES[AccountName("default")],
    "PAYOUTS_ORGANISATION": ORGANISATION,
    "PAYOUTS_RESULT_URL": "http://localhost/mpesa/result",
    "PAYOUTS_QUEUE_TIMEOUT_URL": "http://localhost/mpesa/timeout",
}


@cache
def _worker_defaults() -> WorkerSettings:
    return WorkerSettings.load(_ENVIRONMENT)


@cache
def _callback_defaults() -> CallbackSettings:
    return CallbackSettings.load(_ENVIRONMENT)


def account_names(scenario: Scenario) -> tuple[AccountName, ...]:
    """Return the accounts of this world."""
    names = tuple(SHORTCODES)
    return names if scenario.two_accounts else names[:1]


def worker_settings(scenario: Scenario) -> WorkerSettings:
    """Return a worker's settings in this world."""
    defaults = _worker_defaults()
    account = defaults.accounts[AccountName("default")]
    accounts = {
        name: account.model_copy(update={"shortcode": SHORTCODES[name]})
        for name in account_names(scenario)
    }
    return defaults.model_copy(update={**scenario.settings, "accounts": accounts})


def callback_settings(scenario: Scenario) -> CallbackSettings:
    """Return a callback server's settings in this world."""
    defaults = _callback_defaults()
    known = {
        name: value
        for name, value in scenario.settings.items()
        if name in CallbackSettings.model_fields
    }
    return defaults.model_copy(update={**known, "account_names": account_names(scenario)})
