"""What the other side says it paid: the simulator's ledger by HTTP, or a statement in a file."""

from __future__ import annotations

import csv
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from ops.cli.exits import CommandError, UsageError
from payouts.domain.errors import InvalidAmountError
from payouts.domain.values import parse_amount

PATH: Final = "/simulator/ledger"
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=60)
_NEEDED: Final = ("originator_conversation_id", "amount")


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """One payment that the other side made."""

    originator_conversation_id: str
    amount_minor: int
    receipt: str | None


async def read_ledger(source: str) -> AsyncIterator[Paid]:
    """Yield every payment of a ledger, one at a time, however many there are.

    Args:
        source: `http://…`, where `/simulator/ledger` is added to an address without a path; or
            a file of JSON lines or CSV with the columns originator_conversation_id, amount and,
            if known, receipt.

    Raises:
        UsageError: there is no such file.
        CommandError: it cannot be reached or read.
    """
    if source.startswith(("http://", "https://")):
        async for line in _lines_of(source):
            yield line
        return
    for line in _lines_in(Path(source)):
        yield line


async def _lines_of(source: str) -> AsyncIterator[Paid]:
    url = source if urlsplit(source).path.strip("/") else source.rstrip("/") + PATH
    try:
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session, session.get(url) as answer:
            if answer.status != HTTPStatus.OK:
                raise CommandError(f"The ledger at {url} answers HTTP {answer.status}.")
            number = 0
            async for line in answer.content:
                number += 1
                yield _paid_of(_object_of(line, url, number), url, number)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise CommandError(
            f"The ledger at {url} cannot be read ({type(error).__name__}); is the simulator up?"
        ) from None


def _lines_in(path: Path) -> Iterator[Paid]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            start = file.read(1)
            file.seek(0)
            if start == "{":
                for number, line in enumerate(file, 1):
                    yield _paid_of(_object_of(line, str(path), number), str(path), number)
                return
            for number, row in enumerate(csv.DictReader(file), 2):
                yield _paid_of(row, str(path), number)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except (UnicodeDecodeError, csv.Error):
        raise CommandError(f"{path} is neither JSON lines nor CSV in UTF-8.") from None


def _object_of(line: str | bytes, source: str, number: int) -> Mapping[str, Any]:
    with suppress(ValueError):
        found = json.loads(line)
        if isinstance(found, dict):
            return found
    raise CommandError(f"{source}, line {number}: is not a JSON object.")


def _paid_of(fields: Mapping[str, Any], source: str, number: int) -> Paid:
    missing = [name for name in _NEEDED if not fields.get(name)]
    if missing:
        raise CommandError(f"{source}, line {number}: {', '.join(missing)} is missing.")
    try:
        minor = parse_amount(str(fields["amount"]))
    except InvalidAmountError:
        raise CommandError(f"{source}, line {number}: the amount is not a decimal.") from None
    receipt = fields.get("receipt")
    return Paid(
        originator_conversation_id=str(fields["originator_conversation_id"]).strip(),
        amount_minor=minor,
        receipt=str(receipt).strip() if receipt else None,
    )
