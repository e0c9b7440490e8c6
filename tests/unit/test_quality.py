"""The check of everything: what failed is told, and nothing that failed is hidden."""

import subprocess
import sys
from pathlib import Path

import pytest

from ops import quality
from ops.quality import Check, Outcome, closing_line, run, run_together, summary


def check(name: str, program: str) -> Check:
    """Makes a check of a few words of Python."""
    return Check(name=name, command=[sys.executable, "-c", program], environment={"SAID": "word"})


def test_a_check_passes_by_its_exit_status_alone() -> None:
    """What a program prints does not matter, on either stream; its exit status does."""
    loud = run(check("loud", "import os; print('error', os.environ['SAID'])"))
    broken = run(check("broken", "import sys; print('fine', file=sys.stderr); sys.exit(3)"))
    assert (loud.passed, loud.said.strip()) == (True, "error word")
    assert (broken.passed, broken.said.strip()) == (False, "fine")


def test_all_checks_run_even_if_one_fails() -> None:
    """Outcomes come in the order of the checks, not of their ends."""
    outcomes = run_together([check("first", "raise SystemExit(1)"), check("second", "")])
    assert [(outcome.name, outcome.passed) for outcome in outcomes] == [
        ("first", False),
        ("second", True),
    ]


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("x\n=== 3 passed in 1.20s ===\n", "3 passed in 1.20s"),
        ("=== 1 failed, 3 passed, 2 skipped in 71.20s (0:01:11) ===\n", None),
        ("\x1b[32m=== \x1b[1m8 passed\x1b[0m\x1b[32m in 0.10s ===\x1b[0m\nafter\n", None),
        ("collected 4 items\n", "pytest did not come to its end"),
    ],
)
def test_the_closing_line_of_pytest_is_found(said: str, line: str | None) -> None:
    """The count of tests is shown again at the very end, without frame and colours."""
    found = closing_line(said)
    assert found == line if line else " passed" in found
    assert "=" not in found
    assert "\x1b" not in found


def test_the_summary_names_each_failure_and_ends_with_the_count() -> None:
    """One line a check; the last line is pytest's own."""
    outcomes = [
        Outcome(name="mypy", passed=False, said="", took_s=2.0),
        Outcome(name="pytest", passed=True, said="", took_s=61.0),
    ]
    lines = summary(outcomes, "lines 90.0 %", closing="9 passed in 61.00s").splitlines()
    assert lines == [
        "FAILED  mypy       2.0 s",
        "ok      pytest    61.0 s",
        "coverage: lines 90.0 %",
        "9 passed in 61.00s",
    ]


def test_one_failure_fails_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proved by the exit status: each check, and the tests, can fail it alone."""
    good = Outcome(name="good", passed=True, said="1 passed in 1.00s", took_s=1.0)
    bad = Outcome(name="bad", passed=False, said="1 failed in 1.00s", took_s=1.0)
    for static, tests, status in ((good, good, 0), (bad, good, 1), (good, bad, 1)):
        monkeypatch.setattr(quality, "run_together", lambda _, given=static: [given])
        monkeypatch.setattr(quality, "run_tests", lambda _, given=tests: (given, "none"))
        assert quality.main([]) == status


def test_with_arguments_only_pytest_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The arguments reach pytest as they are, and its exit status comes back."""
    called: list[list[str]] = []

    def call(command: list[str], cwd: Path) -> int:
        called.append(command)
        return 5

    monkeypatch.setattr(subprocess, "call", call)
    assert quality.main(["tests/unit", "-k", "money"]) == 5
    assert called == [[sys.executable, "-m", "pytest", "tests/unit", "-k", "money"]]
