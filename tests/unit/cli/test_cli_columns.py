"""The header names fields of a command; whatever else it says is explained."""

import pytest

from ops.cli.sending.columns import COLUMNS, read_columns
from payouts.domain.commands import FIELDS


def problems(*header: str) -> str:
    """Gives the problems of a header as one text."""
    return "; ".join(read_columns(header)[1])


def test_every_field_of_a_command_has_its_column() -> None:
    """The contract's fields and the columns cannot drift apart."""
    assert set(COLUMNS) == FIELDS - {"metadata"}


def test_columns_become_fields_and_empty_cells_are_absent() -> None:
    """Names are compared without case; metadata keys keep theirs."""
    columns, found = read_columns(("MSISDN", "Amount", "remark", "metadata.Team"))
    assert found == []
    fields = columns.fields(("2547", "5", "", "Kitchen"))
    assert fields == {"msisdn": "2547", "amount": "5", "metadata": {"Team": "Kitchen"}}


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (("amount",), "column msisdn is missing"),
        (("phone", "amount"), "unknown column 'phone': did you mean msisdn?"),
        (("phone", "amount"), "column msisdn is missing (is it 'phone'?)"),
        (("msisdn", "amout"), "unknown column 'amout': did you mean amount?"),
        (("msisdn", "amount", "zzz"), "known are payout_id"),
        (("msisdn", "amount", "metadata"), "metadata.department"),
        (("msisdn", "amount", "metadata."), "name the key"),
        (("msisdn", "amount", ""), "column 3 has no name"),
        (("msisdn", "amount", "Amount"), "column amount stands there twice"),
    ],
)
def test_what_is_wrong_with_a_header_is_told(header: tuple[str, ...], said: str) -> None:
    """Each problem names its column and, where it can, what was meant."""
    assert said in problems(*header)


def test_a_missing_header_does_not_show_a_number() -> None:
    """Where data stands in the first line, no receiver's number is repeated."""
    told = problems("254712345678", "100")
    assert "the first line must name the columns" in told
    assert "254712345678" not in told
