"""The simulator after a restart: its books on file, and what it still owes."""

from dataclasses import replace
from pathlib import Path

from aiohttp import web
from simulator_bed import (
    QUICK,
    Callbacks,
    bed,
    draft,
    shared_certificate,
)

from ops.simulator import running_simulator


async def test_books_on_file_survive_a_restart(tmp_path: Path) -> None:
    """Ledger, float and known ids are there again; what was unfinished is paid and told."""
    kept = {"books": str(tmp_path / "books.jsonl")}
    async with bed(**kept) as it:
        await it.pay("600000_ORG_done")
        await it.callbacks.arrive(1)
        await it.quiet()
        before = it.simulator.ledger()
    async with bed(**kept, pay_delay_s=60.0) as it:
        assert it.simulator.ledger() == before
        assert (await it.pay("600000_ORG_done")).code == "15"
        url = it.callbacks.url
        assert (await it.pay("600000_ORG_open")).code == "0"
        await it.admin("POST", "/simulator/float", {"amount": "500.00"})
    async with bed(**kept) as it:
        await it.until(lambda: len(it.simulator.ledger()) == 2)
        assert (await it.pay("600000_ORG_open")).code == "15"
        statistics = it.simulator.statistics()
        assert url != it.callbacks.url
        logged = await it.ask("600000_ORG_done")
    assert statistics["float"] == {"600000": "400.00"}
    assert statistics["double_payments"] == 0
    assert len(before) == 1
    assert b"submitApiResult>" in logged.body


async def test_a_result_owed_at_the_end_is_sent_after_a_restart(tmp_path: Path) -> None:
    """The callback server outlives the simulator, and gets the Result from the next one."""
    settings = replace(QUICK, certificate=shared_certificate(), books=str(tmp_path / "books"))
    async with bed(test_numbers=False) as it:
        async with running_simulator(replace(settings, result_delay_s=60.0)) as first:
            payment = draft(first.certificate_pem, it.callbacks.url, "one")
            assert (await it.post(payment.message(), first.url)).code == "0"
        async with running_simulator(settings) as second:
            (result,) = await it.callbacks.arrive(1)
            await it.until(lambda: second.statistics()["results"]["acknowledged"] == 1)
            receipt = second.ledger()[0]["receipt"]
        async with running_simulator(settings) as third:
            assert third.statistics()["pending"] == 0
    assert result.get("TransactionID") == receipt


async def test_a_notice_owed_at_the_end_is_sent_after_a_restart(tmp_path: Path) -> None:
    """An expired request whose notifyQueueTimeout was never acknowledged is told again."""
    settings = replace(QUICK, certificate=shared_certificate(), books=str(tmp_path / "books"))
    async with bed() as it:
        it.callbacks.answer = lambda: web.Response(status=503)
        async with running_simulator(replace(settings, resend_delay_s=60.0)) as first:
            url = it.callbacks.url
            payment = draft(first.certificate_pem, url, "one", msisdn="254700000161")
            assert (await it.post(payment.message(), first.url)).code == "100000000"
            await it.callbacks.arrive(0, timeouts=1)
        it.callbacks.answer = Callbacks.answer
        async with running_simulator(settings) as second:
            await it.callbacks.arrive(0, timeouts=2)
            await it.until(lambda: second.statistics()["timeouts"]["acknowledged"] == 1)
            assert second.ledger() == []
        async with running_simulator(settings) as third:
            assert third.statistics()["pending"] == 0
            again = await it.post(payment.message(), third.url)
    assert again.code == "100000000"
