"""One small real run of `payouts bench full`: both books are paid from, round after round."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench_bed import told_by

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


def test_rounds_on_both_books_find_them_as_they_were(tmp_path: Path) -> None:
    """Each payout is new in each round, though the full books stay.

    Proved by leaving the round's payouts in: the second one finds all of them known.
    """
    told = told_by(
        "full",
        *("--ended", "2000", "--payouts", "300", "--rounds", "2"),
        output=tmp_path,
    )
    assert [len(told["rounds"][books]) for books in ("empty", "full")] == [2, 2]
    assert told["full_to_empty"]["median"] > 0
    assert "| 2,000 ended payouts |" in (tmp_path / "full.md").read_text(encoding="utf-8")
