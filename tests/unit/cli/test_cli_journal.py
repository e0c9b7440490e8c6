"""The journal of a sending tells how far it came, whatever ended it, and belongs to one process."""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ops.cli.exits import CommandError
from ops.cli.sending.journal import Errand, Journal, UnkeptJournal
from ops.cli.sending.resuming import broker_of, find_journal, interrupted

ERRAND = Errand(
    file="/files/salaries.csv", digest="d" * 64, run_id="r-1", account="default", broker="b:1/v p"
)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Gives a journal that was begun."""
    journal = Journal.found(tmp_path / ERRAND.name, ERRAND)
    journal.begin()
    yield journal
    journal.close()


def again(tmp_path: Path, errand: Errand = ERRAND, *, restart: bool = False) -> Journal:
    """Gives the journal as the next process finds it."""
    return find_journal(tmp_path, errand, restart=restart)


def lines_of(tmp_path: Path) -> list[dict[str, object]]:
    """Gives what stands in the journal."""
    return [json.loads(line) for line in (tmp_path / ERRAND.name).read_text().splitlines()]


def test_an_errand_that_was_never_begun_stands_at_nothing(tmp_path: Path) -> None:
    """And nothing is written until it begins."""
    with (tmp_path / "x").open("w"):
        found = again(tmp_path / "state")
    assert (found.standing.rows, found.standing.at, found.standing.stopped) == (0, None, True)
    assert list((tmp_path / "state").iterdir()) == []


@pytest.mark.parametrize("stopped", [True, False])
def test_what_was_noted_is_found(tmp_path: Path, journal: Journal, stopped: bool) -> None:
    """How many rows, when, and whether it ended in order; the file is for its owner alone."""
    journal.note(500)
    journal.note(1234, stopped=stopped)
    journal.close()
    found = again(tmp_path)
    assert (found.standing.rows, found.standing.stopped) == (1234, stopped)
    assert found.standing.at is not None
    assert (tmp_path / ERRAND.name).stat().st_mode & 0o077 == 0
    found.close()


def test_going_on_is_written_down_before_a_row_is_published(
    tmp_path: Path, journal: Journal
) -> None:
    """A sending that stopped in order and went on until it was killed did not end in order."""
    journal.note(700, stopped=True)
    journal.close()
    second = again(tmp_path)
    second.begin()
    second.close()
    third = again(tmp_path)
    assert (third.standing.rows, third.standing.stopped) == (700, False)
    third.close()


def test_a_torn_line_is_as_if_never_written(tmp_path: Path, journal: Journal) -> None:
    """What is noted later stands in a line of its own."""
    journal.note(500)
    journal.close()
    with (tmp_path / ERRAND.name).open("ab") as file:
        file.write(b'{"rows": 99')
    second = again(tmp_path)
    assert second.standing.rows == 500
    second.note(600)
    second.close()
    assert [one.get("rows") for one in lines_of(tmp_path)] == [None, 0, 500, 600]


@pytest.mark.parametrize("content", [b"", b'{"journal": 1, "fi'])
def test_a_journal_without_a_whole_line_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    """Its first line is on disk before the first row is published."""
    (tmp_path / ERRAND.name).write_bytes(content)
    found = again(tmp_path)
    assert (found.standing.rows, found.standing.stopped) == (0, True)
    found.begin()
    found.note(3)
    found.close()
    assert lines_of(tmp_path)[0]["digest"] == ERRAND.digest
    assert lines_of(tmp_path)[-1]["rows"] == 3


def test_a_long_journal_is_read_at_its_ends(tmp_path: Path, journal: Journal) -> None:
    """However many lines it has, little of it is read."""
    for rows in range(1, 400):
        journal.note(rows)
    journal.close()
    assert (tmp_path / ERRAND.name).stat().st_size > 16 * 1024
    found = again(tmp_path)
    assert found.standing.rows == 399
    found.close()


def test_fewer_rows_change_nothing(tmp_path: Path, journal: Journal) -> None:
    """A note that comes late, from another thread, does not turn the journal back."""
    journal.note(500)
    journal.note(400)
    journal.close()
    found = again(tmp_path)
    assert found.standing.rows == 500
    found.close()


@pytest.mark.parametrize(
    "content",
    [
        b"rubbish\n",
        b"[1]\n",
        b"{}\n",
        b'{"journal": 2}\n',
        b'{"journal": 1, "what": 1}\n',
        b'{"journal": 1, "file": "f", "digest": "d", "run_id": "r", "account": "a"}\n{"rows": 1}\n',
        b"\xff\n",
    ],
)
def test_what_is_no_journal_is_refused(tmp_path: Path, content: bytes) -> None:
    """With what to do; --restart does without it."""
    (tmp_path / ERRAND.name).write_bytes(content)
    with pytest.raises(CommandError, match="Say --restart"):
        again(tmp_path)
    found = again(tmp_path, restart=True)
    assert found.standing.rows == 0
    assert not (tmp_path / ERRAND.name).exists()


def test_a_file_is_sent_by_one_process_at_a_time(tmp_path: Path, journal: Journal) -> None:
    """Whoever comes second is told to wait, with --restart as well."""
    for restart in (False, True):
        with pytest.raises(CommandError, match="by another process"):
            again(tmp_path, restart=restart)
    journal.close()
    again(tmp_path).close()


def test_of_two_that_begin_at_once_one_is_refused(tmp_path: Path) -> None:
    """Both found no journal; the second must not publish what the first does."""
    first, second = again(tmp_path), again(tmp_path)
    first.begin()
    with pytest.raises(CommandError, match="by another process"):
        second.begin()
    first.close()


def test_a_finished_journal_is_gone(tmp_path: Path, journal: Journal) -> None:
    """The file, sent again, is compared with the database alone."""
    journal.finish()
    assert list(tmp_path.iterdir()) == []
    assert again(tmp_path).standing.rows == 0


def test_a_full_disk_is_told(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A note that is not whole is none."""
    journal.note(500)
    monkeypatch.setattr(os, "write", lambda *_: 3)
    with pytest.raises(CommandError, match=r"cannot be written \(the disk is full\), after 500"):
        journal.note(600)
    assert journal.standing.rows == 500


