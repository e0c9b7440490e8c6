"""Every stack is told the same; the product in its own words."""

import json

from ops.bench.load import commands
from ops.bench.stacks import STACKS, Place, bench_environ, product_environ
from payouts.domain.commands import AccountRules, validate
from payouts.domain.values import AccountName

PLACE = Place(
    amqp_url="amqp://127.0.0.1:1/x",
    database_url="postgresql://127.0.0.1:2/x",
    gateway_url="http://127.0.0.1:3/request",
    certificate="gateway.pem",
    callback_port=4,
    queue="payouts.commands.default",
    events_exchange="payouts.events",
    concurrency=7,
)


def test_the_product_is_told_the_same_in_its_own_words() -> None:
    """Nothing else is set: all other settings are as shipped."""
    bench = bench_environ(PLACE)
    told = product_environ(bench)
    assert told["PAYOUTS_CONCURRENCY"] == bench["BENCH_CONCURRENCY"] == "7"
    assert told["PAYOUTS_RESULT_URL"] == "http://127.0.0.1:4/mpesa/result"
    assert told["PAYOUTS_QUEUE_TIMEOUT_URL"] == "http://127.0.0.1:4/mpesa/timeout"
    same = {name.removeprefix("PAYOUTS_") for name in told} - {"QUEUE_TIMEOUT_URL"}
    assert all(told[f"PAYOUTS_{name}"] == bench[f"BENCH_{name}"] for name in same)
    assert len(told) == 16


def test_every_command_is_valid_and_has_an_id_of_its_own() -> None:
    """What is refused would cost nothing, and make a stack look fast."""
    rules = AccountRules(name=AccountName("default"), shortcode="600000", organisation="ORG")
    made = [validate(json.loads(one.body), rules) for one in commands(2000)]
    assert len({one.payout_id for one in made}) == 2000
    assert [one.payout_id for one in made] == [one.payout_id for one in commands(2000)]


def test_stacks_are_ours_the_bare_pipeline_and_two_peers() -> None:
    """Only the peers need an environment of their own."""
    assert {name: stack.needs_peers for name, stack in STACKS.items()} == {
        "bare": False,
        "ours": False,
        "faststream": True,
        "celery": True,
    }
