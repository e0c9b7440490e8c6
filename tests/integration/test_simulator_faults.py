"""The simulator as an adversary: each kind of fault, each test number, scripts and chances."""

import asyncio
import json
import socket
from dataclasses import dataclass, field

import pytest
from aiohttp import ClientConnectionError, ClientSession
from simulator_bed import Answer, Bed, bed

from ops.simulator.faults import KINDS
from ops.simulator.numbers import TestNumber, all_numbers


@dataclass
class Seen:
    """What a client and an accountant see of one payout, sent once or twice."""

    answers: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    timeouts: int = 0
    paid: int = 0


def _told(answer: Answer) -> str:
    """Names an answer: its code, or what came instead."""
    if answer.status != 200:
        return "fault" if b"Fault>" in answer.body else str(answer.status)
    if not answer.body:
        return "empty"
    return "html" if b"<html>" in answer.body else answer.code


async def _sent(it: Bed, identifier: str, msisdn: str = "") -> str:
    try:
        return _told(await it.pay(identifier, msisdn=msisdn))
    except ClientConnectionError:
        return "dropped"


def _code(result: Answer) -> str:
    """Reads a Result's code without parsing: some shapes are not well-formed inside."""
    text = result.body.replace(b"&lt;", b"<").replace(b"&gt;", b">")
    return text.split(b"ResultCode>")[1].split(b"<")[0].strip().decode()


async def _observe(it: Bed, sends: int, msisdn: str = "") -> Seen:
    """Sends one id some times, a quiet gateway in between."""
    seen = Seen()
    for _ in range(sends):
        seen.answers.append(await _sent(it, "600000_ORG_one", msisdn))
        await it.quiet()
    seen.results = [_code(result) for result in it.callbacks.results]
    seen.timeouts = len(it.callbacks.timeouts)
    seen.paid = len(it.simulator.ledger())
    return seen


KIND_ROWS: dict[str, Seen] = {
    "none": Seen(["0", "15"], ["0"], paid=1),
    "refuse_before:100000013": Seen(["100000013"] * 2),
    "refuse_before:23": Seen(["23"] * 2),
    "throttle": Seen(["100000002"] * 2),
    "throttle:100000011": Seen(["100000011"] * 2),
    "overload": Seen(["100000001"] * 2),
    "system_busy": Seen(["26"] * 2),
    "sp_locked": Seen(["100000006"] * 2),
    "lost_request": Seen(["dropped"] * 2),
    "drop_answer": Seen(["dropped"] * 2, ["0"], paid=1),
    "slow_answer": Seen(["0", "15"], ["0"], paid=1),
    "http_500_before": Seen(["500"] * 2),
    "http_500_after": Seen(["500"] * 2, ["0"], paid=1),
    "html_page_before": Seen(["html"] * 2),
    "html_page_after": Seen(["html"] * 2, ["0"], paid=1),
    "empty_body_before": Seen(["empty"] * 2),
    "empty_body_after": Seen(["empty"] * 2, ["0"], paid=1),
    "soap_fault_before": Seen(["fault"] * 2),
    "soap_fault_after": Seen(["fault"] * 2, ["0"], paid=1),
    "code_17_before": Seen(["17"] * 2),
    "code_17_after": Seen(["17"] * 2, ["0"], paid=1),
    "internal_error_before": Seen(["100000004"] * 2),
    "internal_error_after": Seen(["100000004"] * 2, ["0"], paid=1),
    "code_after:99": Seen(["99"] * 2, ["0"], paid=1),
    "cached_delivered": Seen(["100000000", "15"], ["0"], paid=1),
    "cached_delivered:0.01": Seen(["100000000", "15"], ["0"], paid=1),
    "cached_expired": Seen(["100000000"] * 2, timeouts=2),
    "result_early": Seen(["0", "15"], ["0"], paid=1),
    "result_late": Seen(["0", "15"], ["0"], paid=1),
    "result_twice": Seen(["0", "15"], ["0", "0"], paid=1),
    "result_never": Seen(["0", "15"], paid=1),
    "result_lost": Seen(["0", "15"], paid=1),
    "result_failed:2006": Seen(["0", "15"], ["2006"]),
    "result_failed:SFC_IC0003": Seen(["0", "15"], ["SFC_IC0003"]),
    "result_failed_paid:17": Seen(["0", "15"], ["17"], paid=1),
    "result_contradicting": Seen(["0", "15"], ["0", "17"], paid=1),
    "result_contradicting:failure_first": Seen(["0", "15"], ["17", "0"], paid=1),
    "result_other_amount": Seen(["0", "15"], ["0"], paid=1),
    "result_other_receiver": Seen(["0", "15"], ["0"], paid=1),
    "initiator_locked": Seen(["0", "15"], ["8006"]),
    "float_empty": Seen(["0", "15"], ["1"]),
    "forget_duplicates": Seen(["0", "0"], ["0", "0"], paid=2),
    "found_late": Seen(["0", "15"], ["0"], paid=1),
    "query_status:Expired": Seen(["0", "15"], ["0"], paid=1),
    "response_shape:padded": Seen(["0", "15"], ["0"], paid=1),
    "response_shape:reordered": Seen(["0", "15"], ["0"], paid=1),
    "response_shape:g1": Seen(["0", "15"], ["0"], paid=1),
    "result_shape:g1": Seen(["0", "15"], ["0"], paid=1),
    "result_shape:raw_ampersand": Seen(["0", "15"], ["0"], paid=1),
    "result_shape:lowercase": Seen(["0", "15"], ["0"], paid=1),
}


