"""What the simulator is told before it starts: one frozen record, read from the environment.

Every variable is `PAYOUTS_SIMULATOR_` and the field's name in capitals; with `_FILE` appended it
names a file whose content is the value.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

PREFIX: Final = "PAYOUTS_SIMULATOR_"
DEFAULT_CERTIFICATE: Final = ".local/simulator/certificate.pem"
DIGESTS: Final = ("upper", "lower", "raw", "any")
_HIGHEST_PORT: Final = 65535


class SettingsError(Exception):
    """The simulator cannot start with these settings: correct each variable that is named."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


ABOUT: Final[Mapping[str, str]] = {
    "host": "address to listen on",
    "port": "port; 0 takes any free one",
    "sp_id": "`spId` of the one service provider",
    "sp_password": "its password, part of the header digest",
    "digest": "accepted form of `spPassword`: `upper`, `lower`, `raw` or `any`",
    "initiator_username": "API initiator",
    "initiator_password": "its password, inside `SecurityCredential`",
    "initiator_attempts": "wrong passwords in a row that lock the initiator",
    "short_codes": "paying short codes, comma-separated; each has a float of its own",
    "float_amount": "float of each short code at the start",
    "minimum_amount": "a smaller payment gets Result 2",
    "maximum_amount": "a larger payment gets Result 3",
    "msisdn_pattern": "receivers of this market; others get Result 7",
    "strict_order": "refuse elements out of XSD order with 23, as G1 did",
    "pay_delay_s": "acceptance to payment",
    "result_delay_s": "acceptance to Result, mean; never before the payment",
    "result_delay_spread": "sigma of the log-normal spread of that delay; 0 = always the mean",
    "late_s": "delay of `result_late`",
    "slow_s": "delay of `slow_answer`",
    "queue_s": "time a cached request waits before it is delivered or expires",
    "hidden_s": "time `found_late` hides a request from queries",
    "away_s": "length of fault `away`",
    "resends": "repeats of a callback that was not acknowledged, then it is given up",
    "resend_delay_s": "wait before the first repeat; doubles each time",
    "result_timeout_s": "wait for a callback's acknowledgement",
    "result_connections": "callbacks under way at the same time, per destination",
    "result_keep_alive": "keep callback connections; false says `Connection: close`",
    "keep_alive": "keep request connections; false closes each, as the real broker",
    "core": "shape of answers and Results: `g2` or `g1`",
    "query_unknown": "code of queryTransaction for an unknown id; lists are empty",
    "query_both_legs": "queryTransaction lists the leg between broker and core too",
    "message_log": "ids whose raw messages are kept; older ones are rebuilt from the books",
    "tps": "more requests in a second are answered 100000002; 0 = no limit",
    "seed": "seed of every fault and delay decision",
    "faults": "fault script, TOML or JSON",
    "probabilities": "`fault=probability` pairs, comma-separated: "
    "`drop_answer=0.01,result_twice=0.02`",
    "test_numbers": "whether the test numbers act",
    "certificate": "path of the X.509 certificate (PEM) that encrypts credentials, private key "
    "beside it (`.key`); made when absent; empty = in memory",
    "books": "file that keeps the books over a restart; empty = in memory",
    "tls_certificate": "serve HTTPS with this chain (PEM)",
    "tls_key": "its private key (PEM)",
    "tls_client_ca": "require client certificates signed by this CA (PEM)",
    "result_ca": "CA (PEM) that callback servers' certificates are checked against",
    "result_certificate": "client certificate (PEM) shown to callback servers",
    "result_key": "its private key (PEM)",
}
"""What each setting means, for the reference page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorSettings:
    """Guarantees that every value is one the simulator can run with, once `checked` has passed.

    Times are seconds, amounts are whole shillings with two decimals.
    """

    host: str = "127.0.0.1"
    port: int = 8320
    sp_id: str = "600000"
    sp_password: str = field(default="simulator-password", repr=False)
    digest: str = "any"
    initiator_username: str = "payouts"
    initiator_password: str = field(default="simulator-initiator", repr=False)
    initiator_attempts: int = 3
    short_codes: tuple[str, ...] = ("600000",)
    float_amount: Decimal = Decimal("100000000.00")
    minimum_amount: Decimal = Decimal("10.00")
    maximum_amount: Decimal = Decimal("250000.00")
    msisdn_pattern: str = r"254[17]\d{8}"
    strict_order: bool = False
    pay_delay_s: float = 0.02
    result_delay_s: float = 0.3
    result_delay_spread: float = 0.5
    late_s: float = 10.0
    slow_s: float = 5.0
    queue_s: float = 2.0
    hidden_s: float = 5.0
    away_s: float = 3.0
    resends: int = 3
    resend_delay_s: float = 1.0
    result_timeout_s: float = 10.0
    result_connections: int = 32
    result_keep_alive: bool = True
    keep_alive: bool = True
    core: str = "g2"
    query_unknown: str = "00000000"
    query_both_legs: bool = False
    message_log: int = 5000
    tps: int = 0
    seed: int = 0
    faults: str = ""
    probabilities: str = ""
    test_numbers: bool = True
    certificate: str = ""
    books: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""
    result_ca: str = ""
    result_certificate: str = ""
    result_key: str = ""

    def checked(self) -> "SimulatorSettings":
        """Guarantees that the values agree with each other; returns the same record.

        Raises:
            SettingsError: with every problem at once.
        """
        problems = [
            f"{PREFIX}{name.upper()} {wanted}" for name, wanted, fine in self._rules() if not fine
        ]
        if problems:
            raise SettingsError(problems)
        return self

    def _rules(self) -> list[tuple[str, str, bool]]:
        return [
            ("port", "must be 0 to 65535", 0 <= self.port <= _HIGHEST_PORT),
            ("digest", "must be upper, lower, raw or any", self.digest in DIGESTS),
            ("core", "must be g1 or g2", self.core in ("g1", "g2")),
            ("short_codes", "must name at least one", bool(self.short_codes)),
            ("minimum_amount", "must be above 0", self.minimum_amount > 0),
            (
                "maximum_amount",
                "must not be below the minimum",
                self.maximum_amount >= self.minimum_amount,
            ),
            ("float_amount", "must not be negative", self.float_amount >= 0),
            ("initiator_attempts", "must be at least 1", self.initiator_attempts >= 1),
            ("result_connections", "must be at least 1", self.result_connections >= 1),
            ("resends", "must not be negative", self.resends >= 0),
            ("tps", "must not be negative", self.tps >= 0),
            ("message_log", "must not be negative", self.message_log >= 0),
            ("msisdn_pattern", "must be a regular expression", _compiles(self.msisdn_pattern)),
            ("query_unknown", "must be digits", self.query_unknown.isdigit()),
            (
                "tls_key",
                "and the certificate come together",
                bool(self.tls_key) == bool(self.tls_certificate),
            ),
            (
                "tls_client_ca",
                "needs a TLS certificate to serve",
                not self.tls_client_ca or bool(self.tls_certificate),
            ),
            (
                "result_key",
                "and the certificate come together",
                bool(self.result_key) == bool(self.result_certificate),
            ),
            *(
                (one.name, "must not be negative", getattr(self, one.name) >= 0)
                for one in fields(self)
                if one.name.endswith("_s") or one.name == "result_delay_spread"
            ),
        ]


def from_environment(environment: Mapping[str, str]) -> SimulatorSettings:
    """Guarantees checked settings read from `environment`; what is absent has its default.

    Unlike in a bare record, the certificate is written to `DEFAULT_CERTIFICATE`, so that a worker
    started in the same folder finds it.

    Raises:
        SettingsError: with every variable that is wrong.
    """
    values: dict[str, Any] = {"certificate": DEFAULT_CERTIFICATE}
    problems: list[str] = []
    defaults = SimulatorSettings()
    for one in fields(SimulatorSettings):
        variable = PREFIX + one.name.upper()
        try:
            text = _text(environment, variable)
            if text is not None:
                values[one.name] = _converter(getattr(defaults, one.name))(text)
        except (ValueError, ArithmeticError, OSError) as error:
            problems.append(f"{variable}: {_reason(error)}")
    try:
        settings = replace(defaults, **values).checked()
    except SettingsError as error:
        problems.extend(error.problems)
        raise SettingsError(problems) from None
    if problems:
        raise SettingsError(problems)
    return settings


def _text(environment: Mapping[str, str], variable: str) -> str | None:
    if variable in environment:
        return environment[variable].strip()
    path = environment.get(variable + "_FILE")
    return None if path is None else Path(path).read_text(encoding="utf-8").strip()


def _converter(default: object) -> Callable[[str], Any]:
    if isinstance(default, bool):
        return _flag
    if isinstance(default, int):
        return int
    if isinstance(default, float):
        return _seconds
    if isinstance(default, Decimal):
        return _amount
    if isinstance(default, tuple):
        return _names
    return str


def _flag(text: str) -> bool:
    if text.lower() not in ("1", "0", "true", "false", "yes", "no", "on", "off"):
        raise ValueError("must be true or false")
    return text.lower() in ("1", "true", "yes", "on")


def _seconds(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("must be a finite number")
    return number


def _amount(text: str) -> Decimal:
    amount = Decimal(text)
    if not amount.is_finite() or amount != amount.quantize(Decimal("0.01")):
        raise ValueError("must be an amount with at most two decimals")
    return amount


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _reason(error: Exception) -> str:
    """The value itself is left out: it may be a secret that stands in the wrong variable."""
    if isinstance(error, InvalidOperation):
        return "must be an amount with at most two decimals"
    if isinstance(error, OSError):
        return f"its file cannot be read ({error.strerror})"
    return str(error).split(":", 1)[0]


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True
