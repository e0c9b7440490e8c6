import re
from datetime import timedelta, timezone
from ipaddress import ip_network
from pathlib import Path

import pytest

from payouts.domain.decisions import Ambiguous, Policies
from payouts.domain.errors import SettingsError
from payouts.domain.values import AccountName
from payouts.settings import (
    CallbackSettings,
    DatabaseSettings,
    SendSettings,
    WorkerSettings,
)
from payouts.settings.accounts import AccountSettings
from payouts.settings.groups import variable_of

SECRET = "hunter2-not-to-be-shown"
DEFAULT = AccountName("default")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Give what a worker needs at least."""
    certificate = tmp_path / "api.pem"
    certificate.write_text("certificate")
    return {
        "PAYOUTS_AMQP_URL": f"amqps://user:{SECRET}@rabbit.test/vhost",
        "PAYOUTS_DATABASE_URL": f"postgresql://user:{SECRET}@db.test/payouts",
        "PAYOUTS_GATEWAY_URL": "https://gateway.test:18423/mminterface/request",
        "PAYOUTS_SP_ID": "600100",
        "PAYOUTS_SP_PASSWORD": SECRET,
        "PAYOUTS_SERVICE_ID": "600100000",
        "PAYOUTS_INITIATOR_USERNAME": "salaries-api",
        "PAYOUTS_INITIATOR_PASSWORD": SECRET,
        "PAYOUTS_API_CERTIFICATE": str(certificate),
        "PAYOUTS_SHORTCODE": "600100",
        "PAYOUTS_RESULT_URL": "https://us.test/secret-path/result",
        "PAYOUTS_QUEUE_TIMEOUT_URL": "https://us.test/secret-path/timeout",
    }


def problems_of(load: object, environ: dict[str, str]) -> list[str]:
    """Return what is wrong."""
    assert callable(load)
    with pytest.raises(SettingsError) as caught:
        load(environ)
    return [str(problem) for problem in caught.value.problems]


# One line per row of the table of contract.md §4: variable, field, default.
ROWS = [
    ("PAYOUTS_QUERY_URL", "account.query_url", None),
    ("PAYOUTS_ORGANISATION", "account.organisation", "ORG"),
    ("PAYOUTS_CALLBACK_HOST", "callback.callback_host", "127.0.0.1"),
    ("PAYOUTS_CALLBACK_PORT", "callback.callback_port", 8310),
    ("PAYOUTS_ADMIN_HOST", "worker.admin_host", "127.0.0.1"),
    ("PAYOUTS_ADMIN_PORT", "worker.admin_port", 0),
    ("PAYOUTS_CONCURRENCY", "worker.concurrency", 100),
    ("PAYOUTS_TPS", "account.tps", 0.0),
    ("PAYOUTS_REQUEST_TIMEOUT_S", "worker.request_timeout_s", 30.0),
    ("PAYOUTS_AMBIGUOUS", "worker.ambiguous", Ambiguous.QUERY),
    ("PAYOUTS_RESULT_DEADLINE_S", "worker.result_deadline_s", 60.0),
    ("PAYOUTS_QUERY_INTERVAL_S", "worker.query_interval_s", 30.0),
    ("PAYOUTS_NOT_FOUND_GRACE_S", "worker.not_found_grace_s", 60.0),
    ("PAYOUTS_WORKER_LEASE_S", "worker.worker_lease_s", 15.0),
    ("PAYOUTS_DRAIN_S", "worker.drain_s", 25.0),
    ("PAYOUTS_PREFIX", "worker.prefix", "payouts"),
    ("PAYOUTS_CALLBACK_PATH", "callback.callback_path", "/mpesa"),
    ("PAYOUTS_MANDATORY_EVENTS", "worker.mandatory_events", True),
    ("PAYOUTS_PROGRESS_EVENTS", "worker.progress_events", False),
    ("PAYOUTS_SHOW_MSISDN", "worker.show_msisdn", False),
]


@pytest.mark.parametrize(("variable", "where", "default"), ROWS)
def test_a_variable_of_the_contract_has_its_default(
    environ: dict[str, str], variable: str, where: str, default: object
) -> None:
    """What the contract's table promises without a word of configuration."""
    worker = WorkerSettings.load(environ)
    of = {
        "worker": worker,
        "account": worker.accounts[DEFAULT],
        "callback": CallbackSettings.load(environ),
    }
    owner, field = where.split(".")
    assert variable == variable_of(field)
    assert getattr(of[owner], field) == default