def _script(*faults: str, **when: object) -> str:
    return json.dumps({"rule": [{"when": when, "do": list(faults)}]})


@pytest.mark.parametrize("fault", KIND_ROWS)
async def test_each_kind_of_fault_does_what_it_says(fault: str) -> None:
    """Answers, Results, time-outs and payments of one id that is sent twice under the fault."""
    async with bed(faults=_script(fault)) as it:
        seen = await _observe(it, 2)
        statistics = it.simulator.statistics()
    assert seen == KIND_ROWS[fault]
    assert statistics["faults"] == {fault.partition(":")[0]: 2}
    assert statistics["double_payments"] == (seen.paid > 1)


def test_every_kind_is_in_the_table_above() -> None:
    """A new kind of fault needs a row; `away` has a test of its own."""
    assert {row.partition(":")[0] for row in KIND_ROWS} == set(KINDS) - {"away"}


PAID = Seen(["0", "15"], ["0"], paid=1)
NUMBER_ROWS: dict[int, Seen] = {
    0: PAID,
    1: PAID,
    2: Seen(["0", "15"], paid=1),
    3: Seen(["0", "15"], ["0", "0"], paid=1),
    4: PAID,
    5: Seen(["0", "15"], ["0", "17"], paid=1),
    6: Seen(["0", "15"], ["17", "0"], paid=1),
    7: PAID,
    8: PAID,
    9: Seen(["0", "15"]),
    18: Seen(["100000002"] * 3),
    39: Seen(["0", "15"], paid=1),
    40: Seen(["500", "0"], ["0"], paid=1),
    41: Seen(["500", "15"], ["0"], paid=1),
    42: Seen(["html", "0"], ["0"], paid=1),
    43: Seen(["html", "15"], ["0"], paid=1),
    44: Seen(["empty", "0"], ["0"], paid=1),
    45: Seen(["empty", "15"], ["0"], paid=1),
    46: Seen(["fault", "0"], ["0"], paid=1),
    47: Seen(["fault", "15"], ["0"], paid=1),
    48: Seen(["17", "0"], ["0"], paid=1),
    49: Seen(["17", "15"], ["0"], paid=1),
    50: Seen(["100000004", "0"], ["0"], paid=1),
    51: Seen(["100000004", "15"], ["0"], paid=1),
    52: Seen(["dropped", "0"], ["0"], paid=1),
    53: Seen(["dropped", "15"], ["0"], paid=1),
    54: PAID,
    55: Seen(["99", "15"], ["0"], paid=1),
    56: Seen(["99", "0"], ["0"], paid=1),
    57: Seen(["dropped", "15"], paid=1),
    58: Seen(["dropped", "15"], paid=1),
    59: Seen(["0", "0"], ["0", "0"], paid=2),
    60: Seen(["100000000", "15"], ["0"], paid=1),
    61: Seen(["100000000", "0"], ["0"], timeouts=1, paid=1),
    **dict.fromkeys(range(62, 70), PAID),
    98: Seen(["0", "15"], ["17"], paid=1),
}


def _expected(number: TestNumber) -> Seen:
    """Refusals and failed Results follow their argument; the others are in the table."""
    digits = int(number.msisdn[-2:])
    if digits in NUMBER_ROWS:
        return NUMBER_ROWS[digits]
    (fault,) = number.faults
    if fault.kind == "result_failed":
        return Seen(["0", "15"], [fault.argument])
    if number.sends:
        return Seen([fault.argument] * 2 + ["0"], ["0"], paid=1)
    return Seen([fault.argument] * 3)


