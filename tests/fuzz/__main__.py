"""Coverage-guided fuzzing of every parser: `ops/fuzz.sh [--seconds S] [--target NAME]`.

What is found is made small and kept in `tests/fuzz/corpus`, where it is a test from then on.
"""

# ruff: noqa: T201 - It prints a table.

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fuzz.catalogue import CORPUS, TARGETS, known_cases
from tests.fuzz.minimising import kind_of, minimised
from tests.fuzz.oracle import Target

WORK: Final = Path(__file__).parents[2] / ".local" / "fuzz"
MEMORY_MIB: Final = 1024
_STAT: Final = re.compile(r"stat::(\w+):\s+(\d+)")
_COVERED: Final = re.compile(r"cov: (\d+)")


@dataclass(frozen=True, kw_only=True)
class Session:
    """What came of one target's time."""

    name: str
    runs: int
    covered: int
    peak_mib: int
    found: Path | None

    def __str__(self) -> str:
        """Return one line of the table."""
        found = "nothing" if self.found is None else str(self.found)
        return f"{self.name:12} {self.runs:>10,} {self.covered:>7,} {self.peak_mib:>6}  {found}"


def main() -> int:
    """Fuzz one target or all; 1 where anything was found, 2 where atheris is not there."""
    parser = argparse.ArgumentParser(prog="ops/fuzz.sh", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--target", choices=sorted(TARGETS), help="only this one")
    options = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed: it is there for Linux on x86-64, up to Python 3.13.")
        return 2
    names = [options.target] if options.target else list(TARGETS)
    print(f"{'target':12} {'runs':>10} {'covered':>7} {'MiB':>6}  found", flush=True)
    sessions = [_fuzz(TARGETS[name], options.seconds) for name in names]
    runs = sum(session.runs for session in sessions)
    found = [session for session in sessions if session.found is not None]
    print(f"{'all':12} {runs:>10,}; found: {len(found)}")
    return int(bool(found))


def _fuzz(target: Target, seconds: int) -> Session:
    folder = WORK / target.name
    seeds, grown, artifacts = (folder / name for name in ("seeds", "grown", "artifacts"))
    for one in (seeds, grown, artifacts):
        one.mkdir(parents=True, exist_ok=True)
    for old in artifacts.iterdir():
        old.unlink()
    for data in (*target.seeds(), *(path.read_bytes() for path in known_cases(target))):
        (seeds / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    log = folder / "log.txt"
    with log.open("wb") as out:
        subprocess.run(  # noqa: S603 - our own module
            [
                sys.executable, "-m", "tests.fuzz.guided", target.name, str(artifacts),
                str(grown), str(seeds),
                f"-max_total_time={seconds}", f"-max_len={target.most}", "-print_final_stats=1",
                f"-rss_limit_mb={MEMORY_MIB}", "-timeout=20", "-len_control=0",
                f"-artifact_prefix={artifacts}/",
            ],
            stdout=out, stderr=out, check=False,
        )  # fmt: skip
    said = log.read_text(errors="replace")
    stats = {name: int(value) for name, value in _STAT.findall(said)}
    session = Session(
        name=target.name,
        runs=stats.get("number_of_executed_units", 0),
        covered=max((int(one) for one in _COVERED.findall(said)), default=0),
        peak_mib=stats.get("peak_rss_mb", 0),
        found=_kept(target, artifacts),
    )
    print(session, flush=True)
    if not session.runs:
        print(said[-2000:])
    return session


def _kept(target: Target, artifacts: Path) -> Path | None:
    """Put what was found into the corpus, made small where it can be found again from here."""
    for path in sorted(artifacts.iterdir()):
        data = path.read_bytes()
        if kind_of(target, data) is not None:
            data = minimised(target, data)
        folder = CORPUS / target.name
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder / f"found-{hashlib.sha256(data).hexdigest()[:10]}"
        kept.write_bytes(data)
        return kept
    return None


if __name__ == "__main__":
    raise SystemExit(main())
