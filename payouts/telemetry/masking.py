"""The last line of defence: nothing that looks like a secret or a person leaves by a log.

Signals carry neither (`payouts.domain.signals`); this holds what a library's message or a
mistake may carry.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from payouts.domain.values import mask_msisdn

HIDDEN: Final = "[hidden]"
MAX_TEXT: Final = 8_192
MAX_DEPTH: Final = 4
_SECRET_KEY: Final = re.compile(
    r"pass(word|wd|phrase)?$|passw|secret|credential|token|authori[sz]ation|cookie|private_?key",
    re.IGNORECASE,
)
_PERSONAL_KEY: Final = re.compile(
    r"msisdn|phone|receiver|(^|_)(public|full|first|last|customer)_?name|evidence|remark|occasion"
    r"|metadata|^body$|^parameters$",
    re.IGNORECASE,
)
# Kenyan numbers in each of their forms, and whatever is written with a plus.
_MSISDN: Final = re.compile(
    r"(?<![0-9])(?:\+?254[17][0-9]{8}|0[17][0-9]{8}|\+[0-9]{9,15})(?![0-9])"
)
_USER_INFO: Final = re.compile(r"(?<=://)[^/@\s]+@")
_SECRET_TEXT: Final = re.compile(
    r"(?i)(\b[\w-]*(?:password|passwd|secret|credential|token)[\w-]*\s*[=:>]\s*)[^\s,;<&]+"
)


def mask(value: object, *, key: str = "", depth: int = 0) -> object:
    """Return a value fit for a log line: masked, bounded, of plain types."""
    if isinstance(value, bool | float) or value is None:
        return value
    if _SECRET_KEY.search(key) or _PERSONAL_KEY.search(key):
        return HIDDEN
    if isinstance(value, int):
        masked = mask_text(str(value))
        return value if masked == str(value) else masked
    if isinstance(value, str):
        return mask_text(value)
    if depth < MAX_DEPTH and isinstance(value, Mapping):
        return {
            mask_text(str(name)): mask(inner, key=str(name), depth=depth + 1)
            for name, inner in value.items()
        }
    if depth < MAX_DEPTH and isinstance(value, list | tuple | set | frozenset):
        return [mask(inner, depth=depth + 1) for inner in value]
    return mask_text(repr(value))


def mask_text(text: str) -> str:
    """Return a text without numbers of phones, passwords in addresses, and told secrets."""
    if len(text) > MAX_TEXT:
        text = text[:MAX_TEXT] + "…"
    text = _MSISDN.sub(lambda found: mask_msisdn(found[0]), text)
    text = _USER_INFO.sub(f"{HIDDEN}@", text)
    return _SECRET_TEXT.sub(rf"\1{HIDDEN}", text)
