"""What the tables have in common."""

from __future__ import annotations

from typing import Final

from sqlalchemy import MetaData
from sqlalchemy.dialects.postgresql import TIMESTAMP

METADATA: Final = MetaData()
INSTANT: Final = TIMESTAMP(timezone=True)
