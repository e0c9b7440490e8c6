from pathlib import Path

import pytest

from payouts.domain.errors import SettingsError
from payouts.domain.values import AccountName
from payouts.settings import CallbackSettings, SendSettings, WorkerSettings

SALARIES, PROMOTIONS = AccountName("salaries"), AccountName("promotions")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Give what all accounts share."""
    certificate = tmp_path / "api.pem"
    certificate.write_text("certificate")
    return {
        "PAYOUTS_AMQP_URL": "amqp://guest:guest@rabbit.test/",
        "PAYOUTS_DATABASE_URL": "postgresql://db.test/payouts",
        "PAYOUTS_GATEWAY_URL": "https://gateway.test/",
        "PAYOUTS_SP_ID": "600100",
        "PAYOUTS_SP_PASSWORD": "sp",
        "PAYOUTS_SERVICE_ID": "600100000",
        "PAYOUTS_INITIATOR_USERNAME": "api",
        "PAYOUTS_INITIATOR_PASSWORD": "initiator",
        "PAYOUTS_API_CERTIFICATE": str(certificate),
        "PAYOUTS_RESULT_URL": "https://us.test/result",
        "PAYOUTS_QUEUE_TIMEOUT_URL": "https://us.test/timeout",
        "PAYOUTS_TPS": "5",
    }


def with_accounts(environ: dict[str, str], folder: Path, text: str) -> dict[str, str]:
    """Return the environment with an accounts file of this content."""
    file = folder / "accounts.toml"
    file.write_text(text)
    return {**environ, "PAYOUTS_ACCOUNTS_FILE": str(file)}


def problems_of(environ: dict[str, str]) -> list[str]:
    """Return what is wrong for a worker."""
    with pytest.raises(SettingsError) as caught:
        WorkerSettings.load(environ)
    return [str(problem) for problem in caught.value.problems]


def test_tables_inherit_from_the_environment(environ: dict[str, str], tmp_path: Path) -> None:
    """A table says what is its own; the rest is the environment's."""
    secret = tmp_path / "initiator"
    secret.write_text("of salaries\n")
    environ = with_accounts(
        environ,
        tmp_path,
        f"""
        [salaries]
        shortcode = 600100
        initiator_password_file = "{secret}"
        tps = 2.5
        [promotions]
        payouts_shortcode = "600200"
        payouts_max_amount = "5000"
        """,
    )
    accounts = WorkerSettings.load(environ).accounts
    assert list(accounts) == ["salaries", "promotions"]
    salaries, promotions = accounts[SALARIES], accounts[PROMOTIONS]
    assert (salaries.shortcode, promotions.shortcode) == ("600100", "600200")
    assert (salaries.tps, promotions.tps) == (2.5, 5.0)
    assert salaries.initiator_password.get_secret_value() == "of salaries"
    assert promotions.initiator_password.get_secret_value() == "initiator"
    assert promotions.rules(PROMOTIONS).max_minor == 500_000


def test_each_process_takes_its_part_of_the_file(environ: dict[str, str], tmp_path: Path) -> None:
    """One file serves all; who sends needs the rules, who is called the names."""
    environ = with_accounts(
        environ,
        tmp_path,
        '[salaries]\nshortcode = "1"\nsp_password_file = "/no/such"\n'
        '[promotions]\nshortcode = "2"\n',
    )
    assert CallbackSettings.load(environ).account_names == ("salaries", "promotions")
    environ = with_accounts(environ, tmp_path, '[salaries]\nshortcode = "1"\nsp_id = "x"\n')
    assert SendSettings.load(environ).accounts[SALARIES].shortcode == "1"


def test_all_problems_of_all_accounts_are_told(environ: dict[str, str], tmp_path: Path) -> None:
    """Each has its account and its name; a field is told once."""
    del environ["PAYOUTS_SP_ID"]
    environ = with_accounts(
        environ,
        tmp_path,
        """
        [salaries]
        shortcode = "x"
        colour = "blue"
        concurrency = 5
        tps = [1]
        currency = "KES"
        payouts_currency = "KES"
        sp_id_file = "\\u0000"
        [promotions]
        shortcode = "600200"
        min_amount = 10
        max_amount = 5
        """,
    )
    file = "PAYOUTS_ACCOUNTS_FILE"
    assert sorted(problems_of(environ)) == sorted(
        [
            f"{file} [salaries] colour: is not a setting of an account",
            f"{file} [salaries] concurrency: is not a setting of an account",
            f"{file} [salaries] tps: must be a text, a number or a boolean",
            f"{file} [salaries] currency: is given twice",
            f"{file} [salaries] sp_id_file: is not a path",
            "PAYOUTS_SHORTCODE (account salaries): must be 1-20 digits",
            "PAYOUTS_SP_ID (account promotions): is required",
            "PAYOUTS_MAX_AMOUNT (account promotions): must be at least PAYOUTS_MIN_AMOUNT",
        ]
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "must have one table per account"),
        ("[salaries", "is not TOML"),
        ('shortcode = "1"', "must stand in the table of an account"),
        ('["a b"]\nshortcode = "1"', "must be named by 1-64 of"),
    ],
)
def test_a_file_that_is_not_tables_of_accounts_is_told(
    environ: dict[str, str], tmp_path: Path, text: str, problem: str
) -> None:
    """The report names the variable of the file."""
    told = problems_of(with_accounts(environ, tmp_path, text))
    assert told[0].startswith("PAYOUTS_ACCOUNTS_FILE")
    assert problem in told[0]


def test_a_missing_file_is_told(environ: dict[str, str]) -> None:
    """It does not quietly become the one account of the environment."""
    assert problems_of({**environ, "PAYOUTS_ACCOUNTS_FILE": "/no/such/file"}) == [
        "PAYOUTS_ACCOUNTS_FILE: names a file that cannot be read: No such file or directory"
    ]


def test_each_account_has_a_float_of_its_own(environ: dict[str, str], tmp_path: Path) -> None:
    """An account pauses below its own minimum; what a table does not say is the environment's."""
    text = '[salaries]\nshortcode = 600100\nfloat_min = "250000"\n[promotions]\nshortcode = 600200'
    found = WorkerSettings.load(with_accounts(environ, tmp_path, text)).accounts
    assert (found[SALARIES].float_min, found[PROMOTIONS].float_min) == (25_000_000, None)
    environ = {**with_accounts(environ, tmp_path, text), "PAYOUTS_FLOAT_MIN": "99.50"}
    found = WorkerSettings.load(environ).accounts
    assert (found[SALARIES].float_min, found[PROMOTIONS].float_min) == (25_000_000, 9950)
    assert "PAYOUTS_FLOAT_MIN" in str(problems_of({**environ, "PAYOUTS_FLOAT_MIN": "much"}))
