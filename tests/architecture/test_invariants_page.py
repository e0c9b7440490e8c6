"""The table of invariants names tests that are there."""

import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| (\d+) \|.*\|$", re.MULTILINE)
NAMED = re.compile(r"`(test_\w+)`")


def rows() -> dict[int, list[str]]:
    """Gives the table's rows by invariant."""
    page = (PROJECT / "docs" / "explanation" / "how-we-test.md").read_text(encoding="utf-8")
    found: dict[int, list[str]] = {}
    for row in ROW.finditer(page):
        found.setdefault(int(row[1]), []).append(row[0])
    return found


def test_every_invariant_has_tests_that_exist() -> None:
    """Invariants 1 to 10 each have a row, and each row names a test of this project."""
    tests = (PROJECT / "tests").rglob("test_*.py")
    defined = set(re.findall(r"def (test_\w+)\(", "".join(one.read_text() for one in tests)))
    table = rows()
    assert sorted(table) == list(range(1, 11))
    for row in (row for same in table.values() for row in same):
        named = set(NAMED.findall(row))
        assert named, row
        assert named <= defined, row