def test_a_changed_file_is_refused(tmp_path: Path, journal: Journal) -> None:
    """With what to do; --restart forgets the earlier version."""
    journal.note(500, stopped=True)
    journal.close()
    changed = replace(ERRAND, digest="e" * 64, run_id="r-2")
    with pytest.raises(CommandError, match=r"changed since .* run r-1, was interrupted after 500"):
        again(tmp_path, changed)
    assert again(tmp_path, changed, restart=True).standing.rows == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("other", [{"run_id": "r-2"}, {"account": "bonus"}])
def test_the_same_content_is_not_sent_as_something_else(
    tmp_path: Path, journal: Journal, other: dict[str, str]
) -> None:
    """Rows of one run would be paid again by another, where ids are derived."""
    journal.note(500, stopped=True)
    journal.close()
    with pytest.raises(CommandError, match="Send it to its end with --run-id r-1"):
        again(tmp_path, replace(ERRAND, **other))


@pytest.mark.parametrize(
    "other", [{"broker": "c:1/v p", "digest": "e" * 64}, {"file": "/x.csv", "digest": "e" * 64}]
)
def test_what_has_nothing_to_do_with_it_is_sent(
    tmp_path: Path, journal: Journal, other: dict[str, str]
) -> None:
    """Another broker, or another file of the same run."""
    journal.note(500)
    assert again(tmp_path, replace(ERRAND, **other)).standing.rows == 0


def test_a_file_may_be_moved(tmp_path: Path, journal: Journal) -> None:
    """Its content is what counts."""
    journal.note(500)
    journal.close()
    found = again(tmp_path, replace(ERRAND, file="/elsewhere/other.csv"))
    assert found.standing.rows == 500
    found.close()


def test_a_rehearsal_hears_of_interrupted_sendings(tmp_path: Path, journal: Journal) -> None:
    """To whatever broker, while they are under way, too; rubbish in the folder is passed over."""
    journal.note(500)
    (tmp_path / "other.jsonl").write_bytes(b"rubbish\n")
    found = list(interrupted(tmp_path, replace(ERRAND, broker="")))
    assert [(one.broker, standing.rows) for one, standing in found] == [("b:1/v p", 500)]
    assert not list(interrupted(tmp_path / "nothing", ERRAND))


def test_a_folder_that_cannot_be_used_is_an_error_of_the_system(tmp_path: Path) -> None:
    """The command decides what that means."""
    (tmp_path / "state").write_text("")
    with pytest.raises(FileExistsError):
        again(tmp_path / "state")


def test_where_nothing_can_be_kept_it_is_known_while_it_lasts() -> None:
    """The same steps, and no file."""
    journal = UnkeptJournal(ERRAND)
    journal.begin()
    journal.note(500)
    assert journal.standing.rows == 500
    journal.finish()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("amqp://me:s3cret@host:5673/%2F", "host:5673// payouts"),
        ("amqp://host", "host:5672/ payouts"),
        ("amqps://host/pay?heartbeat=5", "host:5671/pay payouts"),
    ],
)
def test_brokers_are_told_apart_without_secrets(url: str, told: str) -> None:
    """By host, port, virtual host and prefix."""
    assert broker_of(url, "payouts") == told
    assert re.search("s3cret|me:", broker_of(url, "payouts")) is None
