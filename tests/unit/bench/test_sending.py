"""The check of large sendings counts what came, and says what may come twice."""

from pathlib import Path
from signal import SIGKILL

import pytest

from ops.bench.errors import BenchError
from ops.bench.sending.report import document, lines
from ops.bench.sending.rounds import Round, Stop, check_places, random_places
from ops.bench.sending.tally import Tally, write_file
from ops.bench.sending.tries import Try, Used
from ops.cli.sending.columns import read_columns
from ops.cli.sending.csv_file import CsvFile
from ops.cli.sending.publish import WINDOW
from ops.cli.sending.rows import Defaults, RowReader
from payouts.domain.commands import AccountRules
from payouts.domain.values import AccountName

RULES = AccountRules(name=AccountName("default"), shortcode="600000", organisation="ORG")


def used(wall: float, others: float = 0.0) -> Used:
    """Gives what a part has used."""
    return Used(wall=wall, client=2.0, rabbitmq=4.0, postgresql=1.0, others=others)


def sent(*, missing: int = 0, repeated: int = 0, allowed: int = 0, others: float = 0.0) -> Round:
    """Gives a round."""
    last = Try(
        status=0,
        said="",
        told={"published": 1000},
        peak_mib=150.4,
        checking=used(0.03),
        publishing=used(0.05, others),
    )
    return Round(
        name="in one go",
        stops=(),
        last=last,
        missing=missing,
        repeated=repeated,
        allowed=allowed,
    )


def test_the_file_is_one_that_is_sent(tmp_path: Path) -> None:
    """Every row is valid, and each is a payout of its own."""
    write_file(tmp_path / "file.csv", 3000)
    with CsvFile(tmp_path / "file.csv") as file:
        columns, problems = read_columns(file.header)
        assert problems == []
        reader = RowReader(columns, Defaults(run_id="r", account="default"), {"default": RULES})
        commands = [reader.read(row)[0] for row in file.rows()]
    found = [one for one in commands if one is not None]
    assert len({one.payout_id for one in found}) == 3000
    assert len({(one.msisdn, one.amount_minor) for one in found}) == 3000


def test_a_tally_tells_what_is_missing_and_what_came_twice() -> None:
    """By the numbers of the rows, from 0."""
    tally = Tally(times=bytes([1, 0, 2, 1, 255]))
    assert (tally.missing, tally.repeated) == (1, [2, 4])


@pytest.mark.parametrize(("row", "fine"), [(9, False), (10, True), (10 + WINDOW, False)])
def test_only_rows_behind_a_kill_may_come_twice(row: int, fine: bool) -> None:
    """No more of them than the window has."""
    times = bytearray(b"\x01" * (WINDOW + 20))
    times[row] = 2
    killed = [Stop(rows=10, status=-SIGKILL)]
    if fine:
        check_places(Tally(times=bytes(times)), killed)
        return
    with pytest.raises(BenchError, match=f"Row {row + 1:,} came 2 times"):
        check_places(Tally(times=bytes(times)), killed)


@pytest.mark.parametrize(
    ("missing", "repeated", "allowed", "fine"),
    [(0, 0, 0, True), (1, 0, 0, False), (0, 1, 0, False), (0, 5, 5, True), (0, 6, 5, False)],
)
def test_a_round_is_fine_when_nothing_is_lost_and_little_repeated(
    missing: int, repeated: int, allowed: int, fine: bool
) -> None:
    """What may be repeated is what was promised."""
    assert sent(missing=missing, repeated=repeated, allowed=allowed).fine is fine


def test_places_are_random_and_in_order() -> None:
    """The same for the same seed."""
    places = random_places(1, 1000, 5)
    assert places == sorted(places) == random_places(1, 1000, 5)
    assert places != random_places(2, 1000, 5)
    assert len(set(places)) == 5


def test_the_report_tells_the_rate_of_the_whole_command() -> None:
    """From its start to its end, with what each part cost a row; and who else was at work."""
    told = document([sent(others=0.4)], {"read a row": 1.5}, 1000)
    assert told["rows_per_s"] == pytest.approx(12_500)
    assert told["others_cores"] == pytest.approx(5.0)
    assert told["rounds"][0]["fine"] is True
    text = "\n".join(lines([sent(others=0.4)], {"read a row": 1.5}, 1000))
    assert "12,500   (10,000 are wanted)" in text
    assert "others used 5.0 cores meanwhile" in text
    assert "150 MiB" in text
    assert "not quiet" not in "\n".join(lines([sent()], {}, 1000))


def test_what_was_used_between_two_instants_is_their_difference() -> None:
    """Field by field."""
    earlier = Used(wall=1.0, client=0.5, rabbitmq=1.0, postgresql=0.5, others=2.0)
    assert used(3.0, 2.5) - earlier == Used(
        wall=2.0, client=1.5, rabbitmq=3.0, postgresql=0.5, others=0.5
    )
