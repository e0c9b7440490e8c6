"""The limits of CONTRIBUTING.md, held over every tracked file.

Each rule is a function from a file's text to what is wrong in it, and is proved on a text that
breaks it: a rule that finds nothing anywhere proves nothing.
"""

import ast
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import pytest

PROJECT = Path(__file__).resolve().parents[2]
LONGEST_MODULE = 400
LONGEST_FUNCTION = 70
BANNED_NAMES = {"helper", "helpers", "util", "utils", "base", "manager", "settlement", "common"}

# Written in parts, so that this file does not break its own rules.
MARKS = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")
PLACES = re.compile(r"(?<![\w.$~}/-])/(" + "|".join(("wo" + "rk", "ro" + "ot", "tm" + "p")) + r")/")
REGISTRIES = re.compile(
    "|".join(
        re.escape(host + "." + end)
        for host, end in (
            ("py" + "pi", "org"),
            ("python" + "hosted", "org"),
            ("registry." + "npmjs", "org"),
            ("static.crates", "io"),
            ("proxy." + "golang", "org"),
            ("registry-1." + "docker", "io"),
            ("deb." + "debian", "org"),
        )
    )
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A tracked file: its place in the project and its text."""

    path: PurePosixPath
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """Gives the parsed text of a Python file."""
        return ast.parse(self.text)

    @property
    def is_python(self) -> bool:
        """Says whether this is Python."""
        return self.path.suffix == ".py"

    @property
    def is_test(self) -> bool:
        """Says whether this belongs to the tests."""
        return self.path.parts[0] == "tests"


def too_long_module(source: Source) -> Iterator[str]:
    """Modules have up to 400 lines."""
    lines = len(source.text.splitlines())
    if source.is_python and lines > LONGEST_MODULE:
        yield f"{lines} lines"


def too_long_function(source: Source) -> Iterator[str]:
    """Functions have up to 70 lines."""
    for function in _functions(source):
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        if lines > LONGEST_FUNCTION:
            yield f"{function.lineno}: {function.name} has {lines} lines"


def untold_test(source: Source) -> Iterator[str]:
    """Each test says in a sentence what it proves."""
    for function in _functions(source):
        told = (ast.get_docstring(function) or "").split("\n\n")[0].strip()
        if source.is_test and function.name.startswith("test_") and not told.endswith("."):
            yield f"{function.lineno}: {function.name}"


def sleeping_test(source: Source) -> Iterator[str]:
    """Tests wait for what they need, not for time to pass: a pause stands between two looks.

    So it stands in a `while` loop. A clock that is handed in may sleep, and `sleep(0)` only yields.
    """
    if not (source.is_test and source.is_python):
        return
    allowed = {
        inner
        for outer in ast.walk(source.tree)
        if isinstance(outer, ast.While) or getattr(outer, "name", "") == "sleep"
        for inner in ast.walk(outer)
    }
    for node in ast.walk(source.tree):
        if not (isinstance(node, ast.Call) and _name(node.func) == "sleep"):
            continue
        if node not in allowed and not ast.unparse(node).endswith("sleep(0)"):
            yield f"{node.lineno}: {ast.unparse(node)}"


def left_over_mark(source: Source) -> Iterator[str]:
    """What is left to do stands in the issues."""
    yield from _found(MARKS, source)


def swallowed_error(source: Source) -> Iterator[str]:
    """Nobody catches everything and goes on as if nothing had been."""
    for node in ast.walk(source.tree) if source.is_python else ():
        if isinstance(node, ast.ExceptHandler):
            all_kinds = node.type is None or _name(node.type) in {"Exception", "BaseException"}
            if all_kinds and all(_says_nothing(statement) for statement in node.body):
                yield f"{node.lineno}: except {ast.unparse(node.type) if node.type else ''}"
        if isinstance(node, ast.Call) and _name(node.func) == "suppress":
            wide = {"Exception", "BaseException"} & {_name(kind) for kind in node.args}
            if wide:
                yield f"{node.lineno}: {ast.unparse(node)}"


def banned_name(source: Source) -> Iterator[str]:
    """Modules have the field's names, which say what is in them."""
    for word in {*source.path.parent.parts, source.path.stem} if source.is_python else ():
        if set(word.split("_")) & BANNED_NAMES:
            yield word


def foreign_place(source: Source) -> Iterator[str]:
    """No path of the machine that something was written on, no host of a package registry."""
    yield from _found(PLACES, source)
    yield from _found(REGISTRIES, source)


def banner(source: Source) -> Iterator[str]:
    """Comments are sentences; rulers and boxes are not."""
    for number, line in enumerate(source.text.splitlines(), start=1):
        if source.is_python and re.match(r"\s*#\s*([-=#*~])\1{3,}", line):
            yield f"{number}: {line.strip()}"


Rule = Callable[[Source], Iterator[str]]

RULES: tuple[Rule, ...] = (
    too_long_module,
    too_long_function,
    untold_test,
    sleeping_test,
    left_over_mark,
    swallowed_error,
    banned_name,
    foreign_place,
    banner,
)

LONG_BODY = "\n".join(["    a = 1"] * LONGEST_FUNCTION)

BREACHES: dict[Rule, tuple[str, str]] = {
    too_long_module: ("payouts/a.py", "a = 1\n" * (LONGEST_MODULE + 1)),
    too_long_function: ("payouts/a.py", f"def a() -> None:\n{LONG_BODY}\n"),
    untold_test: ("tests/unit/test_a.py", 'def test_a() -> None:\n    """No sentence"""\n'),
    sleeping_test: ("tests/unit/test_a.py", "asyncio.sleep(0.1)\n"),
    left_over_mark: ("docs/a.md", "Later (TO" + "DO)\n"),
    swallowed_error: ("ops/a.py", "try:\n    a()\nexcept Exception:\n    pass\n"),
    banned_name: ("payouts/storage/row_utils.py", ""),
    foreign_place: ("docs/a.md", "see /wo" + "rk/shared\n"),
    banner: ("payouts/a.py", "# ------ storage ------\n"),
}

KEPT: dict[Rule, tuple[str, str]] = {
    sleeping_test: (
        "tests/unit/test_a.py",
        "asyncio.sleep(0)\nwhile not done():\n    time.sleep(0.1)\n",
    ),
    swallowed_error: ("ops/a.py", "try:\n    a()\nexcept OSError:\n    pass\n"),
    banned_name: ("payouts/database.py", ""),
    foreign_place: (
        "docs/a.md",
        "docs/wo" + "rk/a, ./tm" + "p/b and https://a.example/ro" + "ot/\n",
    ),
}


@pytest.fixture(scope="module")
def sources() -> tuple[Source, ...]:
    """Gives every tracked text file; one that is not committed yet is not looked at."""
    listing = subprocess.run(
        ["/usr/bin/env", "git", "-c", "safe.directory=*", "ls-files", "-z"],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    paths = [name for name in listing.split("\0") if name and (PROJECT / name).is_file()]
    return tuple(
        Source(path=PurePosixPath(name), text=text)
        for name in paths
        if (text := _text(PROJECT / name)) is not None
    )


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_is_tidy(rule: Rule, sources: tuple[Source, ...]) -> None:
    """No tracked file breaks a rule of the house."""
    wrong = [f"{source.path}: {what}" for source in sources for what in rule(source)]
    assert not wrong, f"{rule.__doc__}\n" + "\n".join(wrong)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_each_rule_finds_its_breach(rule: Rule) -> None:
    """A text that breaks the rule is found, so that silence means order."""
    path, text = BREACHES[rule]
    assert list(rule(Source(path=PurePosixPath(path), text=text)))


@pytest.mark.parametrize("rule", KEPT, ids=lambda rule: rule.__name__)
def test_rules_leave_what_is_right(rule: Rule) -> None:
    """What only looks like a breach is let pass."""
    path, text = KEPT[rule]
    assert not list(rule(Source(path=PurePosixPath(path), text=text)))


def test_all_of_the_project_is_looked_at(sources: tuple[Source, ...]) -> None:
    """The rules see the code of every part; a wrong folder would make them pass on nothing."""
    parts = {source.path.parts[0] for source in sources if source.is_python}
    assert {"payouts", "worker", "callback_server", "ops", "tests"} <= parts


def _functions(source: Source) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(source.tree) if source.is_python else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _name(node: ast.AST) -> str:
    return str(getattr(node, "attr", None) or getattr(node, "id", ""))


def _says_nothing(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Pass | ast.Continue) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


def _found(pattern: re.Pattern[str], source: Source) -> Iterator[str]:
    for number, line in enumerate(source.text.splitlines(), start=1):
        if pattern.search(line):
            yield f"{number}: {line.strip()[:100]}"


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None
