"""A sending that is interrupted goes on where it stood: no row is lost, and none sent twice."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aio_pika
import pytest
from cli_bed import Worker, commands_in_queue, left_in_queue

from ops.cli.sending.publish import WINDOW
from tests.command_line import ROOT, payouts

pytestmark = pytest.mark.servers

ROWS = 7000
SOME = 2  # That it begins, and the first rows.
DEADLINE_S = 60.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Gives a file of many payouts, more than fit into the window."""
    return written(tmp_path / "salaries.csv", ROWS)


def written(path: Path, rows: int) -> Path:
    """Writes a file of so many payouts."""
    lines = (f"a-{number},2547{number:08},{number + 1}.50" for number in range(rows))
    path.write_text("payout_id,msisdn,amount\n" + "\n".join(lines) + "\n")
    return path


def noted(sending: dict[str, str]) -> list[int]:
    """Gives how many rows each note of the journal tells."""
    journals = list(Path(sending["PAYOUTS_SEND_STATE"]).glob("*.jsonl"))
    if not journals:
        return []
    lines = journals[0].read_bytes().splitlines(keepends=True)
    return [json.loads(line)["rows"] for line in lines[1:] if line.endswith(b"\n")]


@asynccontextmanager
async def begun(file: Path, environ: dict[str, str]) -> AsyncIterator[Process]:
    """Sends a file in a process of its own; gives it once some more rows are noted."""
    before = len(noted(environ))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ops.cli", "send", str(file), "--yes"),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **environ},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(DEADLINE_S):
            while len(noted(environ)) < before + SOME:
                assert process.returncode is None
                await asyncio.sleep(0.002)
            yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@contextmanager