def test_the_variables_that_the_contract_requires_are_required() -> None:
    """All of them are named at once, and nothing else is."""
    required = (
        "AMQP_URL DATABASE_URL GATEWAY_URL SP_ID SP_PASSWORD SERVICE_ID INITIATOR_USERNAME"
        " INITIATOR_PASSWORD API_CERTIFICATE SHORTCODE RESULT_URL QUEUE_TIMEOUT_URL"
    )
    told = problems_of(WorkerSettings.load, {})
    assert sorted(told) == sorted(f"PAYOUTS_{name}: is required" for name in required.split())


def test_other_processes_ask_for_less() -> None:
    """Nobody needs a gateway's credential who does not talk to it."""
    both = ["PAYOUTS_DATABASE_URL: is required", "PAYOUTS_AMQP_URL: is required"]
    assert problems_of(CallbackSettings.load, {}) == both
    assert problems_of(DatabaseSettings.load, {}) == both[:1]
    assert problems_of(SendSettings.load, {}) == ["PAYOUTS_SHORTCODE: is required", *both]


def test_given_values_are_taken(environ: dict[str, str]) -> None:
    """Each kind of value is read as what it is."""
    environ |= {
        "PAYOUTS_TPS": "12.5",
        "PAYOUTS_AMBIGUOUS": "hold",
        "PAYOUTS_MIN_AMOUNT": "10",
        "PAYOUTS_MAX_AMOUNT": "250000.00",
        "PAYOUTS_MSISDN_PATTERN": "2519[0-9]{8}",
        "PAYOUTS_UTC_OFFSET": "-02:30",
        "PAYOUTS_CALLBACK_ALLOW": "196.201.214.0/24, 10.0.0.1,2001:db8::/32",
        "PAYOUTS_SHOW_MSISDN": "on",
        "PAYOUTS_CONCURRENCY": "",
    }
    worker = WorkerSettings.load(environ)
    account = worker.accounts[DEFAULT]
    assert (account.tps, worker.ambiguous) == (12.5, Ambiguous.HOLD)
    assert (account.min_amount, account.max_amount) == (1000, 25_000_000)
    assert account.utc_offset == timezone(-timedelta(hours=2, minutes=30))
    assert (worker.show_msisdn, worker.concurrency) == (True, 100)
    networks = CallbackSettings.load(environ).callback_allow
    assert networks == tuple(
        ip_network(text) for text in ("196.201.214.0/24", "10.0.0.1/32", "2001:db8::/32")
    )


