"""Fault scripts: which request meets which fault, decided the same way in every run.

A decision by chance is a hash of the seed, the id, the rule and the send's number, so it does not
depend on the order in which requests arrive.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ops.simulator.faults import Fault, FaultError, Plan, read_fault
from ops.simulator.numbers import all_numbers
from ops.simulator.settings import SimulatorSettings

OPERATIONS = ("payment", "query", "transaction")


def chance(*parts: object) -> float:
    """Guarantees the same number, 0 <= it < 1, for the same parts; evenly spread over others."""
    text = "\x1f".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest()) / (1 << 56)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What a rule may look at: `send` counts requests of this id, `number` those of the operation.

    `age_s` is the time since the script was installed.
    """

    operation: str
    identifier: str
    msisdn: str = ""
    send: int = 1
    number: int = 1
    age_s: float = 0.0


@dataclass(slots=True)
class Rule:
    """One `when … do …` of a script; counts how often it acted."""

    name: str
    when: tuple[Callable[[Arrival], bool], ...]
    do: tuple[Fault, ...]
    probability: float = 1.0
    times: int = 0
    acted: int = 0

    def takes(self, arrival: Arrival, seed: int) -> bool:
        """Guarantees the same answer for the same arrival, as long as `times` is not used up."""
        if self.times and self.acted >= self.times:
            return False
        if not all(condition(arrival) for condition in self.when):
            return False
        drawn = self.probability < 1.0
        return not drawn or (
            chance(seed, self.name, arrival.identifier, arrival.send) < self.probability
        )


class Faults:
    """Guarantees one plan for each arrival: by the script, else the number, else by chance."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self.seed = settings.seed
        self._numbers = all_numbers() if settings.test_numbers else {}
        self._chances = read_probabilities(settings.probabilities)
        self._rules: list[Rule] = []
        if settings.faults:
            self.install(settings.faults)

    def install(self, script: str) -> int:
        """Guarantees that exactly the rules of `script` act from now on; returns how many.

        Raises:
            FaultError: with every problem of the script; the rules stay as they were.
        """
        document = _document(script)
        seed = document.get("seed", self._settings.seed)
        if not isinstance(seed, int):
            raise FaultError("seed must be an integer")
        rules = _rules(document)
        self._rules, self.seed = rules, seed
        return len(rules)

    def plan(self, arrival: Arrival) -> Plan:
        """Guarantees a fresh plan with every fault that this arrival meets."""
        plan = Plan()
        for fault in self._chosen(arrival):
            fault.change(plan, self._settings)
        return plan

    def _chosen(self, arrival: Arrival) -> tuple[Fault, ...] | list[Fault]:
        for rule in self._rules:
            if rule.takes(arrival, self.seed):
                rule.acted += 1
                return rule.do
        number = self._numbers.get(arrival.msisdn)
        if number is not None:
            return number.faults if not number.sends or arrival.send <= number.sends else ()
        if not self._chances or arrival.operation != "payment":
            return ()
        return [
            fault
            for fault, probability in self._chances
            if chance(self.seed, fault.kind, arrival.identifier, arrival.send) < probability
        ]


def read_probabilities(text: str) -> list[tuple[Fault, float]]:
    """Guarantees faults with their probabilities, 0 to 1, from `fault=number,…`.

    Raises:
        FaultError: naming every part that is wrong.
    """
    pairs: list[tuple[Fault, float]] = []
    problems: list[str] = []
    for part in filter(None, (one.strip() for one in text.split(","))):
        name, _, number = part.partition("=")
        try:
            pairs.append((read_fault(name), _probability(number)))
        except (FaultError, ValueError) as error:
            problems.append(str(error) if isinstance(error, FaultError) else _not_chance(name))
    if problems:
        raise FaultError("; ".join(problems))
    return pairs


def _not_chance(name: str) -> str:
    return f"the probability of {name.strip()} must be a number from 0 to 1"


def _probability(number: Any) -> float:
    value = float(number)
    if not 0.0 <= value <= 1.0:
        raise ValueError
    return value


def _document(script: str) -> dict[str, Any]:
    try:
        is_json = script.lstrip().startswith("{")
        document = json.loads(script) if is_json else tomllib.loads(script)
    except ValueError as error:
        raise FaultError(f"the script is neither TOML nor JSON: {error}") from None
    unknown = set(document) - {"seed", "rule"}
    if unknown:
        raise FaultError(f"unknown in the script: {', '.join(sorted(unknown))}")
    return dict(document)


def _rules(document: Mapping[str, Any]) -> list[Rule]:
    found = document.get("rule", [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise FaultError("rule must be a list of tables")
    rules: list[Rule] = []
    problems: list[str] = []
    for index, table in enumerate(found, 1):
        try:
            rules.append(_rule(table, str(table.get("name", index))))
        except (FaultError, TypeError, ValueError, re.error) as error:
            problems.append(f"rule {table.get('name', index)}: {error}")
    if problems:
        raise FaultError("; ".join(problems))
    return rules


def _rule(table: Mapping[str, Any], name: str) -> Rule:
    unknown = set(table) - {"name", "when", "do", "times"}
    if unknown:
        raise FaultError(f"unknown: {', '.join(sorted(unknown))}")
    when = dict(table.get("when", {}))
    wanted = table.get("do")
    faults = [wanted] if isinstance(wanted, str) else wanted
    if not faults or not all(isinstance(one, str) for one in faults):
        raise FaultError("do must be a fault or a list of faults")
    try:
        probability = _probability(when.pop("probability", 1.0))
    except ValueError:
        raise FaultError("probability must be a number from 0 to 1") from None
    when.setdefault("operation", "payment")
    return Rule(
        name=name,
        when=tuple(_condition(key, value) for key, value in when.items()),
        do=tuple(read_fault(one) for one in faults),
        probability=probability,
        times=int(table.get("times", 0)),
    )


def _condition(key: str, value: Any) -> Callable[[Arrival], bool]:
    """Makes the check of one `when` entry; the closures below are the list of them."""
    if key == "operation" and value in OPERATIONS:
        return lambda arrival: arrival.operation == value
    if key == "id":
        pattern = re.compile(value)
        return lambda arrival: pattern.search(arrival.identifier) is not None
    if key == "msisdn":
        pattern = re.compile(value)
        return lambda arrival: pattern.search(arrival.msisdn) is not None
    if key in ("nth", "send"):
        wanted = frozenset([value] if isinstance(value, int) else map(int, value))
        attribute = "number" if key == "nth" else "send"
        return lambda arrival: getattr(arrival, attribute) in wanted
    if key == "every" and isinstance(value, int) and value > 0:
        return lambda arrival: arrival.number % value == 0
    if key == "after_s":
        start = float(value)
        return lambda arrival: arrival.age_s >= start
    if key == "until_s":
        end = float(value)
        return lambda arrival: arrival.age_s < end
    raise FaultError(f"when.{key} = {value!r} is not understood")