def standing(process: Process) -> Iterator[None]:
    """Has a process stand still meanwhile, so that it cannot come to its end before."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


async def interrupted(
    file: Path, sending: dict[str, str], number: signal.Signals
) -> tuple[int, str]:
    """Sends a file, and a signal once some rows are noted; gives exit status and messages."""
    async with begun(file, sending) as process:
        process.send_signal(number)
        return await ended(process)


async def ended(process: Process) -> tuple[int, str]:
    """Waits for its end; gives exit status and messages."""
    _, said = await process.communicate()
    return process.returncode or 0, said.decode()


async def ids_in_queue(sending: dict[str, str]) -> Counter[str]:
    """Takes all there is out of the queue and counts it by payout."""
    url = sending["PAYOUTS_AMQP_URL"]
    left = await left_in_queue(url)
    connection = await aio_pika.connect(url)
    async with connection, asyncio.timeout(DEADLINE_S):
        channel = await connection.channel()
        queue = await channel.get_queue("payouts.commands.default", ensure=False)
        found: Counter[str] = Counter()
        async with queue.iterator(no_ack=True) as messages:
            async for message in messages:
                found[message.message_id or ""] += 1
                if found.total() == left:
                    return found
    return found


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_after_a_stop_in_order_no_row_is_published_twice(
    file: Path, sending: dict[str, str], number: signal.Signals, status: int
) -> None:
    """Stopped and sent again, each row lies in the queue once. Proved by forgetting the journal."""
    stopped, said = await interrupted(file, sending, number)
    assert stopped == status
    rows = noted(sending)[-1]
    assert f"Stopped after {rows:,} of {ROWS:,} rows; all that was published is confirmed" in said
    assert await left_in_queue(sending["PAYOUTS_AMQP_URL"]) == rows
    again = await payouts("send", str(file), "--yes", "--json", environ=sending)
    assert again.status == 0
    assert f"interrupted after {rows:,} of {ROWS:,} rows" in again.err
    assert "could not end in order" not in again.err
    assert again.json["published"] == ROWS - rows
    assert again.json["sent_before"][0]["count"] == rows
    assert await ids_in_queue(sending) == {f"a-{one}": 1 for one in range(ROWS)}
    assert noted(sending) == []


async def test_after_a_kill_no_more_than_the_window_comes_twice(
    file: Path, sending: dict[str, str]
) -> None:
    """Nothing is lost; that some may come twice, under the same ids, is said."""
    stopped, _ = await interrupted(file, sending, signal.SIGKILL)
    assert stopped == -signal.SIGKILL
    rows = noted(sending)[-1]
    assert 0 < rows < ROWS
    assert rows <= await left_in_queue(sending["PAYOUTS_AMQP_URL"]) <= rows + WINDOW
    again = await payouts("send", str(file), "--yes", "--json", environ=sending)
    assert again.status == 0
    assert f"up to {WINDOW:,} rows behind these may have been published" in again.err
    assert again.json["published"] == ROWS - rows
    found = await ids_in_queue(sending)
    assert set(found) == {f"a-{one}" for one in range(ROWS)}
    twice = {one for one, times in found.items() if times > 1}
    assert twice <= {f"a-{one}" for one in range(rows, rows + WINDOW)}
    assert max(found.values()) <= 2


async def test_it_can_be_stopped_again_and_again(tmp_path: Path, sending: dict[str, str]) -> None:
    """Each time it goes on where it stood, and comes further."""
    file = written(tmp_path / "many.csv", 3 * ROWS)
    stops: list[int] = []
    while len(stops) < 3:
        stopped, _ = await interrupted(file, sending, signal.SIGINT)
        assert stopped == 130
        stops.append(noted(sending)[-1])
    assert stops == sorted(set(stops))
    assert (await payouts("send", str(file), "--yes", environ=sending)).status == 0
    assert await ids_in_queue(sending) == {f"a-{one}": 1 for one in range(3 * ROWS)}


async def test_what_the_database_learned_meanwhile_is_not_sent(
    file: Path, sending: dict[str, str], worker: Worker
) -> None:
    """Before and behind the place where it stopped."""
    await interrupted(file, sending, signal.SIGINT)
    rows = noted(sending)[-1]
    taken = await commands_in_queue(sending["PAYOUTS_AMQP_URL"], 3)
    for fields in [*taken, {**taken[0], **fields_of(ROWS - 1)}]:
        await worker.take(fields)
    again = await payouts("send", str(file), "--yes", "--json", environ=sending)
    assert again.json["known_states"] == {"submitting": 4}
    assert again.json["sent_before"][0]["count"] == rows - 3
    assert again.json["published"] == ROWS - rows - 1
    assert sum((await ids_in_queue(sending)).values()) == ROWS - 4


def fields_of(number: int) -> dict[str, str]:
    """Gives what the file tells of a row."""
    return {
        "payout_id": f"a-{number}",
        "msisdn": f"2547{number:08}",
        "amount": f"{number + 1}.50",
    }


async def test_a_file_that_was_changed_is_refused(file: Path, sending: dict[str, str]) -> None:
    """With what to do; nothing is published; --restart sends what is there now."""
    await interrupted(file, sending, signal.SIGINT)
    rows = noted(sending)[-1]
    changed(file)
    refused = await payouts("send", str(file), "--yes", environ=sending)
    assert refused.status == 1
    assert "was changed since its sending, as run" in refused.err
    assert f"was interrupted after {rows:,} rows" in refused.err
    assert await left_in_queue(sending["PAYOUTS_AMQP_URL"]) == rows
    written(file, ROWS)
    other = await payouts("send", str(file), "--yes", "--run-id", "other", environ=sending)
    assert other.status == 1
    assert "Send it to its end with --run-id run-" in other.err
    rehearsed = await payouts("send", str(file), "--dry-run", environ=sending)
    assert f"was interrupted after {rows:,} rows. Sent there again" in rehearsed.err
    changed(file)
    sent = await payouts("send", str(file), "--yes", "--restart", environ=sending)
    assert sent.status == 0
    assert await left_in_queue(sending["PAYOUTS_AMQP_URL"]) == rows + 1


def changed(file: Path) -> None:
    """Gives the file another content."""
    file.write_text("payout_id,msisdn,amount\nb-1,254700000001,5\n")


async def test_restart_publishes_all_that_the_database_does_not_know(
    file: Path, sending: dict[str, str]
) -> None:
    """For when the queue was lost: the journal only knows what RabbitMQ had confirmed."""
    await interrupted(file, sending, signal.SIGINT)
    again = await payouts("send", str(file), "--yes", "--json", "--restart", environ=sending)
    assert (again.json["published"], again.json["sent_before"]) == (ROWS, [])


async def test_two_cannot_send_the_same_file_at_once(file: Path, sending: dict[str, str]) -> None:
    """The second one waits for a person, not for the first."""
    async with begun(file, sending) as first:
        with standing(first):
            second = await payouts("send", str(file), "--yes", environ=sending)
        assert second.status == 1
        assert "is being sent right now, by another process" in second.err
        status, _ = await ended(first)
    assert status == 0
    assert await ids_in_queue(sending) == {f"a-{one}": 1 for one in range(ROWS)}


async def test_a_queue_that_goes_away_on_the_way_ends_it_in_order(
    file: Path, sending: dict[str, str], tmp_path: Path
) -> None:
    """What is certain is told and noted; sent again, it goes on behind that."""
    accounts = tmp_path / "accounts.toml"
    accounts.write_text('[default]\nshortcode = "600000"\n')
    environ = {**sending, "PAYOUTS_ACCOUNTS_FILE": str(accounts)}
    async with begun(file, environ) as process:
        with standing(process):
            await without_its_binding(sending["PAYOUTS_AMQP_URL"])
        status, said = await ended(process)
    assert status == 1
    assert "payouts were published for certain. Send the same file again" in said
    rows = noted(sending)[-1]
    assert f" {rows:,} payouts were published for certain" in said
    again = await payouts("send", str(file), "--yes", "--json", environ=environ)
    assert again.json["published"] == ROWS - rows
    assert set(await ids_in_queue(sending)) == {f"a-{one}" for one in range(ROWS)}


async def without_its_binding(amqp_url: str) -> None:
    """Takes the queue off the exchange, so that commands find none."""
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        channel = await connection.channel()
        queue = await channel.get_queue("payouts.commands.default", ensure=False)
        await queue.unbind("payouts.commands", "default")


async def test_where_nothing_can_be_kept_that_is_said(
    file: Path, sending: dict[str, str], tmp_path: Path
) -> None:
    """A place that was named must do; the usual one may be missing, as in a container."""
    (tmp_path / "taken").write_text("")
    named = {**sending, "PAYOUTS_SEND_STATE": str(tmp_path / "taken")}
    refused = await payouts("send", str(file), "--yes", environ=named)
    assert refused.status == 2
    assert "PAYOUTS_SEND_STATE: " in refused.err
    assert "cannot be used: File exists" in refused.err
    relative = await payouts(
        "send", str(file), "--yes", environ={**sending, "PAYOUTS_SEND_STATE": "x"}
    )
    assert relative.status == 2
    assert "must be the absolute path of a folder" in relative.err
    del named["PAYOUTS_SEND_STATE"]
    usual = {**named, "XDG_STATE_HOME": str(tmp_path / "taken")}
    ran = await payouts("send", str(file), "--yes", "--json", environ=usual)
    assert (ran.status, ran.json["published"]) == (0, ROWS)
    assert "How far this comes cannot be kept in" in ran.err


async def test_the_usual_place_is_that_of_the_desktop_specification(
    file: Path, sending: dict[str, str], tmp_path: Path
) -> None:
    """It is found again by the next who sends the file."""
    del sending["PAYOUTS_SEND_STATE"]
    environ = {**sending, "XDG_STATE_HOME": str(tmp_path / "xdg")}
    kept = {**environ, "PAYOUTS_SEND_STATE": str(tmp_path / "xdg" / "payouts")}
    stopped, _ = await interrupted(file, kept, signal.SIGINT)
    assert stopped == 130
    again = await payouts("send", str(file), "--yes", environ=environ)
    assert "It goes on from there." in again.err
