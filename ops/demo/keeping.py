"""What a person is told when the demo is left up, and how it is stopped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from re import compile as compile_pattern
from typing import Any, Final
from urllib.parse import urlsplit

from ops.local.errors import LocalServerError
from ops.local.places import default_root
from ops.local.stack import take_down

_SLOT: Final = compile_pattern(r"demo(-\d+)?")


def told(
    environ_file: Path, simulator: Mapping[str, Any], environ: Mapping[str, str]
) -> Iterator[str]:
    """Yield addresses (without passwords) and five commands to try."""
    yield ""
    yield "Everything is left up:"
    yield f"  gateway simulator   {simulator['admin_url']}/statistics"
    yield f"  callback server     {_place(environ['PAYOUTS_RESULT_URL'])}/mpesa/result?wsdl"
    yield f"  RabbitMQ            {_place(environ['PAYOUTS_AMQP_URL'])}"
    yield f"  PostgreSQL          {_place(environ['PAYOUTS_DATABASE_URL'])}"
    yield f"  logs                {environ_file.parent}/*.log"
    yield ""
    yield f"Try, after: source .venv/bin/activate; source {environ_file}"
    yield "  payouts list --limit 10"
    yield "  payouts show salary-2026-11-0003"
    yield "  payouts run show salaries-2026-11"
    yield "  payouts send ops/examples/salaries.csv --run-id salaries-2026-11"
    yield f"  payouts verify --ledger {_place(simulator['admin_url'])}"
    yield ""
    yield "Stop it: ops/demo.sh --stop"


def stop() -> int:
    """End every demo that was left up or behind, and return how many processes that were.

    Raises:
        LocalServerError: there is none but one that is still under way.
    """
    ended, living = 0, None
    for folder in sorted(default_root().glob("demo*")):
        if folder.is_dir() and _SLOT.fullmatch(folder.name):
            try:
                ended += take_down(folder.name)
            except LocalServerError as error:
                living = error
    if living is not None and ended == 0:
        raise living
    return ended


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port}"