@pytest.mark.parametrize("msisdn", [one for one in all_numbers() if not one.endswith("99")])
async def test_each_test_number_does_what_the_table_says(msisdn: str) -> None:
    """One payout to the number, sent as often as the table of numbers tells about."""
    wanted = _expected(all_numbers()[msisdn])
    async with bed() as it:
        assert await _observe(it, len(wanted.answers), msisdn) == wanted


async def test_test_numbers_can_be_switched_off() -> None:
    """With `test_numbers` off, the reserved range is paid like any other."""
    async with bed(test_numbers=False) as it:
        assert await _observe(it, 2, "254700000118") == PAID


async def test_a_result_can_come_before_its_response() -> None:
    """With `result_early` the callback server has the Result while the client still waits."""
    async with bed(faults=_script("result_early")) as it:
        sending = asyncio.create_task(it.pay("one"))
        await it.callbacks.arrive(1)
        early = not sending.done()
        answer = await sending
    assert early
    assert answer.code == "0"


async def test_a_slow_answer_comes_after_the_payment() -> None:
    """The Result is there before the Response, which comes in the end."""
    async with bed(faults=_script("slow_answer:0.5")) as it:
        sending = asyncio.create_task(it.pay("one"))
        await it.callbacks.arrive(1)
        assert not sending.done()
        assert (await sending).code == "0"


async def test_another_amount_and_another_receiver_are_only_in_the_result() -> None:
    """The ledger has what was asked for; the Result names something else."""
    async with bed() as it:
        await it.pay("one", amount="100.00", msisdn="254700000107")
        (amount,) = await it.callbacks.arrive(1)
        await it.pay("two", amount="100.00", msisdn="254700000108")
        receiver = (await it.callbacks.arrive(2))[1]
        ledger = it.simulator.ledger()
    assert [line["amount"] for line in ledger] == ["100.00", "100.00"]
    assert amount.pairs()["TransactionAmount"] == "101.00"
    assert "254700000108" not in receiver.pairs()["ReceiverPartyPublicName"]


async def test_the_shapes_differ_as_they_are_named() -> None:
    """One look at what is particular about each shape of Response and Result."""
    async with bed() as it:
        padded = await it.pay("a", msisdn="254700000163")
        g1 = await it.pay("b", msisdn="254700000162")
        for digits in (62, 63, 64, 65, 66, 67, 68, 69):
            await it.pay(f"600000_ORG_{digits}", msisdn=f"2547000001{digits}")
        await it.callbacks.arrive(10)
        bodies = {
            digits: next(
                result.body
                for result in it.callbacks.results
                if b"600000_ORG_%d" % digits in result.body
            )
            for digits in range(62, 70)
        }
    assert b"a\n   </OriginatorConversationID>" in padded.body
    assert b"<![CDATA[\n" in padded.body
    assert b"<s:Envelope" in g1.body
    assert b"Completed" in bodies[62]
    assert b"<![CDATA[\n   <?xml" in bodies[63]
    assert b"|0.00&Charges" in bodies[64]
    assert b"<ResultParameter><ResultParameter>" in bodies[65]
    assert b"CDATA" not in bodies[66]
    assert b"cpsinterface/result" in bodies[67]
    assert b"<ConversationId>" in bodies[67]
    assert b"<OriginatorConversationID>" in bodies[67]
    assert b"TransactionAmount" not in bodies[68]
    assert b"254700000169 - <" in bodies[69]


async def test_a_gateway_that_is_away_refuses_connections_and_comes_back() -> None:
    """The request is lost, the next connection is refused, later the id is paid."""
    async with bed(away_s=0.5) as it:
        assert await _sent(it, "one", "254700000199") == "dropped"
        async with ClientSession() as client:
            with pytest.raises(ClientConnectionError):
                await client.get(it.simulator.base_url + "/health")
        await it.until(lambda: it.simulator.statistics()["away"] is False)
        assert await _sent(it, "one", "254700000199") == "0"
        await it.callbacks.arrive(1)


async def test_away_over_http_answers_before_it_leaves() -> None:
    """`POST /simulator/away` is answered; a second call while away is not needed to return."""
    async with bed() as it:
        assert await it.admin("POST", "/simulator/away", {"seconds": 0.05}) == (
            200,
            {"away_s": 0.05},
        )
        it.simulator.away(0.1)
        assert it.simulator.statistics()["away"] is True
        await it.until(lambda: it.simulator.statistics()["away"] is False)
        assert (await it.pay("one")).code == "0"


