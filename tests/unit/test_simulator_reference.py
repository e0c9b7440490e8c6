from pathlib import Path

from ops.simulator import reference
from ops.simulator.faults import KINDS
from ops.simulator.numbers import SERIES, all_numbers
from ops.simulator.settings import ABOUT, SimulatorSettings

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "simulator.md"


def test_the_page_holds_the_tables_of_the_code() -> None:
    """`python -m ops.simulator.reference` would change nothing in the page."""
    text = PAGE.read_text(encoding="utf-8")
    assert reference.filled(text) == text
    for number in all_numbers():
        assert f"`{number}`" in text
    for kind in KINDS:
        assert f"| `{kind}` |" in text


def test_the_page_is_rewritten_in_place(tmp_path: Path) -> None:
    """Only what stands between the marks is replaced."""
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- begin faults -->\nold\n<!-- end faults -->\nafter\n")
    assert reference.main([str(page)]) == 0
    text = page.read_text()
    assert text.startswith("before\n<!-- begin faults -->\n| fault |")
    assert text.endswith("|\n<!-- end faults -->\nafter\n")
    assert "\nold\n" not in text


def test_every_setting_is_explained() -> None:
    """The table of meanings names each field once, and no other."""
    assert list(ABOUT) == list(SimulatorSettings.__slots__)


def test_every_kind_of_fault_has_a_number_or_is_for_scripts() -> None:
    """What a demo wants to show can be shown by a receiver alone."""
    shown = {fault.kind for number in all_numbers().values() for fault in number.faults}
    scripted = {
        *("none", "overload", "system_busy", "sp_locked", "initiator_locked", "float_empty"),
    }
    assert set(KINDS) == shown | scripted


def test_test_numbers_are_receivers_of_the_market() -> None:
    """All are in one reserved-looking series of a hundred."""
    assert all(number.startswith(SERIES) and len(number) == 12 for number in all_numbers())