def test_settings_become_rules_and_policies(environ: dict[str, str]) -> None:
    """The domain gets what it needs without knowing of variables."""
    settings = WorkerSettings.load({**environ, "PAYOUTS_MAX_AMOUNT": "70000"})
    rules = settings.accounts[DEFAULT].rules(DEFAULT)
    assert (rules.name, rules.shortcode, rules.organisation) == ("default", "600100", "ORG")
    assert (rules.min_minor, rules.max_minor, rules.currency) == (1, 7_000_000, "KES")
    assert rules.msisdn_pattern == re.compile("254(7|1)[0-9]{8}")
    assert settings.policies() == Policies()


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("PAYOUTS_AMQP_URL", "http://h/", "begins with amqp:// or amqps://"),
        ("PAYOUTS_AMQP_URL", "amqp://", "an address with a host"),
        ("PAYOUTS_AMQP_URL", "amqps://h/?no_verify_ssl=1", "must not turn the certificate check"),
        ("PAYOUTS_DATABASE_URL", "postgresql+asyncpg://h/d", "without a driver"),
        ("PAYOUTS_GATEWAY_URL", "ftp://h/", "begins with http:// or https://"),
        ("PAYOUTS_GATEWAY_URL", "https://h:99999/", "must be an address"),
        ("PAYOUTS_SHORTCODE", "60x", "must be 1-20 digits"),
        ("PAYOUTS_ORGANISATION", "A B", "must be 1-32 of A-Z a-z 0-9"),
        ("PAYOUTS_CURRENCY", "kes", "ISO 4217"),
        ("PAYOUTS_API_CERTIFICATE", "/no/such/file", "a file that exists"),
        ("PAYOUTS_TPS", "-1", "greater than or equal to 0"),
        ("PAYOUTS_TPS", "inf", "finite number"),
        ("PAYOUTS_CONCURRENCY", "0", "greater than or equal to 1"),
        ("PAYOUTS_CONCURRENCY", "many", "must be a valid integer"),
        ("PAYOUTS_REQUEST_TIMEOUT_S", "0", "greater than 0"),
        ("PAYOUTS_AMBIGUOUS", "guess", "must be 'query', 'resend' or 'hold'"),
        ("PAYOUTS_ADMIN_PORT", "65536", "less than or equal to 65535"),
        ("PAYOUTS_MIN_AMOUNT", "1.005", "must be an amount above 0"),
        ("PAYOUTS_MSISDN_PATTERN", "(", "must be a regular expression"),
        ("PAYOUTS_UTC_OFFSET", "3", "an offset from UTC"),
        ("PAYOUTS_PREFIX", "pay outs", "must be 1-64 of"),
        ("PAYOUTS_SHOW_MSISDN", "perhaps", "valid boolean"),
        ("PAYOUTS_DIGEST", "md5", "'upper', 'lower' or 'raw'"),
        ("PAYOUTS_QUERY_INTERVAL_S", "1000", "PAYOUTS_QUERY_INTERVAL_S"),
        ("PAYOUTS_RETRY_CAP_S", "1", "at least PAYOUTS_RETRY_FIRST_S"),
        ("PAYOUTS_MAX_AMOUNT", "0.001", "must be an amount above 0"),
    ],
)
def test_a_wrong_value_is_told_with_its_variable(
    environ: dict[str, str], variable: str, value: str, problem: str
) -> None:
    """Each kind of value says what it wants, without repeating what it got."""
    (told,) = problems_of(WorkerSettings.load, {**environ, variable: value})
    assert told.startswith("PAYOUTS_")
    assert variable in told
    assert problem in told
    assert f"{value!r}" not in told


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("PAYOUTS_CALLBACK_PATH", "mpesa", "a path such as /mpesa"),
        ("PAYOUTS_CALLBACK_PATH", "/mpesa/", "without a slash at its end"),
        ("PAYOUTS_CALLBACK_ALLOW", "196.201.214.1/24", "addresses or networks"),
        ("PAYOUTS_CALLBACK_TRUSTED_PROXIES", "proxy.test", "addresses or networks"),
        ("PAYOUTS_ACK_NAMESPACE", "C", "'request' or 'result'"),
    ],
)
def test_a_wrong_value_of_the_callback_server_is_told(
    environ: dict[str, str], variable: str, value: str, problem: str
) -> None:
    """The callback server checks its own variables in the same way."""
    (told,) = problems_of(CallbackSettings.load, {**environ, variable: value})
    assert told.startswith(f"{variable}: ")
    assert problem in told


def test_a_key_without_its_certificate_is_told(environ: dict[str, str]) -> None:
    """TLS that is half configured does not start as plain HTTP."""
    file = environ["PAYOUTS_API_CERTIFICATE"]
    assert problems_of(WorkerSettings.load, {**environ, "PAYOUTS_GATEWAY_KEY": file}) == [
        "PAYOUTS_GATEWAY_KEY: needs PAYOUTS_GATEWAY_CERTIFICATE"
    ]
    half = {**environ, "PAYOUTS_CALLBACK_KEY": file, "PAYOUTS_CALLBACK_CLIENT_CA": file}
    assert problems_of(CallbackSettings.load, half) == [
        "PAYOUTS_CALLBACK_KEY: needs PAYOUTS_CALLBACK_CERTIFICATE",
        "PAYOUTS_CALLBACK_CLIENT_CA: needs PAYOUTS_CALLBACK_CERTIFICATE",
    ]


def test_all_problems_are_told_at_once(environ: dict[str, str]) -> None:
    """Missing, malformed, unreadable and contradicting values share one report."""
    del environ["PAYOUTS_SP_ID"]
    environ |= {
        "PAYOUTS_TPS": "x",
        "PAYOUTS_LOG_LEVEL": "loud",
        "PAYOUTS_RETRY_CAP_S": "1",
        "PAYOUTS_SP_PASSWORD_FILE": "/no/such/file",
        "PAYOUTS_SERVICE_ID": "",
        "PAYOUTS_SERVICE_ID_FILE": "/no/such/file",
    }
    told = problems_of(WorkerSettings.load, environ)
    assert sorted(problem.split(":")[0] for problem in told) == [
        "PAYOUTS_LOG_LEVEL",
        "PAYOUTS_RETRY_CAP_S",
        "PAYOUTS_SERVICE_ID_FILE",
        "PAYOUTS_SP_ID",
        "PAYOUTS_SP_PASSWORD",
        "PAYOUTS_TPS",
    ]


