"""The admin API: the books and the faults, over HTTP, for people and for other judges."""

import json
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from http import HTTPStatus
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from ops.simulator.answers import Answer
from ops.simulator.faults import FaultError
from ops.simulator.records import Payment, Times
from ops.simulator.server import Reply, Request, Stream

JSON: Final = "application/json"
LINES: Final = "application/x-ndjson"
_BATCH: Final = 200
_REQUESTS: Final = "/simulator/requests/"


class Operated(Protocol):
    """What the admin API can ask of a simulator."""

    certificate_pem: bytes

    def payments(self, after: int = 0) -> Iterator[Payment]:
        """Guarantees the ledger's lines from that index on."""

    def times(self) -> Iterator[Times]:
        """Guarantees when each request was accepted and told."""

    def statistics(self) -> dict[str, Any]:
        """Guarantees the counts."""

    def request(self, originator: str) -> dict[str, Any] | None:
        """Guarantees what is known of one id."""

    def install_faults(self, script: str) -> int:
        """Guarantees that the script acts."""

    def reset(self) -> None:
        """Guarantees empty books."""

    def away(self, seconds: float) -> None:
        """Guarantees that the gateway leaves."""

    def set_float(self, amount: Decimal, short_code: str | None = None) -> None:
        """Guarantees a float."""

    def lock(self, *, sp: bool | None = None, initiator: bool | None = None) -> None:
        """Guarantees locks."""


class _AskedError(Exception):
    """The request cannot be done as it was asked."""


class Admin:
    """Guarantees an answer to every request; problems are told as `{"error": …}` with 400/404."""

    def __init__(self, simulator: Operated) -> None:
        self._simulator = simulator
        self._routes: Mapping[tuple[str, str], Callable[[Request], Answer | Stream]] = {
            ("GET", "/health"): lambda _: _json({"status": "ok"}),
            ("GET", "/simulator/ledger"): self._ledger,
            ("GET", "/simulator/times"): lambda _: Stream(_lines(simulator.times()), LINES),
            ("GET", "/simulator/statistics"): lambda _: _json(simulator.statistics()),
            ("GET", "/simulator/certificate"): self._certificate,
            ("POST", "/simulator/faults"): self._faults,
            ("POST", "/simulator/reset"): self._reset,
            ("POST", "/simulator/away"): self._away,
            ("POST", "/simulator/float"): self._float,
            ("POST", "/simulator/locks"): self._locks,
        }

    def serve(self, request: Request, reply: Reply) -> None:
        """Guarantees one answer."""
        path = urlsplit(request.target).path
        action = self._routes.get((request.method, path))
        if action is None and request.method == "GET" and path.startswith(_REQUESTS):
            action = self._request
        if action is None:
            known = any(path == one for _, one in self._routes)
            status = HTTPStatus.METHOD_NOT_ALLOWED if known else HTTPStatus.NOT_FOUND
            reply(_json({"error": status.phrase.lower()}, status))
            return
        try:
            reply(action(request))
        except _AskedError as error:
            reply(_json({"error": str(error)}, HTTPStatus.BAD_REQUEST))

    def _ledger(self, request: Request) -> Stream:
        asked = parse_qs(urlsplit(request.target).query).get("after", ["0"])[0]
        if not asked.isdecimal():
            raise _AskedError("after must be a number of lines")
        return Stream(_lines(self._simulator.payments(int(asked))), LINES)

    def _certificate(self, _request: Request) -> Answer:
        return Answer(body=self._simulator.certificate_pem, content_type="application/x-pem-file")

    def _request(self, request: Request) -> Answer:
        path = urlsplit(request.target).path
        found = self._simulator.request(unquote(path.removeprefix(_REQUESTS)))
        if found is None:
            return _json({"error": "unknown id"}, HTTPStatus.NOT_FOUND)
        return _json(found)

    def _faults(self, request: Request) -> Answer:
        try:
            return _json({"rules": self._simulator.install_faults(request.body.decode())})
        except (FaultError, UnicodeDecodeError) as error:
            raise _AskedError(str(error)) from None

    def _reset(self, _request: Request) -> Answer:
        self._simulator.reset()
        return _json({"reset": True})

    def _away(self, request: Request) -> Answer:
        seconds = _object(request).get("seconds")
        if not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
            raise _AskedError("seconds must be a number above 0")
        self._simulator.away(float(seconds))
        return _json({"away_s": seconds})

    def _float(self, request: Request) -> Answer:
        asked = _object(request)
        amount = _amount(asked.get("amount"))
        try:
            self._simulator.set_float(amount, asked.get("short_code"))
        except KeyError:
            raise _AskedError("short_code is not one of ours") from None
        return _json({"amount": f"{amount:.2f}"})

    def _locks(self, request: Request) -> Answer:
        asked = _object(request)
        if set(asked) - {"sp", "initiator"} or not all(
            isinstance(value, bool) for value in asked.values()
        ):
            raise _AskedError("sp and initiator are true or false")
        self._simulator.lock(sp=asked.get("sp"), initiator=asked.get("initiator"))
        return _json(asked)


def _amount(value: object) -> Decimal:
    try:
        amount = Decimal(str(value))
        fine = amount.is_finite() and amount >= 0 and amount == round(amount, 2)
    except InvalidOperation:
        fine, amount = False, Decimal(0)
    if not fine:
        raise _AskedError("amount must be a string with at most two decimals")
    return amount


def _lines(records: Iterator[Payment] | Iterator[Times]) -> Iterator[bytes]:
    encode = msgspec.json.encode
    batch: list[bytes] = []
    for record in records:
        batch.append(encode(record))
        if len(batch) == _BATCH:
            yield b"\n".join(batch) + b"\n"
            batch.clear()
    if batch:
        yield b"\n".join(batch) + b"\n"


def _object(request: Request) -> dict[str, Any]:
    try:
        found = json.loads(request.body or b"{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise _AskedError("the body must be a JSON object")
    return found


def _json(document: object, status: int = 200) -> Answer:
    return Answer(status, json.dumps(document).encode() + b"\n", JSON)
