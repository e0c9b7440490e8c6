"""The documents say what is there: pages made from code, links, commands, settings, paths."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from pydantic_core import PydanticUndefined

from ops.cli.app import build_app
from ops.docs.__main__ import PAGES, main
from ops.docs.codes import EFFECTS
from ops.docs.sections import ROOT, filled
from ops.simulator.settings import PREFIX as SIMULATOR_PREFIX
from ops.simulator.settings import SimulatorSettings
from payouts.domain.answers import Response, Result
from payouts.domain.code_types import Code, Side
from payouts.domain.codes import CODES, Family, lookup
from payouts.domain.commands import DEFAULT_ACCOUNT, AccountRules, payout_of, validate
from payouts.domain.decisions import (
    Accept,
    Doubt,
    End,
    Fail,
    Note,
    Policies,
    Unclear,
    Wait,
    decide_answer,
    decide_result,
)
from payouts.domain.payout import State
from payouts.settings import (
    AccountSettings,
    CallbackSettings,
    OrderSettings,
    ReconcileSettings,
    SendSettings,
    WorkerSettings,
)
from payouts.settings.groups import variable_of

HIDDEN = frozenset({".venv", ".venv-bench", ".local", ".git", ".pytest_cache", "node_modules"})
MARKDOWN = sorted(
    path for path in ROOT.rglob("*.md") if not HIDDEN & set(path.relative_to(ROOT).parts)
)
OTHER_VARIABLES = frozenset({"PAYOUTS_ACCOUNTS_FILE"})
NOW = datetime(2026, 11, 27, tzinfo=UTC)

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_VARIABLE = re.compile(r"PAYOUTS_[A-Z0-9_]*[A-Z0-9]")
_CODE = re.compile(r"`([^`\n]+)`")
_OWN_PATH = re.compile(
    r"(payouts|worker|callback_server|migrations|ops|docs|tests)/[\w./-]+|[\w-]+\.(md|toml|lock|ini)"
)


def pages() -> list[object]:
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in MARKDOWN]


def prose(path: Path) -> str:
    """Gives a page without its blocks of code."""
    return _FENCE.sub("", path.read_text(encoding="utf-8"))


def slugs(path: Path) -> set[str]:
    """Gives the anchors of a page's headings, as code hosts make them."""
    found = set()
    for heading in _HEADING.findall(prose(path)):
        plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        found.add(re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-"))
    return found


@pytest.mark.parametrize("path", list(PAGES))
def test_page_made_from_code_is_in_step(path: str) -> None:
    """Each page that is made from the code stands as the code has it; run python -m ops.docs."""
    assert (ROOT / path).read_text(encoding="utf-8") == PAGES[path]()


def test_check_tells_a_stale_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --check a page that differs is shown, named and not written; the exit status is 1."""
    path = next(iter(PAGES))
    before = (ROOT / path).read_bytes()
    monkeypatch.setitem(PAGES, path, lambda: "something else\n")

    assert main(["--check"]) == 1
    assert path in capsys.readouterr().out
    assert (ROOT / path).read_bytes() == before


def test_section_that_nobody_makes_is_refused() -> None:
    """A page whose marked sections are not those that the code makes is an error."""
    with pytest.raises(ValueError, match="marks"):
        filled("docs/reference/states.md", {"states": "x"})


@pytest.mark.parametrize("path", pages())
def test_every_link_resolves(path: Path) -> None:
    """Links to files and headings of this project lead somewhere."""
    for target in _LINK.findall(prose(path)):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.exists(), f"{target} in {path.name}"
        if anchor:
            assert anchor in slugs(file), f"{target} in {path.name}"


@pytest.mark.parametrize("path", pages())
def test_every_path_that_is_named_exists(path: Path) -> None:
    """A file or folder of this project that a page names in code type is there."""
    for text in _CODE.findall(prose(path)):
        if _OWN_PATH.fullmatch(text):
            places = (ROOT / text, path.parent / text, ROOT / "payouts" / text)
            assert any(place.exists() for place in places), f"{text} in {path.name}"


def known_variables() -> set[str]:
    groups = (
        *(WorkerSettings, CallbackSettings, AccountSettings),
        *(SendSettings, OrderSettings, ReconcileSettings),
    )
    names = {variable_of(name) for group in groups for name in group.model_fields}
    simulator = {SIMULATOR_PREFIX + name.upper() for name in SimulatorSettings.__slots__}
    return names | simulator | OTHER_VARIABLES


@pytest.mark.parametrize("path", pages())
def test_every_variable_that_is_named_exists(path: Path) -> None:
    """A page names no variable that nothing reads."""
    known = known_variables()
    for variable in _VARIABLE.findall(path.read_text(encoding="utf-8")):
        plain = variable.removesuffix("_FILE")
        assert variable in known or plain in known, f"{variable} in {path.name}"


def typed_commands() -> Iterator[object]:
    """Gives each command line of `payouts` that a page tells its reader to type."""
    for path in MARKDOWN:
        for kind, block in _FENCE.findall(path.read_text(encoding="utf-8")):
            for line in block.splitlines():
                if kind != "console" or not line.startswith("$ "):
                    continue
                for part in re.split(r"&&|\|", line.removeprefix("$ ")):
                    words = shlex.split(part)
                    if words[:1] == ["payouts"]:
                        yield pytest.param(words[1:], id=f"{path.name}: {part.strip()}")


@pytest.mark.parametrize("words", list(typed_commands()))
def test_every_command_that_is_told_can_be_typed(words: list[str], tmp_path: Path) -> None:
    """Commands and options that a page tells its reader to type are those of the program."""
    file = tmp_path / "file.csv"
    file.touch()
    there = [str(file) if word.endswith(".csv") else word for word in words]

    command, _, _ = build_app().parse_args(there, exit_on_error=False, print_error=False)

    assert callable(command)


def test_scripts_of_the_readme_can_be_run() -> None:
    """The two commands of the README are there and executable."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for script in ("ops/demo.sh", "ops/test.sh"):
        assert f"$ {script}\n" in text
        assert (ROOT / script).stat().st_mode & 0o111


def test_readme_names_what_a_worker_requires() -> None:
    """The README's table of variables is the list of those without a default."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `PAYOUTS_")]
    told = {name for row in rows for name in _VARIABLE.findall(row)}
    fields = {**WorkerSettings.model_fields, **AccountSettings.model_fields}
    required = {
        variable_of(name)
        for name, field in fields.items()
        if field.default is PydanticUndefined and field.default_factory is None
    }

    assert told == required - {variable_of("accounts")}


def test_decisions_are_numbered_and_whole() -> None:
    """Decision records have a number each and tell status, context, decision and consequences."""
    records = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [int(path.name[:4]) for path in records]

    assert len(numbers) == len(set(numbers))
    for path in records:
        text = path.read_text(encoding="utf-8")
        for part in ("Status", "Context", "Decision", "Consequences"):
            assert re.search(rf"^(## |\**){part}", text, re.MULTILINE), f"{part} in {path.name}"


def test_every_dependency_has_its_reason() -> None:
    """Each run-time dependency stands in the record of dependencies."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    record = next((ROOT / "docs" / "decisions").glob("0001-*.md")).read_text(encoding="utf-8")
    extras = [one for group in project["optional-dependencies"].values() for one in group]
    for requirement in [*project["dependencies"], *extras]:
        name = re.split(r"[\[>=;]", requirement)[0]
        if not name.startswith("types-"):
            assert name.removesuffix("-stubs").lower() in record.lower(), name


def shown_state(row: Code, side: Side) -> str:
    """Gives the state to which the code page says that a code's class leads on this side."""
    effect = EFFECTS[row.klass][0 if side is Side.RESPONSE else 1]
    found = re.match(r"`(\w+)`", effect)
    return found[1] if found else effect


def in_effect(side: Side) -> list[Code]:
    """Gives the rows that a lookup finds; others are shadowed by a newer core's."""
    return [row for row in CODES if row.side is side and lookup(side, row.code, Family.G2) == row]


@pytest.mark.parametrize("row", in_effect(Side.RESPONSE), ids=lambda row: str(row.code))
def test_code_page_tells_where_a_response_leads(row: Code) -> None:
    """The state that the code page names for a class is the one that the decision leads to."""
    rules = AccountRules(name=DEFAULT_ACCOUNT, shortcode="600000", organisation="ORG")
    command = validate({"payout_id": "a", "amount": "1", "msisdn": "254712345678"}, rules)
    payout = payout_of(command, rules, state=State.SUBMITTING, now=NOW)
    decision = decide_answer(
        payout, Response(code=row.code), at=NOW, policies=Policies(), jitter=lambda: 0.5
    )
    states = {Accept: "accepted", Wait: "waiting", Doubt: "in_doubt", Fail: "failed"}

    assert states[type(decision)] == shown_state(row, Side.RESPONSE)


@pytest.mark.parametrize("row", in_effect(Side.RESULT), ids=lambda row: str(row.code))
def test_code_page_tells_where_a_result_leads(row: Code) -> None:
    """The same for a Result."""
    states = {Unclear: "in_doubt", Note: "no move; a line in the timeline"}
    verdict = decide_result(Result(code=row.code))

    state = verdict.to.value if isinstance(verdict, End) else states[type(verdict)]
    assert state == shown_state(row, Side.RESULT)


@pytest.mark.servers
async def test_database_page_names_every_trigger(database_url: str) -> None:
    """The triggers of a migrated database are those that the page tells."""
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal")
    await connection.close()
    text = (ROOT / "docs" / "reference" / "database.md").read_text(encoding="utf-8")
    section = text.partition("## Guards")[2].partition("\n## ")[0]

    first_cells = [row.split("|")[1] for row in section.splitlines() if row.startswith("| `")]
    named = {name for cell in first_cells for name in _CODE.findall(cell)}
    assert named == {row["tgname"] for row in rows}
