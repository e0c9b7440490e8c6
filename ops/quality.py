"""The whole check in one command: style, types, import contracts, every test with coverage.

Without arguments all of it runs; with arguments only pytest does, and gets them. The static
checks run at once, then the tests; the summary and pytest's own closing line come last.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PACKAGES = ("payouts", "worker", "callback_server", "migrations", "ops")
# Most tests wait for servers: two at a time need little more than one. A file stays together.
SIDE_BY_SIDE = ("--numprocesses=2", "--dist=loadfile")
CLOSING = re.compile(r"\b\d+ (passed|failed|error|errors|skipped|deselected)\b.* in [\d.]+s")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One program to run: it is in order when it exits with 0."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one check ended, with what it said."""

    name: str
    passed: bool
    said: str
    took_s: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the whole gate, or pytest with `arguments` alone; 1 where anything failed."""
    chosen = sys.argv[1:] if arguments is None else arguments
    if chosen:
        return subprocess.call([sys.executable, "-m", "pytest", *chosen], cwd=PROJECT)
    outcomes = run_together(static_checks())
    for outcome in outcomes:
        print(f"{verdict(outcome)}  {outcome.name} ({outcome.took_s:.1f} s)", flush=True)
        if not outcome.passed:
            print(outcome.said, flush=True)
    tests, coverage = run_tests(PROJECT / ".local" / "coverage")
    print(
        "\n" + summary([*outcomes, tests], coverage, closing=closing_line(tests.said)), flush=True
    )
    return int(not all(outcome.passed for outcome in [*outcomes, tests]))


def static_checks() -> list[Check]:
    """Gives the checks that need no servers, the slowest first."""
    bare = {"NO_COLOR": "1"}
    return [
        Check(name="mypy", command=_mypy("packages", *PACKAGES), environment=bare),
        *_checks_of_tests(),
        Check(name="lint-imports", command=_tool("lint-imports", "--no-logo"), environment=bare),
        Check(name="ruff check", command=_tool("ruff", "check", "."), environment=bare),
        Check(
            name="ruff format", command=_tool("ruff", "format", "--check", "."), environment=bare
        ),
    ]


def run_together(checks: Sequence[Check]) -> list[Outcome]:
    """Runs checks side by side, as many as there are processors, and gives all outcomes."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(run, checks))


def run(check: Check) -> Outcome:
    """Runs one check to its end."""
    began = time.monotonic()
    done = subprocess.run(
        check.command,
        cwd=PROJECT,
        env={**os.environ, **check.environment},
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return Outcome(
        name=check.name,
        passed=done.returncode == 0,
        said=done.stdout,
        took_s=time.monotonic() - began,
    )


def run_tests(folder: Path) -> tuple[Outcome, str]:
    """Runs every test under coverage, its child processes too, and shows it as it goes.

    Returns:
        The outcome, and the coverage of lines and of branches in words.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    environment = {
        **os.environ,
        "COVERAGE_FILE": str(folder / "data"),
        # With this, coverage's own start-up file measures each Python process that a test starts.
        "COVERAGE_PROCESS_START": str(PROJECT / "pyproject.toml"),
    }
    options = ["--color=yes" if sys.stdout.isatty() else "--color=auto"]
    options += [*SIDE_BY_SIDE, "--durations=12", "--durations-min=3"]
    began = time.monotonic()
    lines = []
    with subprocess.Popen(
        _tool("coverage", "run", "-m", "pytest", *options),
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(line)
    outcome = Outcome(
        name="pytest",
        passed=process.returncode == 0,
        said="".join(lines),
        took_s=time.monotonic() - began,
    )
    return outcome, _coverage(folder, environment)


def summary(outcomes: Sequence[Outcome], coverage: str, *, closing: str) -> str:
    """Gives one line a check, the coverage, and pytest's closing line as the very last."""
    width = max(len(outcome.name) for outcome in outcomes)
    lines = [
        f"{verdict(outcome)}  {outcome.name.ljust(width)}  {outcome.took_s:6.1f} s"
        for outcome in outcomes
    ]
    return "\n".join([*lines, f"coverage: {coverage}", closing])


def verdict(outcome: Outcome) -> str:
    """Gives the word for an outcome, always of the same width."""
    return "ok    " if outcome.passed else "FAILED"


def closing_line(said: str) -> str:
    """Gives the last line in which pytest counts the tests, without its frame."""
    for line in reversed(COLOURS.sub("", said).splitlines()):
        if CLOSING.search(line):
            return line.strip("= ")
    return "pytest did not come to its end"


def _coverage(folder: Path, environment: Mapping[str, str]) -> str:
    """Joins what all processes measured; a broken measurement is told, and fails nothing."""
    report = folder / "report.json"
    for step in (("combine", "--quiet"), ("json", "--quiet", "-o", str(report)), ("report",)):
        done = subprocess.run(
            _tool("coverage", *step), cwd=PROJECT, env=dict(environment), check=False
        )
        if done.returncode != 0:
            return f"not known: `coverage {step[0]}` failed"
    totals = json.loads(report.read_text(encoding="utf-8"))["totals"]
    lines = _share(totals["covered_lines"], totals["num_statements"])
    branches = _share(totals["covered_branches"], totals["num_branches"])
    return f"lines {lines}, branches {branches}"


def _share(covered: int, all_: int) -> str:
    return f"{100 * covered / all_:.1f} %" if all_ else "none"


def _checks_of_tests() -> list[Check]:
    """Has mypy read the tests, in parts.

    A folder with a `..._bed.py` is on the import path of its tests, so modules there have no
    package; two of them cannot both have a `conftest` in one run.
    """
    beds = sorted({path.parent for path in (PROJECT / "tests").rglob("*_bed.py")})
    environment = {"NO_COLOR": "1", "MYPYPATH": os.pathsep.join(map(str, beds))}
    alone = [str((bed / "conftest.py").relative_to(PROJECT)) for bed in beds]
    alone = [name for name in alone if (PROJECT / name).exists()]
    excluded = [f"--exclude=^{re.escape(name)}$" for name in alone]
    parts = [("tests", [*excluded, "tests"]), *((name, [name]) for name in alone)]
    return [
        Check(
            name=f"mypy {name}",
            command=_mypy(name, "--explicit-package-bases", *rest),
            environment=environment,
        )
        for name, rest in parts
    ]


def _mypy(part: str, *arguments: str) -> list[str]:
    """Gives each run a cache of its own: two that share one break each other's."""
    folder = PROJECT / ".mypy_cache" / re.sub(r"\W", "-", part)
    return _tool("mypy", f"--cache-dir={folder}", *arguments)


def _tool(name: str, *arguments: str) -> list[str]:
    return [str(Path(sys.executable).parent / name), *arguments]


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        raise SystemExit(main())
    raise SystemExit(130)
