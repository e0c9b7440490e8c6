"""The rows of the code table."""

from __future__ import annotations

from payouts.domain.code_types import Code

ROWS: tuple[Code, ...] = ()
