"""The private servers: durable, apart from each other, gone when their run ends or is killed."""

import asyncio
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aio_pika
import asyncpg
import pytest

from ops.local import LocalServerError, LocalStack, processes
from ops.local.__main__ import main
from ops.local.places import default_root
from ops.local.stack import take_down

pytestmark = [pytest.mark.servers]

DEADLINE_S = 30.0

INTERRUPTED = """
import sys
from pathlib import Path
from ops.local import LocalStack
stack = LocalStack("cut", root=Path(sys.argv[1]))
stack.start()
print(stack.folder, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """Gives a folder for stacks; pytest's own are closed to the user that PostgreSQL runs as."""
    for old in default_root().glob("of-test-*"):  # Of a run that was killed.
        if not processes.alive(int(old.name.rpartition("-")[2])):
            for slot in old.glob("*/"):
                take_down(slot.name, root=old)
            shutil.rmtree(old)
    root = default_root() / f"of-test-{os.getpid()}"
    root.mkdir(parents=True)
    yield root
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def pair(root: Path) -> Iterator[LocalStack]:
    """Gives a stack that the tests of this module may kill."""
    stack = LocalStack("pair", root=root)
    stack.start()
    yield stack
    stack.stop()


@pytest.fixture
async def queue_url(pair: LocalStack) -> AsyncIterator[str]:
    """Gives a virtual host in which the quorum queue `kept` holds one confirmed message."""
    url = await pair.fresh_vhost("v/kept")
    connection = await aio_pika.connect(url)
    channel = await connection.channel()
    await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
    message = aio_pika.Message(b"money", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    await channel.default_exchange.publish(message, "kept")
    await connection.close()
    yield url
    await asyncio.to_thread(pair.rabbitmq.drop_vhost, "v/kept")


async def test_a_confirmed_message_outlives_a_killed_broker(
    pair: LocalStack, queue_url: str
) -> None:
    """SIGKILL and a start on the same port and data bring back what was confirmed."""
    await asyncio.to_thread(pair.rabbitmq.kill)
    assert not pair.rabbitmq.running
    await asyncio.to_thread(pair.revive)
    connection = await aio_pika.connect(queue_url)
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=1)
    queue = await channel.get_queue("kept")
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        await message.ack()
        arrived.put_nowait(message.body)

    await queue.consume(take)
    assert await asyncio.wait_for(arrived.get(), DEADLINE_S) == b"money"
    await connection.close()


async def test_a_committed_row_outlives_a_killed_database(pair: LocalStack) -> None:
    """SIGKILL of the server, with a session open, and a start on the same data lose nothing."""
    url = await pair.fresh_database("kept")
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE paid (amount_minor bigint)")
    await connection.execute("INSERT INTO paid VALUES (125050)")
    await asyncio.to_thread(pair.postgresql.kill)
    with pytest.raises((asyncpg.PostgresError, OSError, asyncpg.InterfaceError)):
        await connection.execute("SELECT 1")
    connection.terminate()
    await asyncio.to_thread(pair.revive)
    again = await asyncpg.connect(url)
    assert await again.fetchval("SELECT sum(amount_minor) FROM paid") == 125050
    await again.close()


async def test_durability_is_on(pair: LocalStack) -> None:
    """The figures that we measure include the disk: nothing is switched off for speed."""
    connection = await asyncpg.connect(pair.database_url)
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        assert await connection.fetchval(f"SHOW {setting}") == "on"
    await connection.close()


async def test_an_orderly_stop_and_start_keep_the_data(pair: LocalStack) -> None:
    """A stopped database server comes back on its port with what it held."""
    url = await pair.fresh_database("orderly")
    await asyncio.to_thread(pair.postgresql.stop)
    await asyncio.to_thread(pair.postgresql.start)
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT current_database()") == "orderly"
    await connection.close()


async def test_databases_are_copied_from_a_template(pair: LocalStack) -> None:
    """A fresh database has what its template has, and goes even while somebody is connected."""
    template = await asyncpg.connect(await pair.fresh_database("pattern"))
    await template.execute("CREATE TABLE shape (id int)")
    await template.close()
    copy = await asyncpg.connect(await pair.fresh_database("copy", template="pattern"))
    assert await copy.fetchval("SELECT count(*) FROM shape") == 0
    await pair.postgresql.drop_database("copy")
    copy.terminate()


