"""The simulator as a whole: in a test, `async with running_simulator(…)`; as a process, `run()`."""

import asyncio
import gc
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import islice
from typing import Any, Final

import msgspec
import uvloop

from ops.simulator.admin import Admin
from ops.simulator.books import Books, BooksError
from ops.simulator.checks import Verdicts
from ops.simulator.core import Core
from ops.simulator.faults import FaultError
from ops.simulator.gateway import Gateway, Parts
from ops.simulator.keys import CredentialKey
from ops.simulator.queries import Queries
from ops.simulator.records import Payment, State, Times
from ops.simulator.results import Deliveries
from ops.simulator.script import Faults
from ops.simulator.sender import Sender
from ops.simulator.server import Connection, Reply, Request
from ops.simulator.settings import PREFIX, SettingsError, SimulatorSettings, from_environment
from ops.simulator.statistics import Statistics
from ops.simulator.timetable import Timetable
from ops.simulator.tls import client_context, server_context

REQUEST_PATH: Final = "/mminterface/request"
QUERY_PATH: Final = "/queryTransactionService/services/transaction"
_PORT_WAIT_S: Final = 0.05
_EXIT_FAILED: Final = 1
_EXIT_USAGE: Final = 2
_COLLECT_AFTER: Final = (20_000, 20, 1_000)


class Simulator:
    """Guarantees one gateway, from `start` to `stop`, in the running event loop."""

    def __init__(
        self, settings: SimulatorSettings, *, clock: Callable[[], float] = time.time
    ) -> None:
        """Raises: FaultError, BooksError, OSError for what the settings name and is unusable."""
        self._settings = settings
        loop = self._loop = asyncio.get_running_loop()
        self._key = CredentialKey(settings.certificate)
        self.certificate_pem = self._key.certificate_pem
        self._port = settings.port
        self._tls = server_context(settings)
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._returning: set[asyncio.Task[None]] = set()
        self._away_until = 0.0
        self._timetable = Timetable(loop)
        self._books = Books(
            settings.short_codes, int(settings.float_amount.scaleb(2)), clock, settings.books
        )
        self._sender = Sender(
            loop,
            connections=settings.result_connections,
            timeout_s=settings.result_timeout_s,
            keep_alive=settings.result_keep_alive,
            context=client_context(settings),
        )
        self._statistics = Statistics()
        self._verdicts = Verdicts(settings, self._key)
        self._deliveries = Deliveries(
            settings, self._books, self._statistics, self._sender, self._timetable
        )
        self._core = Core(settings, self._books, self._verdicts, self._deliveries, self._timetable)
        self._faults = Faults(settings)
        parts = Parts(
            books=self._books,
            core=self._core,
            verdicts=self._verdicts,
            deliveries=self._deliveries,
            faults=self._faults,
            queries=Queries(settings, self._books, self._deliveries.log, clock),
            timetable=self._timetable,
        )
        self._gateway = Gateway(settings, parts, clock=clock, monotonic=loop.time, leave=self.away)
        self._admin = Admin(self)

    @property
    def base_url(self) -> str:
        """Guarantees the address that listens, with the real port."""
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        return f"{'https' if self._tls else 'http'}://{host}:{self._port}"

    @property
    def url(self) -> str:
        """Guarantees the address of GenericAPIRequest."""
        return self.base_url + REQUEST_PATH

    @property
    def query_url(self) -> str:
        """Guarantees the address of queryTransaction."""
        return self.base_url + QUERY_PATH

    async def start(self) -> None:
        """Guarantees that requests are served, and that earlier unfinished ones go on."""
        owed = self._books.open()
        await self._listen()
        self._core.resume(owed)

    async def stop(self) -> None:
        """Guarantees that nothing is served or sent any more; the books stay readable."""
        self._close_door()
        self._timetable.clear()
        for task in self._returning:
            task.cancel()
        await asyncio.gather(*self._returning, return_exceptions=True)
        await self._sender.close()
        self._books.close()
        await asyncio.sleep(0)

    def payments(self, after: int = 0) -> Iterator[Payment]:
        """Guarantees the ledger's lines from index `after` to its end as it is now."""
        ledger = self._books.ledger
        return islice(ledger, after, len(ledger))

    def times(self) -> Iterator[Times]:
        """Guarantees when each request that is known now was accepted and told, oldest first."""
        for one in list(self._books.conversations()):
            yield Times(
                originator_conversation_id=one.originator_conversation_id,
                accepted_at=one.accepted_at,
                told_at=one.told_at,
            )

    def ledger(self) -> list[dict[str, Any]]:
        """Guarantees every payment made, in order, as `GET /simulator/ledger` tells it."""
        return [msgspec.structs.asdict(payment) for payment in self.payments()]

    def statistics(self) -> dict[str, Any]:
        """Guarantees the counts since the start or the last reset."""
        return {
            **self._statistics.report(self._books),
            "cpu_s": time.process_time(),
            "pending": len(self._timetable) + self._sender.under_way,
            "away": bool(self._returning),
            "sp_locked": self._gateway.sp_locked,
            "initiator_locked": self._verdicts.initiator_locked,
        }

    def request(self, originator: str) -> dict[str, Any] | None:
        """Guarantees what is known of an accepted id, and its payments; none for another id."""
        known = self._books.known(originator)
        if known is None:
            return None
        payments = [
            msgspec.structs.asdict(one)
            for one in self._books.ledger
            if one.originator_conversation_id == originator
        ]
        return {
            "originator_conversation_id": originator,
            "conversation_id": known.conversation_id,
            "state": known.state.value,
            "command_id": known.command_id,
            "msisdn": known.msisdn,
            "amount": f"{Decimal(known.amount).scaleb(-2):.2f}",
            "short_code": known.short_code,
            "result_code": known.result_code or None,
            "receipt": known.receipt or None,
            "faults": known.faults,
            "payments": payments,
            "double": known.state is State.PAID and len(payments) > 1,
        }

    def install_faults(self, script: str) -> int:
        """Guarantees that exactly this script's rules act; returns how many.

        Raises:
            FaultError: with every problem; the earlier rules stay.
        """
        count = self._faults.install(script)
        self._gateway.restart_script()
        return count

    def reset(self) -> None:
        """Guarantees empty books, full floats, open locks, and the script of the settings."""
        self._timetable.clear()
        self._sender.clear()
        self._books.reset()
        self._deliveries.log.clear()
        fresh = Statistics()
        for name in Statistics.__slots__:
            setattr(self._statistics, name, getattr(fresh, name))
        self._faults.install(self._settings.faults)
        self._gateway.forget()

    def set_float(self, amount: Decimal, short_code: str | None = None) -> None:
        """Guarantees that float; of every short code, unless one is named.

        Raises:
            KeyError: when the named one is not ours.
        """
        if short_code is not None and short_code not in self._books.floats:
            raise KeyError(short_code)
        for code in [short_code] if short_code else list(self._books.floats):
            self._books.set_float(code, int(amount.scaleb(2)))

    def lock(self, *, sp: bool | None = None, initiator: bool | None = None) -> None:
        """Guarantees each lock that is named; opening the initiator's forgets wrong attempts."""
        if sp is not None:
            self._gateway.sp_locked = sp
        if initiator is not None:
            self._verdicts.unlock()
            self._verdicts.initiator_locked = initiator

    def away(self, seconds: float) -> None:
        """Guarantees that connections are refused from now on, for so long; open ones end.

        Callbacks go on: only the way in is closed.
        """
        self._away_until = max(self._away_until, self._loop.time() + seconds)
        if self._returning:
            return
        # Later in this turn of the loop, so that the answer to whoever asked is written first.
        self._loop.call_soon(self._close_door)
        task = self._loop.create_task(self._return())
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)

    async def _return(self) -> None:
        while self._loop.time() < self._away_until:  # noqa: ASYNC110 - it may be put off again
            await asyncio.sleep(self._away_until - self._loop.time())
        while self._server is None:
            try:
                await self._listen()
            except OSError:  # Somebody else has the port for a moment.
                await asyncio.sleep(_PORT_WAIT_S)

    async def _listen(self) -> None:
        self._server = await self._loop.create_server(
            lambda: Connection(
                self._dispatch, self._connections, keep_alive=self._settings.keep_alive
            ),
            self._settings.host,
            self._port,
            ssl=self._tls,
        )
        self._port = self._server.sockets[0].getsockname()[1]

    def _close_door(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self._connections):
            connection.abort()

    def _dispatch(self, request: Request, reply: Reply) -> None:
        if request.method == "POST" and request.target == REQUEST_PATH:
            self._gateway.submit(request, reply)
        elif request.method == "POST" and request.target == QUERY_PATH:
            self._gateway.query(request, reply)
        else:
            self._admin.serve(request, reply)


