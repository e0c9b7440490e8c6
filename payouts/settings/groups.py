"""Settings by what they are about. A field's name in upper case behind PAYOUTS_ is its variable.

`docs/reference/settings.md` is generated from the descriptions, which end without a full stop.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta, timezone
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from payouts.domain.decisions import Ambiguous, Policies
from payouts.settings.kinds import (
    AmqpUrl,
    Count,
    DatabaseUrl,
    Folder,
    Name,
    Networks,
    Pattern,
    Port,
    ReadableFile,
    Seconds,
    SecondsOrZero,
    StatementColumns,
    UrlPath,
    UtcOffset,
)

PREFIX: Final = "PAYOUTS_"
STATEMENT_PAYMENTS: Final = r"(business|salary|promotion) ?payment|payment to customer|b2c"

N = TypeVar("N", int, float)


class LogFormat(StrEnum):
    """How log lines look."""

    JSON = "json"
    CONSOLE = "console"


class LogLevel(StrEnum):
    """From which level on lines are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class AckNamespaceName(StrEnum):
    """Which of the two documented namespaces an acknowledgement has (protocol.md §4.5)."""

    REQUEST = "request"
    RESULT = "result"


class Group(BaseSettings):
    """A frozen group of settings whose errors and repr repeat no value that is secret."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True
    )


def variable_of(name: str) -> str:
    """Return the variable of a field, such as PAYOUTS_TPS of `tps`."""
    return PREFIX + name.upper()


def at_least(value: N, other: str, info: ValidationInfo) -> N:
    """Return a value that is not below that of an earlier field, which may itself be wrong."""
    floor = info.data.get(other)
    if floor is not None and value < floor:
        raise ValueError(f"must be at least {variable_of(other)}")
    return value


def only_with(value: Path | None, other: str, info: ValidationInfo) -> Path | None:
    """Return a path that makes sense only where an earlier field has one."""
    if value is not None and info.data.get(other, value) is None:
        raise ValueError(f"needs {variable_of(other)}")
    return value


class LogSettings(Group):
    """Logs."""

    log_format: LogFormat = Field(LogFormat.JSON, description="`json` or `console`")
    log_level: LogLevel = Field(
        LogLevel.INFO, description="`debug`, `info`, `warning` or `error`; from which level on"
    )


class StoreSettings(Group):
    """Database."""

    database_url: DatabaseUrl = Field(description="`postgresql://…` (the driver is ours to add)")


class BrokerSettings(Group):
    """RabbitMQ."""

    amqp_url: AmqpUrl = Field(description="`amqp://` or `amqps://`")
    prefix: Name = Field(
        "payouts", description="with what the names of all exchanges and queues begin"
    )


class EventSettings(Group):
    """Events."""

    mandatory_events: bool = Field(
        default=True,
        description="an event that no queue takes stays in the outbox and is tried again",
    )
    progress_events: bool = Field(
        default=False, description="also publish `payout.accepted` and `payout.in_doubt`"
    )
    show_msisdn: bool = Field(
        default=False, description="events carry the receiver's full number instead of a masked one"
    )


class AdminSettings(Group):
    """Health and metrics."""

    admin_host: str = Field("127.0.0.1", description="bind address of health and metrics")
    admin_port: Port = Field(
        0, description="port of health and metrics of each process; 0 = any free port, logged"
    )


class ProcessSettings(Group):
    """Processes."""

    drain_s: Seconds = Field(25.0, description="how long a process may finish after SIGTERM")
    worker_lease_s: Seconds = Field(
        15.0,
        ge=1,
        description="a worker that has not been heard of for this long is dead; what it had in"
        " flight goes to `in_doubt`",
    )


class PolicySettings(Group):
    """Waiting, doubt and retries."""

    ambiguous: Ambiguous = Field(
        Ambiguous.QUERY,
        description="`query` (ask before sending the same id again), `resend` (send the same id"
        " again), `hold` (leave it to a person)",
    )
    result_deadline_s: Seconds = Field(
        60.0, description="an accepted payout without a Result is queried after this"
    )
    query_interval_s: Seconds = Field(
        30.0, description="first interval between queries of one payout (grows, capped)"
    )
    query_interval_cap_s: Seconds = Field(
        900.0, description="longest interval between queries of one payout"
    )
    not_found_grace_s: SecondsOrZero = Field(
        60.0,
        description="*not found* counts only when asked this long after the last send; twice, a"
        " query interval apart, and the same id may be sent again",
    )
    stuck_after_s: Seconds = Field(
        24 * 3600.0,
        description="in doubt for this long, a payout is left to a person, alerted; one that is"
        " held, waits or has no worker for this long is alerted, too",
    )
    retry_first_s: Seconds = Field(
        2.0, description="first pause after a refusal that may be retried (grows, jittered)"
    )
    retry_cap_s: Seconds = Field(
        300.0, description="longest pause after a refusal that may be retried"
    )
    tries_at_once: Count = Field(
        3, description="sends in a row, within the process, of what certainly was not taken"
    )
    refusal_limit: Count = Field(
        3, description="configuration refusals in a row that pause an account"
    )
    circuit_failures: Count = Field(
        5, description="connection failures in a row after which a worker stops taking commands"
    )

    def policies(self) -> Policies:
        """Return these settings as the domain's policies."""
        return Policies(**{name: getattr(self, name) for name in PolicySettings.model_fields})

    @field_validator("query_interval_cap_s")
    @classmethod
    def _query_cap(cls, value: float, info: ValidationInfo) -> float:
        return at_least(value, "query_interval_s", info)

    @field_validator("retry_cap_s")
    @classmethod
    def _retry_cap(cls, value: float, info: ValidationInfo) -> float:
        return at_least(value, "retry_first_s", info)