WORKER_FIELDS = sorted(
    (WorkerSettings.model_fields.keys() | AccountSettings.model_fields.keys()) - {"accounts"}
)


@pytest.mark.parametrize("field", WORKER_FIELDS)
def test_every_variable_may_be_given_as_a_file(
    environ: dict[str, str], tmp_path: Path, field: str
) -> None:
    """X_FILE names a file whose content is X's value, without the line end at its end."""
    plain = WorkerSettings.load(environ)
    owner = plain.accounts[DEFAULT] if field in AccountSettings.model_fields else plain
    samples = {
        "query_url": "http://q.test/",
        "third_party_id": "caller",
        "gateway_key_password": "x",
        "ambiguous": "query",
        "msisdn_pattern": "254(7|1)[0-9]{8}",
        "min_amount": "0.01",
        "max_amount": "9999999999999.99",
        "float_min": "250000.00",
        "utc_offset": "+03:00",
        "gateway_ca": environ["PAYOUTS_API_CERTIFICATE"],
        "gateway_certificate": environ["PAYOUTS_API_CERTIFICATE"],
        "gateway_key": environ["PAYOUTS_API_CERTIFICATE"],
    }
    variable = variable_of(field)
    value = environ.pop(variable, None) or samples.get(field) or str(getattr(owner, field))
    file = tmp_path / "value"
    file.write_text(f"{value}\n")
    environ[variable + "_FILE"] = str(file)
    if field == "gateway_key":
        environ["PAYOUTS_GATEWAY_CERTIFICATE"] = value
    read = WorkerSettings.load(environ)
    owner = read.accounts[DEFAULT] if field in AccountSettings.model_fields else read
    got = getattr(owner, field)
    if field not in samples or field == "ambiguous":
        reference = plain.accounts[DEFAULT] if field in AccountSettings.model_fields else plain
        assert got == getattr(reference, field)
    assert got is not None


def test_a_file_that_cannot_be_used_is_told(environ: dict[str, str], tmp_path: Path) -> None:
    """Not there, not text, too large or given beside the variable itself: each has its line."""
    binary, large = tmp_path / "binary", tmp_path / "large"
    binary.write_bytes(b"\xff\xfe")
    large.write_bytes(b"x" * (1024 * 1024 + 1))
    for name in ("SP_ID", "SERVICE_ID", "SHORTCODE"):
        del environ[f"PAYOUTS_{name}"]
    environ |= {
        "PAYOUTS_SP_ID_FILE": str(tmp_path),
        "PAYOUTS_SERVICE_ID_FILE": str(binary),
        "PAYOUTS_SHORTCODE_FILE": str(large),
        "PAYOUTS_SP_PASSWORD_FILE": str(binary),
    }
    assert sorted(problems_of(WorkerSettings.load, environ)) == [
        "PAYOUTS_SERVICE_ID_FILE: names a file that is not UTF-8",
        "PAYOUTS_SHORTCODE_FILE: names a file of more than 1048576 bytes",
        "PAYOUTS_SP_ID_FILE: names a file that cannot be read: Is a directory",
        "PAYOUTS_SP_PASSWORD: is given both itself and as a file; give one",
    ]


def test_no_secret_is_shown(environ: dict[str, str]) -> None:
    """Neither a repr nor an error carries a password, nor the unguessable path.

    Proved by making PAYOUTS_SP_PASSWORD a plain text.
    """
    shown = repr(WorkerSettings.load(environ)) + repr(CallbackSettings.load(environ))
    assert SECRET not in shown
    assert "secret-path" not in shown
    wrong = dict.fromkeys(environ, f"{SECRET} " * 200) | {"PAYOUTS_TPS": SECRET}
    assert SECRET not in "".join(problems_of(WorkerSettings.load, wrong))
    assert SECRET not in "".join(problems_of(CallbackSettings.load, wrong))


def test_only_the_given_environment_is_read(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever hands in an environment gets that one, not the process's."""
    monkeypatch.setenv("PAYOUTS_TPS", "77")
    assert WorkerSettings.load(environ).accounts[DEFAULT].tps == 0