async def test_a_port_that_is_taken_meanwhile_is_waited_for() -> None:
    """Somebody binds the port while the gateway is away: it comes back when that one has gone."""
    async with bed() as it:
        host, port = it.simulator.base_url.removeprefix("http://").split(":")
        it.simulator.away(0.3)
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            await it.until(lambda: _bound(other, host, int(port)))
            other.listen()
            taken = asyncio.Event()
            asyncio.get_running_loop().call_later(0.5, taken.set)
            await taken.wait()
            assert it.simulator.statistics()["away"] is True
        await it.until(lambda: it.simulator.statistics()["away"] is False)
        assert (await it.pay("one")).code == "0"


def _bound(other: socket.socket, host: str, port: int) -> bool:
    try:
        other.bind((host, port))
    except OSError:
        return False
    return True


async def test_faults_add_up_within_one_rule() -> None:
    """No answer and no Result: only a query can tell."""
    async with bed(faults=_script("drop_answer", "result_never")) as it:
        seen = await _observe(it, 1)
        logged = (await it.ask("600000_ORG_one")).body
    assert b"<ns1:submitApiResponse>" in logged
    assert b"<ns1:submitApiResultList/>" in logged
    assert seen == Seen(["dropped"], paid=1)


async def test_a_script_can_be_replaced_while_it_runs() -> None:
    """A bad script changes nothing and tells why; a good one acts at once; reset ends it."""
    async with bed() as it:
        status, told = await it.admin(
            "POST",
            "/simulator/faults",
            '[[rule]]\ndo = "explode"\n[[rule]]\nwhen = {nth = "x"}\ndo = "throttle"',
        )
        assert status == 400
        assert "rule 1: there is no fault 'explode'; rule 2" in told["error"]
        assert (await it.pay("one")).code == "0"
        good = '[[rule]]\nwhen = {nth = [2]}\ndo = "throttle"\n[[rule]]\ndo = "overload"\ntimes = 1'
        assert await it.admin("POST", "/simulator/faults", good) == (200, {"rules": 2})
        codes = [(await it.pay(f"p{number}")).code for number in range(4)]
        await it.admin("POST", "/simulator/reset")
        codes.append((await it.pay("p9")).code)
    assert codes == ["100000001", "100000002", "0", "0", "0"]


async def test_chances_do_not_depend_on_the_order() -> None:
    """The same ids meet the same faults, whatever order they are sent in; another seed differs."""

    async def refused(seed: int, *, backwards: bool) -> set[str]:
        names = [f"600000_ORG_{number}" for number in range(60)]
        async with bed(seed=seed, probabilities="throttle=0.3") as it:
            return {
                name
                for name in (reversed(names) if backwards else names)
                if (await it.pay(name)).code != "0"
            }

    first = await refused(7, backwards=False)
    assert 5 < len(first) < 35
    assert await refused(7, backwards=True) == first
    assert await refused(8, backwards=False) != first


async def test_a_resend_draws_again() -> None:
    """A chance below one ends: an id refused at one send is taken at a later one."""
    async with bed(probabilities="throttle=0.7") as it:
        async with asyncio.timeout(10):
            while (await it.pay("600000_ORG_one")).code != "0":
                pass
        assert it.simulator.statistics()["accepted"] == 1


async def test_queries_have_faults_of_their_own() -> None:
    """A rule for `transaction` spoils queryTransaction and leaves payments alone."""
    script = json.dumps(
        {
            "rule": [
                {"when": {"operation": "transaction", "nth": 1}, "do": "http_500_before"},
                {"when": {"operation": "transaction", "nth": 2}, "do": "throttle"},
                {"when": {"operation": "transaction", "nth": 3}, "do": "code_17_before"},
                {"when": {"operation": "transaction", "nth": 4}, "do": "away:0.05"},
            ]
        }
    )
    async with bed(faults=script) as it:
        await it.pay("one")
        answers = [await it.ask("one") for _ in range(3)]
        with pytest.raises(ClientConnectionError):
            await it.ask("one")
        await it.until(lambda: it.simulator.statistics()["away"] is False)
        assert b"submitApiRequest>" in (await it.ask("one")).body
    assert answers[0].status == 500
    assert b"<ResponseCode>100000002<" in answers[1].body
    assert b"<ResponseCode>17<" in answers[2].body
