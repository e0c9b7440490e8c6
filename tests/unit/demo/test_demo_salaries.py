"""The shipped file is what the code says, and only people of the test bed stand in it."""

import csv
import io
from pathlib import Path

import pytest

from ops.demo import salaries
from ops.demo.__main__ import main
from ops.demo.keeping import told
from ops.simulator.numbers import SERIES, all_numbers
from payouts.domain.commands import AccountRules, validate
from payouts.domain.values import AccountName

SHIPPED = Path(__file__).parents[3] / "ops" / "examples" / "salaries.csv"


def test_the_shipped_file_is_what_the_code_writes() -> None:
    """Nobody edits one of the two alone."""
    made = io.StringIO()
    salaries.write(made)
    assert SHIPPED.read_text(encoding="utf-8") == made.getvalue()


@pytest.mark.parametrize("number", [1, 20, 1000, 5000])
def test_every_row_is_a_valid_command_of_the_test_bed(number: int) -> None:
    """Each has its own id; receivers are in the block that is nobody's."""
    rules = AccountRules(name=AccountName("default"), shortcode="600000", organisation="ORG")
    rows = [dict(zip(salaries.HEADER, row, strict=True)) for row in salaries.rows(number)]
    commands = [
        validate({name: row[name] for name in ("payout_id", "msisdn", "amount")}, rules)
        for row in rows
    ]
    assert len({one.payout_id for one in commands}) == number
    assert all(one.msisdn.startswith("2547000") for one in commands)


def test_ordinary_receivers_are_no_test_numbers() -> None:
    """Only those who are meant to misbehave do."""
    with SHIPPED.open(encoding="utf-8", newline="") as file:
        receivers = [row["msisdn"] for row in csv.DictReader(file)]
    misbehaving = [one for one in receivers if one.startswith(SERIES)]
    assert len(misbehaving) == sum(people for _, people in salaries.UNUSUAL)
    assert set(misbehaving) <= set(all_numbers())
    assert len(receivers) == salaries.SHIPPED


@pytest.mark.parametrize("arguments", [["--payouts", "0"], ["--payouts", "x"], ["--what"]])
def test_wrong_usage_of_the_demo_exits_2(arguments: list[str]) -> None:
    """Before anything is started."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def test_addresses_are_told_without_passwords() -> None:
    """A terminal is often shown to others."""
    environ = {
        "PAYOUTS_RESULT_URL": "http://127.0.0.1:1/mpesa/result",
        "PAYOUTS_AMQP_URL": "amqp://user:secret@127.0.0.1:2/",
        "PAYOUTS_DATABASE_URL": "postgresql://user:secret@127.0.0.1:3/postgres",
    }
    simulator = {"admin_url": "http://127.0.0.1:4/simulator"}
    text = "\n".join(told(Path("environ"), simulator, environ))
    assert "amqp://127.0.0.1:2" in text
    assert "secret" not in text
    assert text.count("  payouts ") == 5
