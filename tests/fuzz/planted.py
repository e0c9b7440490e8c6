"""What is planted into inputs and must never come out in an error."""

from __future__ import annotations

import re
from typing import Final

PASSWORD: Final = "Planted-Passw0rd!"
MSISDN: Final = "254712345678"
NATIONAL: Final = "0712345678"
NAME: Final = "Wanjiku Otieno"
_ANY_MSISDN: Final = re.compile(r"(?:254|(?<!\d)0)[17]\d{8}")


def planted_in(text: str) -> str | None:
    """Return what personal or secret a text repeats, or None."""
    lower = text.lower()
    for secret in (PASSWORD, NAME):
        if secret.lower() in lower:
            return secret
    found = _ANY_MSISDN.search(text)
    return None if found is None else found[0]
