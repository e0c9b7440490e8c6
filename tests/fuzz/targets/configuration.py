"""The accounts file and the environment's variables."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from payouts.domain.errors import SettingsError
from payouts.settings import CallbackSettings, SendSettings, WorkerSettings
from tests.fixtures.mpesa import messages
from tests.fuzz.mutators.octets import PLAIN
from tests.fuzz.mutators.tables import TOML
from tests.fuzz.oracle import Finding, Target
from tests.fuzz.planted import MSISDN, NAME, PASSWORD

_FOLDER: Final[list[Path]] = []
_LINE: Final = re.compile(r"(PAYOUTS_[A-Z_]+)=(.*)")
_LOADERS: Final = (WorkerSettings.load, SendSettings.load, CallbackSettings.load)


def _folder() -> Path:
    if not _FOLDER or not _FOLDER[0].exists():
        _FOLDER[:] = [Path(mkdtemp(prefix="payouts-fuzz-"))]
        (_FOLDER[0] / "gateway.pem").write_bytes(messages.pem())
    return _FOLDER[0]


def _environ(folder: Path) -> dict[str, str]:
    return {
        "PAYOUTS_AMQP_URL": f"amqp://payouts:{PASSWORD}@127.0.0.1/",
        "PAYOUTS_DATABASE_URL": f"postgresql://payouts:{PASSWORD}@127.0.0.1/payouts",
        "PAYOUTS_GATEWAY_URL": "https://127.0.0.1/mminterface/request",
        "PAYOUTS_SP_ID": "107000",
        "PAYOUTS_SP_PASSWORD": PASSWORD,
        "PAYOUTS_SERVICE_ID": "107000000",
        "PAYOUTS_INITIATOR_USERNAME": NAME,
        "PAYOUTS_INITIATOR_PASSWORD": PASSWORD,
        "PAYOUTS_API_CERTIFICATE": str(folder / "gateway.pem"),
        "PAYOUTS_SHORTCODE": "600000",
        "PAYOUTS_RESULT_URL": "http://127.0.0.1:8310/mpesa/result",
        "PAYOUTS_QUEUE_TIMEOUT_URL": "http://127.0.0.1:8310/mpesa/timeout",
    }


def read_accounts(data: bytes) -> object:
    """Load settings with this accounts file, for every kind of process."""
    folder = _folder()
    path = folder / f"{os.getpid()}.toml"
    path.write_bytes(data)
    return _load({**_environ(folder), "PAYOUTS_ACCOUNTS_FILE": str(path)})


def read_variables(data: bytes) -> object:
    """Load settings with these variables, a line each, some of them by file."""
    folder = _folder()
    environ = _environ(folder)
    for line in data.decode("utf-8", "surrogateescape").replace("\x00", "").split("\n"):
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        name, value = found[1], found[2]
        if name.endswith("_FILE"):
            path = folder / f"{os.getpid()}.value"
            path.write_bytes(value.encode("utf-8", "surrogateescape"))
            environ.pop(name.removesuffix("_FILE"), None)
            value = str(path)
        environ[name] = value
    return _load(environ)


def _load(environ: dict[str, str]) -> list[str]:
    """Return the settings as they are shown, of all three; raise what the last one says."""
    shown: list[str] = []
    failed: SettingsError | None = None
    for load in _LOADERS:
        try:
            shown.append(repr(load(environ)))
        except SettingsError as error:
            failed = error
    if failed is not None:
        raise failed
    return shown


def check(value: object, data: bytes) -> None:
    """See that settings show no secret; what stands in a setting that is none may be shown."""
    assert isinstance(value, list)
    for text in value:
        if PASSWORD in text and PASSWORD.encode() not in data:
            raise Finding(f"settings show a secret: {data[:200]!r}")


def account_seeds() -> Sequence[bytes]:
    """Give accounts files from the smallest to the fullest, and some that are wrong."""
    one = f'[default]\nshortcode = "600100"\nsp_password = "{PASSWORD}"\n'
    two = (
        f'{one}tps = 20\nmin_amount = "10.00"\nmax_amount = "150000"\n'
        f"msisdn_pattern = '254(7|1)[0-9]{{8}}'\nutc_offset = \"+03:00\"\n\n"
        f'[salaries]\npayouts_shortcode = "600200"\norganisation = "PAY"\ncurrency = "TZS"\n'
        f'header_namespace = "A"\ndigest = "raw"\nquery_url = "https://127.0.0.1/q"\n'
    )
    wrong = (
        f'{one}"{PASSWORD}" = 1\nunknown = "{MSISDN}"\ntps = "{PASSWORD}"\n[a.b]\nc = [1, {{}}]\n'
    )
    return [one.encode(), two.encode(), wrong.encode(), b"", b"x = 1", b"[a]\n[a]\n", b"\xff\xfe"]


def variable_seeds() -> Sequence[bytes]:
    """Give lines of variables of every kind."""
    return [
        b"PAYOUTS_TPS=20\nPAYOUTS_CONCURRENCY=10\nPAYOUTS_LOG_FORMAT=console",
        f"PAYOUTS_SP_PASSWORD_FILE={PASSWORD}\nPAYOUTS_MAX_AMOUNT={PASSWORD}".encode(),
        b"PAYOUTS_CALLBACK_ALLOW=196.201.214.0/24, ::1/128\nPAYOUTS_CALLBACK_PATH=/a-b/c",
        b"PAYOUTS_MSISDN_PATTERN=255[67][0-9]{8}\nPAYOUTS_UTC_OFFSET=-03:30",
        f"PAYOUTS_AMQP_URL=amqp://a:{PASSWORD}@[::1\nPAYOUTS_DATABASE_URL={PASSWORD}".encode(),
        f"PAYOUTS_GATEWAY_URL=https://a:{PASSWORD}@h:99999/x\nPAYOUTS_SHORTCODE={NAME}".encode(),
        b"PAYOUTS_DRAIN_S=1e400\nPAYOUTS_WORKER_LEASE_S=nan\nPAYOUTS_PREFETCH=65536",
        b"PAYOUTS_API_CERTIFICATE=/nowhere\nPAYOUTS_PREFIX=a b\nPAYOUTS_CURRENCY=kes",
    ]


TARGETS: Final = (
    Target(
        name="accounts",
        read=read_accounts,
        errors=(SettingsError,),
        check=check,
        seeds=account_seeds,
        tokens=(
            b"[default]",
            b"sp_password",
            b" = ",
            b'"""',
            b"'''",
            b"{",
            b"[[",
            b"msisdn_pattern",
        ),
        mutators=(*TOML, *TOML, *PLAIN),
        most=60_000,
        s_per_kib=0.01,
        free=8 * 1024 * 1024,
    ),
    Target(
        name="variables",
        read=read_variables,
        errors=(SettingsError,),
        check=check,
        seeds=variable_seeds,
        tokens=(b"PAYOUTS_", b"_FILE=", b"://", b"@", b"[::1]", b"%", b"(?:", b"{999}"),
        mutators=(*TOML[:3], *PLAIN),
        most=20_000,
        s_per_kib=0.01,
        free=8 * 1024 * 1024,
    ),
)
