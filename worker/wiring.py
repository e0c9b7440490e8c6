"""Turns settings into what the adapters take; secrets are opened here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping

from payouts.domain.values import AccountName
from payouts.mpesa.settings import (
    DigestForm,
    GatewayAccount,
    HeaderNamespace,
    HeaderTime,
    Timeouts,
    TlsOptions,
)
from payouts.settings import AccountSettings, WorkerSettings


def gateway_accounts(settings: WorkerSettings) -> Mapping[AccountName, GatewayAccount]:
    """Return each account as the wire needs it."""
    return {name: _account(name, one) for name, one in settings.accounts.items()}


def _account(name: AccountName, settings: AccountSettings) -> GatewayAccount:
    return GatewayAccount(
        name=name,
        shortcode=settings.shortcode,
        organisation=settings.organisation,
        sp_id=settings.sp_id,
        sp_password=settings.sp_password.get_secret_value(),
        service_id=settings.service_id,
        initiator_username=settings.initiator_username,
        initiator_password=settings.initiator_password.get_secret_value(),
        api_certificate=settings.api_certificate.read_bytes(),
        gateway_url=settings.gateway_url,
        query_url=settings.query_url or "",
        result_url=settings.result_url,
        queue_timeout_url=settings.queue_timeout_url,
        third_party_id=settings.third_party_id,
        header_namespace=HeaderNamespace[settings.header_namespace.name],
        header_time=HeaderTime[settings.header_time.name],
        digest=DigestForm[settings.digest.name],
        zone=settings.utc_offset,
    )


def timeouts_of(settings: WorkerSettings) -> Timeouts:
    """Return how long to wait for the gateway."""
    return Timeouts(
        connect_s=settings.connect_timeout_s,
        total_s=settings.request_timeout_s,
        keep_alive_s=settings.keep_alive_s,
    )


def tls_of(settings: WorkerSettings) -> TlsOptions:
    """Return how TLS to the gateway is made."""
    password = settings.gateway_key_password
    return TlsOptions(
        ca_file=settings.gateway_ca,
        certificate_file=settings.gateway_certificate,
        key_file=settings.gateway_key,
        key_password=None if password is None else password.get_secret_value(),
    )
