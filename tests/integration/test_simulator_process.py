"""The simulator as a process: `python -m ops.simulator`, its signals, its exits, its cost."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from simulator_bed import Answer, callback_server, draft, shared_certificate

from ops.simulator import app, cost
from ops.simulator.settings import PREFIX


@asynccontextmanager
async def _process(
    **settings: str,
) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, Any]]]:
    """Starts the process, reads its ready line, kills it at the end if it still lives."""
    named = {
        f"{PREFIX}{name.upper()}": value
        for name, value in {
            "port": "0",
            "certificate": shared_certificate(),
            "pay_delay_s": "0.01",
            "result_delay_s": "0.02",
            **settings,
        }.items()
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ops.simulator"),
        env=os.environ | named,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout
        yield process, json.loads(await process.stdout.readline())
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_tells_that_it_is_ready_serves_and_stops_with_0(number: int) -> None:
    """The ready line names every address; a signal ends it cleanly."""
    async with _process() as (process, ready), ClientSession() as client:
        async with client.get(ready["admin_url"] + "/statistics") as answer:
            assert (await answer.json())["paid"] == 0
        process.send_signal(number)
        assert await process.wait() == 0
    assert ready["ready"] is True
    assert ready["url"].endswith("/mminterface/request")
    assert ready["query_url"].endswith("/queryTransactionService/services/transaction")
    assert ready["certificate"] == shared_certificate()


def _tear(books: str) -> None:
    """Adds what a kill in the middle of a write leaves behind."""
    with Path(books).open("ab") as file:
        file.write(b'{"event":"accepted","conver')


async def test_a_killed_simulator_comes_back_with_its_books(tmp_path: Path) -> None:
    """SIGKILL in the middle of a hundred payments: the next process pays each exactly once.

    Proved by leaving out the line that `Books.accept` writes before the Response.
    """
    kept = {"books": str(tmp_path / "books.jsonl")}
    async with callback_server() as callbacks, ClientSession() as client:
        async with _process(**kept, pay_delay_s="0.2", result_delay_s="0.3") as (process, ready):
            secret = await asyncio.to_thread(Path(shared_certificate()).read_bytes)
            for number in range(100):
                payment = draft(secret, callbacks.url, f"600000_ORG_p{number}")
                async with client.post(ready["url"], data=payment.message()) as answer:
                    assert Answer(200, await answer.read()).code == "0"
            process.kill()
            await process.wait()
        await asyncio.to_thread(_tear, kept["books"])
        async with _process(**kept) as (process, ready):
            again = draft(secret, callbacks.url, "600000_ORG_p0")
            async with client.post(ready["url"], data=again.message()) as answer:
                assert Answer(200, await answer.read()).code == "15"
            await callbacks.arrive(100)
            async with client.get(ready["admin_url"] + "/ledger") as answer:
                lines = [json.loads(line) async for line in answer.content]
            async with client.get(ready["admin_url"] + "/statistics") as answer:
                statistics = await answer.json()
    assert sorted(line["originator_conversation_id"] for line in lines) == sorted(
        f"600000_ORG_p{number}" for number in range(100)
    )
    assert len({line["receipt"] for line in lines}) == 100
    assert statistics["sum"] == "10000.00"
    assert statistics["double_payments"] == 0


def test_wrong_settings_are_told_all_at_once_and_exit_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each variable by name on stderr, nothing on stdout, no secret among it."""
    monkeypatch.setenv(PREFIX + "PORT", "many")
    monkeypatch.setenv(PREFIX + "TPS", "-1")
    monkeypatch.setenv(PREFIX + "SP_PASSWORD_FILE", "/does/not/exist")
    assert app.run() == 2
    told = capsys.readouterr()
    assert told.out == ""
    for name in ("PORT", "TPS", "SP_PASSWORD"):
        assert f"simulator: {PREFIX}{name}" in told.err


@pytest.mark.parametrize(
    ("name", "value", "status", "told"),
    [
        ("FAULTS", "not toml", 2, "FAULTS: the script is neither"),
        ("PROBABILITIES", "throttle=2", 2, "probability of throttle"),
        ("HOST", "203.0.113.1", 1, "assign requested address"),
        ("TLS_KEY", "x", 2, "TLS_KEY and the certificate"),
    ],
)
def test_what_cannot_work_ends_the_start(
    name: str,
    value: str,
    status: int,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A script, an address or a file that is no good: one line, and the exit that fits."""
    monkeypatch.setenv(PREFIX + "PORT", "0")
    monkeypatch.setenv(PREFIX + "CERTIFICATE", shared_certificate())
    monkeypatch.setenv(PREFIX + name, value)
    assert app.run() == status
    assert told in capsys.readouterr().err


def test_damaged_books_are_not_overwritten(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A line that cannot be read, other than the last: exit 1, the file is as it was."""
    books = tmp_path / "books.jsonl"
    books.write_bytes(b"damaged\n{}\n")
    monkeypatch.setenv(PREFIX + "PORT", "0")
    monkeypatch.setenv(PREFIX + "CERTIFICATE", shared_certificate())
    monkeypatch.setenv(PREFIX + "BOOKS", str(books))
    assert app.run() == 1
    assert "line 1" in capsys.readouterr().err
    assert books.read_bytes() == b"damaged\n{}\n"


def test_it_stops_in_process_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`run` blocks until SIGTERM, then returns 0; the signal is sent as soon as it is ready."""
    monkeypatch.setenv(PREFIX + "PORT", "0")
    monkeypatch.setenv(PREFIX + "CERTIFICATE", shared_certificate())
    ready = print

    def told(*words: object, **how: Any) -> None:
        ready(*words, **how)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("builtins.print", told)
    assert app.run() == 0
    assert json.loads(capsys.readouterr().out)["ready"] is True


async def test_the_cost_of_a_payout_can_be_measured() -> None:
    """The figure is CPU time of the simulator's process alone; how large it is, is not asserted."""
    found = await cost.measure(30)
    assert found["payouts"] == 30
    assert found["sum"] == "300.30"
    assert found["cpu_us_per_payout"] > 0


def test_the_cost_is_told_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m ops.simulator.cost 5` prints one object."""
    assert cost.main(["5"]) == 0
    assert json.loads(capsys.readouterr().out)["payouts"] == 5
