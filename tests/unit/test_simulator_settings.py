from decimal import Decimal
from pathlib import Path

import pytest

from ops.simulator.settings import (
    DEFAULT_CERTIFICATE,
    PREFIX,
    SettingsError,
    SimulatorSettings,
    from_environment,
)


def test_an_empty_environment_gives_the_defaults() -> None:
    """`payouts simulator` just runs; only the certificate is written to a known place."""
    settings = from_environment({})
    assert settings == SimulatorSettings(certificate=DEFAULT_CERTIFICATE)
    assert (settings.host, settings.port, settings.sp_id) == ("127.0.0.1", 8320, "600000")
    assert settings.short_codes == ("600000",)
    assert settings.float_amount == Decimal("100000000.00")


def test_every_kind_of_value_is_read(tmp_path: Path) -> None:
    """Numbers, flags, amounts, lists, texts; from a file where `_FILE` names one."""
    secret = tmp_path / "secret"
    secret.write_text("hidden\n")
    settings = from_environment(
        {
            PREFIX + "PORT": "0",
            PREFIX + "KEEP_ALIVE": "off",
            PREFIX + "STRICT_ORDER": "Yes",
            PREFIX + "PAY_DELAY_S": "0.5",
            PREFIX + "FLOAT_AMOUNT": "12.5",
            PREFIX + "SHORT_CODES": "600000, 600001,",
            PREFIX + "SP_PASSWORD_FILE": str(secret),
            PREFIX + "URL": "http://someone.else.reads.this",
        }
    )
    assert settings.port == 0
    assert settings.keep_alive is False
    assert settings.strict_order is True
    assert settings.pay_delay_s == 0.5
    assert settings.float_amount == Decimal("12.50")
    assert settings.short_codes == ("600000", "600001")
    assert settings.sp_password == "hidden"


WRONG = {
    "PORT": ("70000", "x"),
    "DIGEST": ("md5",),
    "CORE": ("g3",),
    "SHORT_CODES": (",",),
    "MINIMUM_AMOUNT": ("0", "1.001", "NaN", "x"),
    "MAXIMUM_AMOUNT": ("9",),
    "FLOAT_AMOUNT": ("-1",),
    "INITIATOR_ATTEMPTS": ("0",),
    "RESULT_CONNECTIONS": ("0",),
    "RESENDS": ("-1",),
    "TPS": ("-1",),
    "MESSAGE_LOG": ("-1",),
    "MSISDN_PATTERN": ("(",),
    "QUERY_UNKNOWN": ("none",),
    "TLS_KEY": ("key.pem",),
    "TLS_CLIENT_CA": ("ca.pem",),
    "RESULT_KEY": ("key.pem",),
    "PAY_DELAY_S": ("-1", "inf", "soon"),
    "RESULT_DELAY_SPREAD": ("-0.1",),
    "KEEP_ALIVE": ("maybe",),
    "BOOKS_FILE": ("/does/not/exist",),
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_a_wrong_value_is_refused_by_name(name: str, value: str) -> None:
    """One problem, which begins with the variable, whatever is wrong with it."""
    with pytest.raises(SettingsError) as caught:
        from_environment({PREFIX + name: value})
    (problem,) = caught.value.problems
    assert problem.startswith(PREFIX + name.removesuffix("_FILE"))


def test_all_problems_are_told_at_once() -> None:
    """What cannot be read and what does not fit, in one error."""
    wrong = {"PORT": "x", "TPS": "-1", "DIGEST": "md5", "KEEP_ALIVE": "perhaps"}
    with pytest.raises(SettingsError) as caught:
        from_environment({PREFIX + name: value for name, value in wrong.items()})
    assert len(caught.value.problems) == 4
    for name in wrong:
        assert PREFIX + name in str(caught.value)


def test_secrets_do_not_show() -> None:
    """Neither in the record's repr, nor in the message about a wrong value."""
    settings = SimulatorSettings(sp_password="s3cret-1", initiator_password="s3cret-2")
    assert "s3cret" not in repr(settings)
    with pytest.raises(SettingsError) as caught:
        from_environment({PREFIX + "PORT": "s3cret-3"})
    assert "s3cret" not in str(caught.value)
