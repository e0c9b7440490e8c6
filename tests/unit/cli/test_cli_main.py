"""One command, one exit status, one clear line: never a traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ops.cli import app as cli
from ops.cli.exits import CommandError, UsageError
from payouts.domain.codes import CODES
from payouts.domain.errors import SettingsError, StoreUnavailableError

ROOT = Path(__file__).parents[3]
PLAIN = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs `payouts` as a process of its own, without any setting of ours."""
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "ops.cli", *arguments],
        cwd=ROOT,
        env={**PLAIN, **environ},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["frobnicate"], 'Unknown command "frobnicate"'),
        (["show"], "PAYOUT_ID"),
        (["codes", "--bad"], "Unknown option"),
        (["list", "--state", "lost"], '"in_doubt"'),
        (["worker", "--processes", "0"], "Must be >= 1"),
        (["list", "--older-than", "soon"], "--older-than must be an age such as 90s"),
        (["list", "--newer-than", "2026-11-30T10:00:00"], "--newer-than must be"),
        (["send", "nothing.csv"], "nothing.csv cannot be read"),
        (["send", "nothing.csv", "--deadline", "5"], "--deadline is for --wait"),
        (["send", "nothing.csv", "--run-id", "a b"], "--run-id must be 1-64"),
        (["show", "x"], "PAYOUTS_DATABASE_URL: is required"),
        (["pause", "default", "--reason", "x"], "PAYOUTS_DATABASE_URL: is required"),
        (["pause", "default", "--reason", " "], "--reason must say why"),
        (["pause", "--reason", "x"], "Name an account, or a run with --run"),
        (["resume", "a", "--run", "b", "--reason", "x"], "Name an account, or a run with --run"),
        (["run", "pause", "a b", "--reason", "x"], "A run is named by"),
        (["retry", "--reason", "x"], "Name at least one payout"),
        (["retry", "a"], "--reason"),
        (["cancel", "a", "--reason", "   "], "--reason must say why"),
        (["cancel", "a", "--reason", "x" * 1001], "--reason must be up to 1000 characters"),
        (["hold", "a", "--run", "b", "--reason", "x"], "Name payouts or --run, not both"),
        (["resolve", "a", "--reason", "x"], "Say one of --paid RECEIPT and --not-paid"),
        (["resolve", "a", "--paid", "R", "--not-paid", "--evidence", "x"], "Say one of --paid"),
        (["resolve", "a", "--paid", "two words", "--evidence", "x"], "--paid needs the receipt"),
        (["resolve", "a", "--not-paid"], "--reason"),
        (["reconcile", "a"], "--reason must say why"),
        (["reconcile", "--reason", "x"], "Name at least one payout"),
        (["reconcile", "a", "--in-doubt", "--reason", "x"], "--in-doubt goes alone"),
        (["reconcile", "a", "--since", "1d", "--reason", "x"], "Name a statement"),
        (["reconcile", "a.csv", "--reason", "x"], "are for asking"),
        (["reconcile", "a.csv", "b.csv"], "Name one statement file"),
        (["dead-letters", "replay", "--reason", "x"], "or say --all"),
        (["dead-letters", "discard", "a", "--all", "--reason", "x"], "--all goes alone"),
        (["dead-letters", "list", "--why", "odd"], "conflict"),
        (["audit", "verify", "--head", "abc"], "--head must be a hash"),
        (["audit", "list", "--limit", "0"], "Must be >= 1"),
        (["db", "restored", "--reason", "x", "--ask-first", "soon"], "--ask-first must be"),
    ],
)
def test_wrong_usage_and_configuration_exit_2(
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The message is on stderr and says what to do; stdout stays empty."""
    for name in [one for one in os.environ if one.startswith("PAYOUTS_")]:
        monkeypatch.delenv(name)
    assert cli.main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert said in told.err
    assert "Traceback" not in told.err


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UsageError("Say it otherwise."), 2, "payouts: Say it otherwise."),
        (CommandError("It is not there."), 1, "payouts: It is not there."),
        (SettingsError(("PAYOUTS_X: is required",)), 2, "PAYOUTS_X: is required"),
        (StoreUnavailableError(), 1, "payouts: The database does not answer"),
        (KeyboardInterrupt(), 130, "Interrupted."),
        (ValueError("254712345678"), 1, "This should not happen: ValueError at test_cli_main.py"),
    ],
)
def test_every_error_has_its_status_and_its_line(
    error: BaseException,
    status: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was not foreseen names its place, and not its message, which could hold a number."""

    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "build_app", lambda: fail)
    assert cli.main(["anything"]) == status
    told = capsys.readouterr()
    assert said in told.err
    assert "254712345678" not in told.err


def test_help_and_version_exit_0() -> None:
    """Help is data: it goes to stdout, and names every command and the exit statuses."""
    told = run("--help")
    assert told.returncode == 0
    assert told.stderr == ""
    for name in ("worker", "callback-server", "simulator", "db", "send", "show", "list", "verify"):
        assert name in told.stdout
    assert "Exit status" in told.stdout
    assert run("--version").returncode == 0


def test_codes_as_json_are_the_whole_table() -> None:
    """Each row has its side, core, class and what it proves."""
    told = run("codes", "--json")
    assert told.returncode == 0
    rows = json.loads(told.stdout)
    assert len(rows) == len(CODES)
    assert {"side", "core", "code", "class", "meaning", "proves_unpaid", "source"} == set(rows[0])


def test_codes_can_be_filtered() -> None:
    """By code, side, core and class; nothing found is told on stderr and is no error."""
    rows = json.loads(run("codes", "15", "--side", "response", "--core", "G2", "--json").stdout)
    assert [row["class"] for row in rows] == ["duplicate"]
    rows = json.loads(run("codes", "--class", "configuration", "--json").stdout)
    assert {row["class"] for row in rows} == {"configuration"}
    none = run("codes", "987654")
    assert none.returncode == 0
    assert "No code fits" in none.stderr


def test_a_pipe_gets_no_colour_and_no_folding() -> None:
    """Each code is one line, without escape sequences."""
    told = run("codes")
    assert "\x1b" not in told.stdout
    assert len(told.stdout.splitlines()) == len(CODES) + 2


def test_a_reader_that_leaves_is_no_error() -> None:
    """`payouts codes | head -1` ends quietly."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ops.cli", "codes"],
        cwd=ROOT,
        env=PLAIN,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert (process.wait(30), said) == (0, b"")


def test_a_dry_run_needs_no_server(tmp_path: Path) -> None:
    """Rows can be checked anywhere; what was not compared is told."""
    file = tmp_path / "f.csv"
    file.write_text("payout_id;msisdn;amount\na;0712345678;10\n")
    told = run("send", str(file), "--dry-run", "--json", PAYOUTS_SHORTCODE="600000")
    assert told.returncode == 0
    assert json.loads(told.stdout)["new"][0]["sum"] == "10.00"
    assert "PAYOUTS_DATABASE_URL is not set" in told.stderr
    assert "712345678" not in told.stdout + told.stderr


def test_a_file_with_problems_exits_1_and_tells_them_all(tmp_path: Path) -> None:
    """Line and column of each; nothing was published."""
    file = tmp_path / "f.csv"
    file.write_text("payout_id,msisdn,amount\na b,712345678,10\nb,0712345678,1e5\n")
    told = run("send", str(file), "--dry-run", PAYOUTS_SHORTCODE="600000")
    assert told.returncode == 1
    assert told.stdout == ""
    for said in ("line 2, payout_id", "line 2, msisdn", "line 3, amount", "nothing was published"):
        assert said in told.stderr
    assert "712345678" not in told.stderr