@asynccontextmanager
async def running_simulator(
    settings: SimulatorSettings, *, clock: Callable[[], float] = time.time
) -> AsyncIterator[Simulator]:
    """Guarantees a simulator that serves inside the block and is gone after it."""
    simulator = Simulator(settings.checked(), clock=clock)
    await simulator.start()
    try:
        yield simulator
    finally:
        await simulator.stop()


def run() -> int:
    """Guarantees a gateway until SIGTERM or SIGINT, then 0; 2 for settings that cannot work.

    Prints one JSON line on stdout once it serves.
    """
    try:
        settings = from_environment(os.environ)
    except SettingsError as error:
        return _complain(error.problems, _EXIT_USAGE)
    # To look through all that it remembers would make it stand still, and see requests late.
    gc.set_threshold(*_COLLECT_AFTER)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings))


async def _serve(settings: SimulatorSettings) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        async with running_simulator(settings) as simulator:
            ready = {
                "ready": True,
                "url": simulator.url,
                "query_url": simulator.query_url,
                "admin_url": f"{simulator.base_url}/simulator",
                "certificate": settings.certificate or None,
            }
            print(json.dumps(ready), flush=True)
            await stopping.wait()
    except FaultError as error:
        return _complain([f"{PREFIX}FAULTS: {error}"], _EXIT_USAGE)
    except (BooksError, OSError, ValueError) as error:
        return _complain([str(error)], _EXIT_FAILED)
    return 0


def _complain(problems: list[str], status: int) -> int:
    for problem in problems:
        print(f"simulator: {problem}", file=sys.stderr)
    return status
