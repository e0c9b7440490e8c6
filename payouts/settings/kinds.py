"""Kinds of values that settings take, each with what it refuses and why.

No message repeats the value: it may be a secret put into the wrong variable.
"""

from __future__ import annotations

import os
import re
import warnings
from datetime import timedelta, timezone
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from payouts.domain.errors import InvalidAmountError
from payouts.domain.values import ORGANISATION_PATTERN, parse_amount

Network = IPv4Network | IPv6Network

MAX_PATTERN: Final = 255
MAX_WAIT_S: Final = 31 * 24 * 3600.0
NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SHORTCODE: Final = re.compile(r"[0-9]{1,20}")
_PATH: Final = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_OFFSET: Final = re.compile(r"([+-])([01][0-9]):([0-5][0-9])")

# What a line of an organisation statement can tell.
STATEMENT_FIELDS: Final = (
    "receipt",
    "completed",
    "details",
    "status",
    "withdrawn",
    "paid_in",
    "amount",
    "reason",
    "party",
    "linked",
    "originator",
)


def _matching(pattern: re.Pattern[str], wanted: str) -> AfterValidator:
    def check(value: str) -> str:
        if pattern.fullmatch(value) is None:
            raise ValueError(f"must be {wanted}")
        return value

    return AfterValidator(check)


def _url(value: str, *schemes: str) -> str:
    wanted = " or ".join(f"{scheme}://" for scheme in schemes)
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError(f"must be an address that begins with {wanted}") from None
    if parts.scheme not in schemes or not parts.hostname or port == 0:
        raise ValueError(f"must be an address with a host that begins with {wanted}")
    return value


def _amqp(value: SecretStr) -> SecretStr:
    url = _url(value.get_secret_value(), "amqp", "amqps")
    if parse_qs(urlsplit(url).query).get("no_verify_ssl", ["0"]) != ["0"]:
        raise ValueError("must not turn the certificate check off (no_verify_ssl)")
    return value


def _database(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("must be an address that begins with postgresql://, without a driver")
    return value


def _http(value: str) -> str:
    return _url(value, "http", "https")


def _networks(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())
    except ValueError:
        raise ValueError(
            "must be addresses or networks such as 196.201.214.0/24, separated by commas"
        ) from None


def _amount(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return parse_amount(value)
    except InvalidAmountError:
        raise ValueError('must be an amount above 0 such as "1250.50"') from None


def _pattern(value: object) -> object:
    if not isinstance(value, str):
        return value
    if len(value) > MAX_PATTERN:
        raise ValueError(f"must be a regular expression of at most {MAX_PATTERN} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # What another Python may read otherwise is refused.
            return re.compile(value)
    except (re.error, OverflowError, RecursionError, Warning):
        raise ValueError("must be a regular expression") from None


def _offset(value: object) -> object:
    if not isinstance(value, str):
        return value
    found = _OFFSET.fullmatch(value)
    if found is None:
        raise ValueError("must be an offset from UTC such as +03:00")
    distance = timedelta(hours=int(found[2]), minutes=int(found[3]))
    return timezone(distance if found[1] == "+" else -distance)


def _columns(value: object) -> object:
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    found = [(field.strip(), column.strip()) for field, _, column in pairs]
    names = [field for field, _ in found]
    if not all(column for _, column in found) or not set(names) <= set(STATEMENT_FIELDS):
        known = ", ".join(STATEMENT_FIELDS)
        raise ValueError(f"must be field=column, separated by commas; the fields are {known}")
    if len(set(names)) < len(names):
        raise ValueError("must name each field once")
    return tuple(found)


def _folder(value: Path) -> Path:
    if not value.is_absolute() or "\0" in str(value):
        raise ValueError("must be the absolute path of a folder")
    return value


def _readable(value: Path) -> Path:
    if not os.path.isfile(value):  # noqa: PTH113 - never raises, where Path would with the value
        raise ValueError("must be the path of a file that exists")
    if not os.access(value, os.R_OK):
        raise ValueError("must be the path of a file that this process may read")
    return value


Seconds = Annotated[float, Field(gt=0, le=MAX_WAIT_S, allow_inf_nan=False)]
SecondsOrZero = Annotated[float, Field(ge=0, le=MAX_WAIT_S, allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=0, le=100_000, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=10_000)]
Port = Annotated[int, Field(ge=0, le=65_535)]
Text = Annotated[str, Field(min_length=1, max_length=255)]
Name = Annotated[str, _matching(NAME_PATTERN, "1-64 of A-Z a-z 0-9 . _ -")]
Shortcode = Annotated[str, _matching(_SHORTCODE, "1-20 digits")]
Organisation = Annotated[str, _matching(ORGANISATION_PATTERN, "1-32 of A-Z a-z 0-9")]
Currency = Annotated[str, _matching(re.compile(r"[A-Z]{3}"), "an ISO 4217 code such as KES")]
UrlPath = Annotated[str, _matching(_PATH, "a path such as /mpesa, without a slash at its end")]
HttpUrl = Annotated[str, AfterValidator(_http)]
AmqpUrl = Annotated[SecretStr, AfterValidator(_amqp)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(_networks)]
AmountMinor = Annotated[int, BeforeValidator(_amount)]
MsisdnPattern = Annotated[re.Pattern[str], BeforeValidator(_pattern)]
Pattern = MsisdnPattern
StatementColumns = Annotated[tuple[tuple[str, str], ...], BeforeValidator(_columns)]
UtcOffset = Annotated[timezone, BeforeValidator(_offset)]
Folder = Annotated[Path, AfterValidator(_folder)]
ReadableFile = Annotated[Path, AfterValidator(_readable)]