async def test_names_that_would_change_the_statement_are_refused(pair: LocalStack) -> None:
    """A database name is letters, digits and underscores; it goes into a statement as it is."""
    with pytest.raises(LocalServerError):
        await pair.fresh_database('x"; DROP DATABASE postgres; --')


def test_secrets_are_readable_for_their_owner_alone(pair: LocalStack) -> None:
    """Passwords and the cookie are of mode 0600 or less."""
    kept = [*pair.folder.glob("*/password"), *pair.folder.glob("rabbitmq/rabbitmq.conf")]
    kept += pair.folder.glob("rabbitmq/home/.erlang.cookie")
    assert len(kept) == 4
    for path in kept:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_everything_listens_on_the_loopback_alone(pair: LocalStack) -> None:
    """No port of the private servers can be reached from another machine."""
    ours = {f"{port:04X}" for port in _ports(pair)}
    listening = [
        line.split()[1]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]
        if line.split()[3] == "0A"
    ]
    places = [place for place in listening if place.partition(":")[2] in ours]
    loopback = ("0100007F", "00000000000000000000000001000000")
    assert len(places) >= 5
    assert all(place.partition(":")[0] in loopback for place in places)


def test_a_second_run_of_the_same_name_takes_another_slot(pair: LocalStack) -> None:
    """Two runs at once have folders, ports and servers of their own."""
    second = LocalStack("pair", root=pair.folder.parent)
    second.start()
    try:
        assert second.folder != pair.folder
        assert not set(_ports(second)) & set(_ports(pair))
    finally:
        second.stop()
    assert not second.folder.exists()
    assert pair.rabbitmq.running


def test_an_interrupted_run_is_cleared_by_the_next(root: Path) -> None:
    """What a run that was killed left behind is ended by the next one, and nothing else is."""
    child = subprocess.Popen(  # noqa: S603 - Our own text.
        [sys.executable, "-c", INTERRUPTED, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    folder = Path(child.stdout.readline().strip())
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    child.stdin.close()
    left = processes.belonging_to(folder)
    assert len(left) >= 3, "broker, name server and database outlive their killed parent"

    with_no_mark = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)  # Must live.
    assert take_down("cut", root=root) >= len(left)
    assert processes.belonging_to(folder) == ()
    assert not any(processes.alive(pid) for pid in left)
    assert not folder.exists()
    assert with_no_mark.poll() is None
    with_no_mark.communicate()


def test_a_stack_that_is_up_can_be_used_and_taken_down(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`up` leaves servers running, `env` names them for a shell, `down` ends them."""
    there = ["shown", "--root", str(root)]
    assert main(["env", *there]) == 1
    assert main(["up", *there]) == 0
    told = capsys.readouterr().out
    assert main(["up", *there]) == 0
    assert capsys.readouterr().out == told
    stack = LocalStack.attach("shown", root=root)
    assert f"export PAYOUTS_AMQP_URL={stack.amqp_url}" in told
    assert f"export PAYOUTS_DATABASE_URL={stack.database_url}" in told
    assert main(["down", *there]) == 0
    assert not (root / "shown").exists()
    with pytest.raises(LocalServerError):
        LocalStack.attach("shown", root=root)


async def test_a_start_that_is_called_off_leaves_nothing(root: Path) -> None:
    """Cancelling the run during its start, as Ctrl-C does, ends what was begun."""
    stack = LocalStack("off", root=root)
    entering = asyncio.ensure_future(stack.__aenter__())
    await asyncio.to_thread(
        processes.wait_until,
        lambda: bool(processes.belonging_to(root / "off")),
        what="The first server",
        within_s=DEADLINE_S,
    )
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert processes.belonging_to(root / "off") == ()
    assert not (root / "off").exists()


def test_only_processes_with_the_mark_are_ended(tmp_path: Path) -> None:
    """The guard is the mark in a process's environment; without the check this test fails."""
    ours = processes.start(
        ["cat", "/dev/zero"], folder=tmp_path, log=Path(os.devnull), environment=dict(os.environ)
    )
    other = processes.start(
        ["cat", "/dev/zero"],
        folder=tmp_path / "other",
        log=Path(os.devnull),
        environment=dict(os.environ),
    )
    assert processes.end_all(tmp_path) == 1
    assert ours.wait(DEADLINE_S) == -signal.SIGKILL
    assert other.poll() is None
    other.kill()
    other.wait()


def _ports(stack: LocalStack) -> list[int]:
    state = json.loads((stack.folder / "stack.json").read_text(encoding="utf-8"))
    ports: list[int] = state["ports"]
    return ports
