from typing import Any

import pytest

from ops.simulator.faults import Fault, FaultError, read_fault
from ops.simulator.script import Arrival, Faults, chance, read_probabilities
from ops.simulator.settings import SimulatorSettings


def _faults(script: str = "", **changes: Any) -> Faults:
    return Faults(SimulatorSettings(faults=script, **changes))


def _arrival(identifier: str = "one", **changes: Any) -> Arrival:
    return Arrival(**{"operation": "payment", "identifier": identifier, **changes})


@pytest.mark.parametrize(
    ("when", "arrivals", "acts"),
    [
        ("nth = 2", [{"number": n} for n in (1, 2, 3)], [False, True, False]),
        ("nth = [1, 3]", [{"number": n} for n in (1, 2, 3)], [True, False, True]),
        ("every = 2", [{"number": n} for n in (1, 2, 3, 4)], [False, True, False, True]),
        ("send = 1", [{"send": n} for n in (1, 2)], [True, False]),
        ("id = '^a.c'", [{"identifier": i} for i in ("abc", "xabc")], [True, False]),
        ("msisdn = '77$'", [{"msisdn": m} for m in ("2577", "2578")], [True, False]),
        ("after_s = 5", [{"age_s": a} for a in (4.9, 5.0)], [False, True]),
        ("until_s = 5", [{"age_s": a} for a in (4.9, 5.0)], [True, False]),
        ("after_s = 1, until_s = 2", [{"age_s": a} for a in (0.5, 1.5, 2.5)], [False, True, False]),
        (
            "operation = 'query'",
            [{"operation": o} for o in ("payment", "query", "transaction")],
            [False, True, False],
        ),
        ("", [{"operation": o} for o in ("payment", "query")], [True, False]),
        ("probability = 0.0", [{}], [False]),
        ("probability = 1.0", [{}], [True]),
    ],
)
def test_each_condition_looks_at_its_own(
    when: str, arrivals: list[dict[str, Any]], acts: list[bool]
) -> None:
    """One rule with one `when`, tried on arrivals that differ in what it looks at."""
    faults = _faults(f'[[rule]]\nwhen = {{{when}}}\ndo = "throttle"')
    found = [bool(faults.plan(_arrival(**changes)).refusal) for changes in arrivals]
    assert found == acts


def test_the_first_rule_that_holds_decides() -> None:
    """A rule that does nothing shields its requests from the rules after it."""
    faults = _faults(
        '[[rule]]\nwhen = {id = "spare"}\ndo = "none"\n'
        '[[rule]]\ndo = ["drop_answer", "result_twice"]'
    )
    spared = faults.plan(_arrival("spare me"))
    hit = faults.plan(_arrival("not me"))
    assert (spared.kinds, spared.answer) == (["none"], "")
    assert (hit.kinds, hit.answer, hit.results) == (["drop_answer", "result_twice"], "drop", 2)


def test_a_rule_ends_after_its_times() -> None:
    """`times = 2` acts on two arrivals, then never again."""
    faults = _faults('[[rule]]\ntimes = 2\ndo = "throttle"')
    assert [bool(faults.plan(_arrival(str(n))).refusal) for n in range(4)] == [
        True,
        True,
        False,
        False,
    ]


def test_a_rule_goes_before_a_test_number_and_a_number_before_chance() -> None:
    """Whoever is more particular decides alone."""
    script = '[[rule]]\nwhen = {id = "rule"}\ndo = "overload"'
    faults = _faults(script, probabilities="system_busy=1")
    number = {"msisdn": "254700000118"}
    assert faults.plan(_arrival("rule", **number)).refusal == "100000001"
    assert faults.plan(_arrival("number", **number)).refusal == "100000002"
    assert faults.plan(_arrival("chance")).refusal == "26"
    assert faults.plan(_arrival("chance", operation="query")).refusal == ""


def test_json_is_a_script_too() -> None:
    """Braces first: JSON; the seed may stand in it."""
    faults = _faults('{"seed": 5, "rule": [{"do": "sp_locked"}]}')
    assert faults.seed == 5
    assert faults.plan(_arrival()).refusal == "100000006"


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("[[rule]\n", "neither TOML nor JSON"),
        ("{", "neither TOML nor JSON"),
        ("other = 1", "unknown in the script: other"),
        ('seed = "x"', "seed must be an integer"),
        ("rule = 5", "rule must be a list of tables"),
        ("[[rule]]\nwhen = {}", "rule 1: do must be"),
        ("[[rule]]\ndo = [1]", "do must be"),
        ('[[rule]]\ndo = "fly"', "there is no fault 'fly'"),
        ('[[rule]]\ndo = "refuse_before"', "needs an argument"),
        ('[[rule]]\ndo = "overload:5"', "takes no argument"),
        ('[[rule]]\ndo = "away:soon"', "is no seconds"),
        ('[[rule]]\ndo = "away:-1"', "is no seconds"),
        ('[[rule]]\ndo = "refuse_before:<x>"', "is no code"),
        ('[[rule]]\ndo = "result_shape:round"', "for result_shape"),
        ('[[rule]]\nname = "n"\ncolour = 1\ndo = "none"', "rule n: unknown: colour"),
        ('[[rule]]\nwhen = {moon = 1}\ndo = "none"', "when.moon"),
        ('[[rule]]\nwhen = {operation = "x"}\ndo = "none"', "when.operation"),
        ('[[rule]]\nwhen = {every = 0}\ndo = "none"', "when.every"),
        ('[[rule]]\nwhen = {id = "("}\ndo = "none"', "rule 1: "),
        ('[[rule]]\nwhen = {id = 5}\ndo = "none"', "rule 1: "),
        ('[[rule]]\nwhen = {probability = 2}\ndo = "none"', "from 0 to 1"),
        ('[[rule]]\nwhen = {probability = "x"}\ndo = "none"', "from 0 to 1"),
        ('[[rule]]\ntimes = "x"\ndo = "none"', "rule 1: "),
    ],
)
def test_a_script_that_is_wrong_says_where(script: str, told: str) -> None:
    """Rules are named by their name or number; nothing is installed."""
    faults = _faults('[[rule]]\ndo = "throttle"')
    with pytest.raises(FaultError) as caught:
        faults.install(script)
    assert told in str(caught.value)
    assert faults.plan(_arrival()).refusal == "100000002"


def test_probabilities_are_checked_all_at_once() -> None:
    """Unknown faults and numbers outside 0 to 1, each named; good pairs are read."""
    assert read_probabilities("throttle=0.5, away:2=0.1,") == [
        (Fault("throttle"), 0.5),
        (Fault("away", "2"), 0.1),
    ]
    with pytest.raises(FaultError) as caught:
        read_probabilities("fly=0.1,throttle=2,overload=x,sp_locked")
    for name in ("'fly'", "throttle", "overload", "sp_locked"):
        assert name in str(caught.value)


def test_a_chance_is_even_and_repeatable() -> None:
    """Ten thousand draws: the same each time, about a tenth below 0.1, different per part."""
    drawn = [chance(1, "rule", number, 1) for number in range(10_000)]
    assert drawn == [chance(1, "rule", number, 1) for number in range(10_000)]
    assert 900 < sum(value < 0.1 for value in drawn) < 1100
    assert chance(1, "rule", 5, 1) != chance(1, "rule", 5, 2) != chance(2, "rule", 5, 1)


def test_a_status_with_a_blank_is_an_argument() -> None:
    """TransactionStatus values are taken as they are written."""
    assert read_fault("query_status:Pending Authorized").argument == "Pending Authorized"
