from ops.bench.budget import TOGETHER, markdown, medians
from ops.bench.layers import OTHER, by_layer, layer_of, shared

MAIN = "<module> (worker/__main__.py:9);run (worker/app.py:80);Runner.run (asyncio/runners.py:118)"


def test_the_innermost_layer_counts() -> None:
    """What the standard library does for a layer is that layer's; what is nobody's is told so."""
    assert layer_of(f"{MAIN};get (aiormq/channel.py:3);read (asyncio/streams.py:5)") == (
        "AMQP: aio-pika"
    )
    assert layer_of(f"{MAIN};_parse (payouts/mpesa/soap.py:7)") == "SOAP: build and read"
    assert layer_of(f"{MAIN};handle (worker/commands.py:3)") == "worker"
    assert layer_of(MAIN) == OTHER
    assert layer_of("Thread.run (threading.py:9);gc") == OTHER


def test_threads_without_work_are_left_out() -> None:
    """The lock on which a pool's thread waits looks like work."""
    idle = "Thread.run (threading.py:9);_worker (concurrent/futures/thread.py:81)"
    assert layer_of(idle) is None
    samples = by_layer([f"{idle} 70", f"{MAIN};a (aiohttp/b.py:1) 20", f"{MAIN} 10"])
    assert samples == {"HTTP: aiohttp": 20, OTHER: 10}
    assert shared(samples, 900.0) == {"HTTP: aiohttp": 600.0, OTHER: 300.0}


def test_the_table_has_a_column_for_each_process() -> None:
    """A layer that a process does not have stays empty; the sums stand below."""
    one = {"worker": {"a": 10.0}, "callback server": {"b": 5.0}}
    two = {"worker": {"a": 20.0, "b": 1.0}, "callback server": {"b": 6.0}}
    rounds = [{"bare": one, "ours": two}]
    table = markdown({"us": medians(rounds), "rounds": rounds}).splitlines()
    assert table[0].split(" | ")[1:3] == ["worker, bare", "worker, ours"]
    assert "| a | 10 | 20 |  |  |" in table
    assert "| **together** | **10** | **21** | **5** | **6** |" in table


def test_of_several_rounds_the_middle_is_told() -> None:
    """Of each layer by itself, and of the sums; a layer that was not seen cost nothing."""
    rounds = [
        {"ours": {"worker": {"a": 10.0, "b": 1.0}}},
        {"ours": {"worker": {"a": 30.0}}},
        {"ours": {"worker": {"a": 11.0, "b": 2.0}}},
    ]
    assert medians(rounds) == {"ours": {"worker": {"a": 11.0, "b": 1.0, TOGETHER: 13.0}}}
