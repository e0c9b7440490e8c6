import pytest

from ops.docs import settings, telemetry
from ops.docs.sections import ROOT


@pytest.mark.parametrize("page", [settings, telemetry], ids=["settings", "telemetry"])
def test_the_page_is_as_the_code_has_it(page: object) -> None:
    """Who changes a setting or a signal runs `python -m ops.docs`."""
    path = getattr(page, "PATH", "")
    assert (ROOT / path).read_text(encoding="utf-8") == page.page()  # type: ignore[attr-defined]


def test_every_variable_has_a_meaning() -> None:
    """No row of the table is empty."""
    rows = [line for line in settings.page().splitlines() if line.startswith("| `PAYOUTS_")]
    assert len(rows) > 50
    assert all(cell.strip() for row in rows for cell in row.strip("|").split(" | ")[:3])