class OperatorSettings(Group):
    """Orders of operators."""

    operator: str = Field(
        "",
        max_length=64,
        description="who gives orders such as `payouts retry`, as the audit names them;"
        " `--operator` goes before it; empty = the login name",
    )
    resolve_after_s: Seconds = Field(
        3600.0,
        description="`payouts resolve --not-paid` is refused for this long after the last send: a"
        " payment may still be on its way",
    )


class SendingSettings(Group):
    """Sending files."""

    send_repeat_days: int = Field(
        30,
        ge=0,
        le=400,
        description="warn of rows with receiver and amount of another payout that was made within"
        " so many days and has not failed; 0 = do not look",
    )
    send_state: Folder | None = Field(
        None,
        description="folder that keeps how far `payouts send` has come with a file, for when it is"
        " interrupted; empty = `payouts` in `XDG_STATE_HOME`, or in `~/.local/state`",
    )

    def state_folder(self, environ: Mapping[str, str]) -> Path:
        """Return the folder of what is kept, by the XDG base directories where none is named.

        Raises:
            RuntimeError: nobody knows where this user's home is.
        """
        if self.send_state is not None:
            return self.send_state
        state = Path(environ.get("XDG_STATE_HOME") or "~/.local/state")
        return state.expanduser() / "payouts"


class StatementSettings(Group):
    """Statements of the organisation's account."""

    statement_columns: StatementColumns = Field(
        (),
        description="which column of a statement tells what, such as"
        " `receipt=Trans. ID, amount=Value`; empty = as the M-PESA organisation portal exports",
    )
    statement_utc_offset: UtcOffset = Field(
        timezone(timedelta(hours=3)), description="the local time of statements, such as `+03:00`"
    )
    statement_payments: Pattern = Field(
        re.compile(STATEMENT_PAYMENTS),
        description="regular expression, found in any case in the reason or the details of lines"
        " that are payouts: unknown here, such a line is a difference",
    )


class GatewaySettings(Group):
    """Connection to the gateway."""

    request_timeout_s: Seconds = Field(30.0, description="one request to the gateway")
    connect_timeout_s: Seconds = Field(10.0, description="one connection to the gateway, with TLS")
    keep_alive_s: SecondsOrZero = Field(
        4.0, description="how long an idle connection to the gateway is used again; 0 = never"
    )
    gateway_ca: ReadableFile | None = Field(
        None, description="path of the PEM authorities of the gateway; empty = the system's"
    )
    gateway_certificate: ReadableFile | None = Field(
        None, description="path of our PEM client certificate for the gateway"
    )
    gateway_key: ReadableFile | None = Field(
        None, description="path of its PEM key; empty = in the certificate's file"
    )
    gateway_key_password: SecretStr | None = Field(None, description="the key's password")

    @field_validator("gateway_key")
    @classmethod
    def _needs_certificate(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        return only_with(value, "gateway_certificate", info)


class IntakeSettings(Group):
    """Taking commands."""

    concurrency: Count = Field(100, description="requests in flight per worker process")
    prefetch: Count = Field(
        200, le=65_535, description="commands in hand per account and worker process"
    )
    poison_after: Count = Field(
        20,
        le=900,
        description="returns to its queue after which a command is tried alone; three such tries"
        " without an end make it a dead letter",
    )
    repeat_window_s: SecondsOrZero = Field(
        0.0,
        description="a new payout with the receiver and the amount of another that came within"
        " this time and has not failed is held until a person releases it; 0 = none is",
    )


class CallbackServerSettings(Group):
    """Callback server."""

    callback_host: str = Field("127.0.0.1", description="bind address")
    callback_port: Port = Field(8310, description="port; 0 = any free port, logged")
    callback_path: UrlPath = Field(
        "/mpesa",
        repr=False,
        description="what comes before `/result` and `/timeout`; may be made unguessable",
    )
    callback_allow: Networks = Field(
        (),
        description="networks that may call, such as `196.201.214.0/24`, separated by commas;"
        " empty = all",
    )
    callback_trusted_proxies: Networks = Field(
        (), description="networks of proxies whose `X-Forwarded-For` is believed"
    )
    callback_connections: Count = Field(
        1000,
        description="connections at a time to one process; where there is no more room, the"
        " source that has most of them loses the one that has waited longest",
    )
    callback_request_timeout_s: Seconds = Field(
        10.0, description="the head of a request, and then its body, must arrive within this"
    )
    callback_certificate: ReadableFile | None = Field(
        None, description="path of the server's PEM certificate; empty = plain HTTP"
    )
    callback_key: ReadableFile | None = Field(
        None, description="path of its PEM key; empty = in the certificate's file"
    )
    callback_key_password: SecretStr | None = Field(None, description="the key's password")
    callback_client_ca: ReadableFile | None = Field(
        None,
        description="path of the PEM authorities one of which must have signed a caller's"
        " client certificate; empty = none is asked for",
    )
    ack_namespace: AckNamespaceName = Field(
        AckNamespaceName.REQUEST,
        description="`result` or `request`: the namespace of the acknowledgement of a Result",
    )

    @field_validator("callback_key", "callback_client_ca")
    @classmethod
    def _needs_certificate(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        return only_with(value, "callback_certificate", info)
