"""Data on stdout, messages on stderr, nothing that steers a terminal, no number in the clear."""

import io
import json
from datetime import UTC, datetime, timedelta

import pytest

from ops.cli.exits import UsageError
from ops.cli.records import incident_record, payout_record, timeline_record
from ops.cli.screen import Screen, table
from ops.cli.words import count, duration, hide_numbers, moment, money, plural, printable, relative
from payouts.domain.commands import AccountRules, payout_of, validate
from payouts.domain.payout import State, TimelineEntry
from payouts.domain.values import AccountName, PayoutId
from payouts.ports import Incident, IncidentKind

NOW = datetime(2026, 11, 30, 12, 0, 0, 123456, tzinfo=UTC)
RULES = AccountRules(name=AccountName("default"), shortcode="600000", organisation="ORG")


class Keyboard(io.StringIO):
    """A person who answers."""

    def isatty(self) -> bool:
        """Says that somebody is there."""
        return True


def screen(keyboard: io.StringIO | None = None) -> tuple[Screen, io.StringIO, io.StringIO]:
    """Gives a screen and its two streams."""
    out, err = io.StringIO(), io.StringIO()
    return Screen(out, err, keyboard or io.StringIO()), out, err


def test_data_and_messages_go_their_own_ways() -> None:
    """A pipe reads data alone."""
    one, out, err = screen()
    one.line("data")
    one.say("message")
    one.complain("wrong\nmore")
    assert out.getvalue() == "data\n"
    assert err.getvalue() == "message\npayouts: wrong\nmore\n"


def test_escape_sequences_and_markup_are_only_text() -> None:
    """What the gateway or a file says cannot steer a terminal."""
    one, out, _ = screen()
    one.line("a\x1b[31mb[bold]c[/bold]:smile:\r\u202e")
    assert out.getvalue() == "a\\x1b[31mb[bold]c[/bold]:smile:\\r\\u202e\n"


def test_tables_are_not_folded_in_a_pipe() -> None:
    """A line stays a line, however long."""
    one, out, _ = screen()
    one.show(table(("name",), [("x" * 300,)]))
    assert "x" * 300 in out.getvalue()


def test_json_is_one_line_in_a_pipe() -> None:
    """So that it can be read line by line."""
    one, out, _ = screen()
    one.json({"a": "ä"})
    assert json.loads(out.getvalue()) == {"a": "ä"}
    assert out.getvalue().count("\n") == 1


@pytest.mark.parametrize(("answer", "agreed"), [("y\n", True), ("YES\n", True), ("\n", False)])
def test_a_person_is_asked(answer: str, agreed: bool) -> None:
    """Only a clear yes is one; the question is on stderr."""
    one, out, err = screen(Keyboard(answer))
    assert one.confirm("Send?", yes=False) is agreed
    assert (out.getvalue(), err.getvalue()) == ("", "Send? [y/N] ")


def test_where_nobody_is_there_yes_must_be_said() -> None:
    """A script that forgot --yes pays nobody."""
    one, _, _ = screen()
    assert one.confirm("Send?", yes=True)
    with pytest.raises(UsageError, match="--yes"):
        one.confirm("Send?", yes=False)


def test_figures_are_written_for_people() -> None:
    """Thousands apart, two decimals, nouns in number."""
    assert (count(1000), plural(1, "row"), plural(2000, "row")) == ("1,000", "1 row", "2,000 rows")
    assert money(123456789, "KES") == "KES 1,234,567.89"
    assert money(-5) == "-0.05"
    assert moment(NOW) == "2026-11-30 12:00:00.123Z"
    assert moment(None) == ""


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.2, "less than 1 s"),
        (59, "59 s"),
        (125, "2 min 5 s"),
        (7200, "2 h"),
        (90061, "1 d 1 h"),
    ],
)
def test_lengths_of_time_have_two_units_at_most(seconds: float, told: str) -> None:
    """Nobody needs the seconds of a day."""
    assert duration(seconds) == told
    assert relative(NOW + timedelta(seconds=seconds), NOW) == f"in {told}"


def test_numbers_in_free_text_are_masked_and_codes_are_not() -> None:
    """International, national and signed forms; ids and codes of nine digits stay."""
    text = "254712345678 +254112345678 0712345678 100000001 AG_20261130_0712 x0712345678"
    assert hide_numbers(text) == (
        "2547****5678 +254*****5678 0712**5678 100000001 AG_20261130_0712 x0712345678"
    )


def test_printable_keeps_what_people_write() -> None:
    """Letters of all scripts stay; what cannot be seen is made visible."""
    assert printable("Wanjikũ — ok") == "Wanjikũ — ok"
    assert printable("a\nb") == "a\\nb"


def test_records_mask_the_receiver_and_leave_metadata_out() -> None:
    """Also where the story's own words name the receiver."""
    command = validate(
        {
            "payout_id": "a",
            "msisdn": "0712345678",
            "amount": "5",
            "remark": "Juma",
            "metadata": {"name": "Juma"},
        },
        RULES,
    )
    payout = payout_of(command, RULES, state=State.RECEIVED, now=NOW)
    entry = TimelineEntry(
        at=NOW,
        actor="worker 1",
        kind="answer",
        from_state=None,
        to_state=None,
        attempt=1,
        detail="for 254712345678",
    )
    incident = Incident(
        kind=IncidentKind.MISMATCH,
        at=NOW,
        payout_id=PayoutId("a"),
        detail="other receiver 254712345678",
        evidence={"ReceiverPartyPublicName": "254712345678 - Juma"},
    )
    told = json.dumps([payout_record(payout), timeline_record(entry), incident_record(incident)])
    assert "712345678" not in told
    assert "Juma" not in told
    assert told.count("2547****5678") == 3
    assert payout_record(payout)["metadata_keys"] == ["name"]
