"""`payouts send` on a real broker and a real database: once, whatever is done to it."""

import asyncio
import json
from pathlib import Path

import pytest
from cli_bed import Worker, commands_in_queue, left_in_queue

from tests.command_line import Ran, payouts, payouts_apart

pytestmark = pytest.mark.servers

ROWS = [f"a-{number},07123450{number:02},{number + 1}.50" for number in range(20)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Gives a file of 20 payouts."""
    path = tmp_path / "salaries.csv"
    path.write_text("payout_id,msisdn,amount\n" + "\n".join(ROWS) + "\n")
    return path


async def send(file: Path, *arguments: str, environ: dict[str, str]) -> Ran:
    """Runs `payouts send`."""
    return await payouts("send", str(file), *arguments, environ=environ)


async def test_each_row_becomes_one_durable_command(file: Path, sending: dict[str, str]) -> None:
    """With run and account; count and sum are told."""
    ran = await send(file, "--yes", "--json", environ=sending)
    assert ran.status == 0
    assert (ran.json["published"], ran.json["problem_count"]) == (20, 0)
    assert ran.json["new"] == [
        {"account": "default", "currency": "KES", "count": 20, "sum": "220.00"}
    ]
    found = await commands_in_queue(sending["PAYOUTS_AMQP_URL"], 20)
    assert {one["payout_id"] for one in found} == {f"a-{number}" for number in range(20)}
    assert {one["run_id"] for one in found} == {ran.json["run_id"]}
    assert {one["account"] for one in found} == {"default"}


async def test_without_yes_nobody_is_paid(file: Path, sending: dict[str, str]) -> None:
    """Where nobody can be asked, exit 2 with count and sum, and nothing is published."""
    ran = await send(file, environ=sending)
    assert ran.status == 2
    assert "Send 20 payouts, KES 220.00, from account default?" in ran.err
    assert (await send(file, "--dry-run", environ=sending)).status == 0
    assert (await send(file, "--yes", "--run-id", "r", environ=sending)).status == 0
    assert await left_in_queue(sending["PAYOUTS_AMQP_URL"]) == 20


async def test_one_problem_publishes_nothing(file: Path, sending: dict[str, str]) -> None:
    """The 20 good rows wait for the bad one."""
    with file.open("a") as more:
        more.write("a-20,0712345020,1e3\n")
    ran = await send(file, "--yes", environ=sending)
    assert ran.status == 1
    assert "line 22, amount" in ran.err
    assert (await send(file, "--dry-run", "--json", environ=sending)).json["problem_count"] == 1


async def test_a_file_sent_again_sends_nothing_twice(
    file: Path, sending: dict[str, str], worker: Worker
) -> None:
    """What the database knows is shown and skipped; the rest goes out."""
    first = await send(file, "--yes", "--json", environ=sending)
    commands = await commands_in_queue(sending["PAYOUTS_AMQP_URL"], 20)
    for fields in commands[:15]:
        await worker.take(fields)
    again = await send(file, "--yes", "--json", environ=sending)
    assert again.json["run_id"] == first.json["run_id"]
    assert (again.json["published"], again.json["known_states"]) == (5, {"submitting": 15})
    left = await commands_in_queue(sending["PAYOUTS_AMQP_URL"], 5)
    for fields in left:
        await worker.take(fields)
    last = await send(file, environ=sending)
    assert last.status == 0
    assert "20 payouts, KES 220.00" in last.err
    assert await left_in_queue(sending["PAYOUTS_AMQP_URL"]) == 0


async def test_a_file_without_ids_pays_once(
    tmp_path: Path, sending: dict[str, str], worker: Worker
) -> None:
    """Under another name too; and what happens to an edited file is said."""
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    for path in (one, two):
        path.write_text("msisdn,amount\n0712345001,5\n0712345001,5\n")
    ran = await send(one, "--yes", environ=sending)
    assert ran.status == 0
    assert "an edited one is a new run" in ran.err
    for fields in await commands_in_queue(sending["PAYOUTS_AMQP_URL"], 2):
        await worker.take(fields)
    again = await send(two, "--yes", "--json", environ=sending)
    assert again.json["published"] == 0
    assert again.json["known"][0]["count"] == 2


async def test_the_same_id_with_other_content_is_refused(
    file: Path, sending: dict[str, str], worker: Worker
) -> None:
    """Nothing of the file is published."""
    await worker.submitting("a-3", msisdn="0712345003", amount="99")
    ran = await send(file, "--yes", environ=sending)
    assert ran.status == 1
    assert "line 5, payout_id: this payout exists with another amount, run_id" in ran.err


@pytest.mark.parametrize(("fails", "status"), [(False, 0), (True, 3)])
async def test_wait_follows_the_run_to_its_end(
    file: Path, sending: dict[str, str], worker: Worker, fails: bool, status: int
) -> None:
    """Exit 0 if all succeeded, 3 if one did not."""
    arguments = ("--yes", "--wait", "--json", "--deadline", "50")
    waiting = asyncio.create_task(payouts_apart("send", str(file), *arguments, environ=sending))
    await until_declared(sending["PAYOUTS_AMQP_URL"])
    for number, fields in enumerate(await commands_in_queue(sending["PAYOUTS_AMQP_URL"], 20)):
        payout = await worker.take(fields)
        await worker.ended(payout, fails=fails and number == 7)
    ran = await waiting
    assert ran.status == status
    assert ran.json["run"]["total"] == 20
    assert {one["state"] for one in ran.json["run"]["states"]} == (
        {"succeeded", "failed"} if fails else {"succeeded"}
    )


async def until_declared(amqp_url: str) -> None:
    """Returns once the queue is there."""
    import aio_pika  # noqa: PLC0415 - only here

    async with asyncio.timeout(30):
        while True:
            try:
                await left_in_queue(amqp_url)
            except aio_pika.exceptions.ChannelNotFoundEntity:
                await asyncio.sleep(0.05)
            else:
                return


async def test_the_deadline_ends_the_waiting(file: Path, sending: dict[str, str]) -> None:
    """Nobody works: exit 3, and the run goes on."""
    ran = await send(file, "--yes", "--wait", "--deadline", "1", environ=sending)
    assert ran.status == 3
    assert "the run goes on" in ran.err


async def test_a_broker_that_is_away_is_one_line(file: Path, sending: dict[str, str]) -> None:
    """Exit 1, no password; sending again later is safe."""
    away = {**sending, "PAYOUTS_AMQP_URL": "amqp://me:s3cret@127.0.0.1:1/"}
    ran = await send(file, "--yes", environ=away)
    assert ran.status == 1
    assert "RabbitMQ does not answer" in ran.err
    assert "s3cret" not in ran.err


async def test_accounts_have_their_own_rules(
    tmp_path: Path, sending: dict[str, str], file: Path
) -> None:
    """Limits and names come from the accounts file; no credential is needed to send."""
    accounts = tmp_path / "accounts.toml"
    accounts.write_text(
        '[default]\nshortcode = "600000"\n[bonus]\nshortcode = "600001"\nmax_amount = "5.00"\n'
    )
    environ = {**sending, "PAYOUTS_ACCOUNTS_FILE": str(accounts)}
    del environ["PAYOUTS_SHORTCODE"]
    ran = await send(file, "--account", "bonus", "--dry-run", environ=environ)
    assert ran.status == 1
    assert "line 7, amount: must be within 0.01 and 5.00, the limits of account bonus" in ran.err
    told = await send(file, "--yes", "--json", environ=environ)
    assert json.loads(told.out)["new"][0]["account"] == "default"


async def test_rows_that_pay_again_what_was_paid_lately_are_told(
    file: Path, sending: dict[str, str], worker: Worker
) -> None:
    """Across runs, whatever the id; what has failed paid nobody; switched off by a setting."""
    old = {"run_id": "r-0", "msisdn": "0712345003", "amount": "4.50"}
    await worker.ended(await worker.submitting("old-1", **old))
    failed = {"run_id": "r-0", "msisdn": "0712345004", "amount": "5.50"}
    await worker.ended(await worker.submitting("old-2", **failed), fails=True)
    other = {"run_id": "r-0", "msisdn": "0712345005", "amount": "6.51"}
    await worker.ended(await worker.submitting("old-3", **other))
    for more in (("--dry-run",), ("--yes",)):
        ran = await send(file, *more, environ=sending)
        assert ran.status == 0
        assert "1 row with receiver and amount of another payout" in ran.err
        assert "line 5: the same receiver and amount as payout old-1 of run r-0" in ran.err
        assert "old-2" not in ran.err
        assert "old-3" not in ran.err
    silent = {**sending, "PAYOUTS_SEND_REPEAT_DAYS": "0"}
    assert "old-1" not in (await send(file, "--dry-run", environ=silent)).err
