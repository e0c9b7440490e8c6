"""The shell scripts: strict, runnable, and clear to a person whose machine lacks something."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ops.runtime_lock import locked

PROJECT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted([*(PROJECT / "ops").rglob("*.sh"), PROJECT / ".ci" / "run"])
BASH = shutil.which("bash") or "/bin/bash"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Gives a project with nothing but setup.sh, on a machine with next to no programs."""
    (tmp_path / "ops").mkdir()
    shutil.copy(PROJECT / "ops" / "setup.sh", tmp_path / "ops")
    (tmp_path / "bin").mkdir()
    for name in ("dirname", "id"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or "")
    return tmp_path


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_scripts_are_strict(script: Path) -> None:
    """Each can be run, is read by bash without complaint, and stops at the first failure."""
    assert os.access(script, os.X_OK)
    text = script.read_text(encoding="utf-8")
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail\n" in text
    assert _run(["-n", str(script)]).returncode == 0


def test_continuous_integration_runs_what_a_person_runs() -> None:
    """There is one check, not two that drift apart."""
    assert "ops/test.sh" in (PROJECT / ".ci" / "run").read_text(encoding="utf-8")


def test_a_machine_without_python_is_told_what_to_install(machine: Path) -> None:
    """An older Python is not taken; exit status 2 says that a person is needed."""
    for name in ("python3", "python3.11"):
        _program(machine / "bin" / name, "exit 1")
    ran = _run([str(machine / "ops" / "setup.sh")], path=machine / "bin")
    assert ran.returncode == 2
    assert "Python 3.11 or newer" in ran.stderr
    assert not (machine / ".venv").exists()


def test_a_missing_package_without_rights_is_named(machine: Path) -> None:
    """Where apt-get would have to install and cannot, the command for root is printed."""
    _program(machine / "bin" / "python3", '[ "$2" = "import ensurepip, venv" ] && exit 1; exit 0')
    _program(machine / "bin" / "apt-get", "exit 0")
    (machine / "bin" / "id").unlink()
    _program(machine / "bin" / "id", "echo 1000")
    ran = _run([str(machine / "ops" / "setup.sh")], path=machine / "bin")
    assert ran.returncode == 2
    assert "apt-get install --no-install-recommends" in ran.stderr


def test_other_systems_are_told_where_to_get_rabbitmq(machine: Path) -> None:
    """Without apt-get nothing is installed; the ways of other systems are named."""
    _program(machine / "bin" / "python3", '[ "$2" = "import ensurepip, venv" ] && exit 1; exit 0')
    ran = _run([str(machine / "ops" / "setup.sh")], path=machine / "bin")
    assert ran.returncode == 2
    assert "brew install rabbitmq" in ran.stderr
    assert "dnf install rabbitmq-server" in ran.stderr


def test_the_stacks_get_no_environment_before_the_product_has_one(machine: Path) -> None:
    """All stacks run on the product's Python; without it the script says what makes it."""
    (machine / "ops" / "bench").mkdir()
    script = shutil.copy(PROJECT / "ops" / "bench" / "environment.sh", machine / "ops" / "bench")
    ran = _run([str(script)], path=machine / "bin")
    assert ran.returncode == 2
    assert "ops/setup.sh" in ran.stderr
    assert not (machine / ".venv-bench").exists()


def test_the_lock_of_the_stacks_names_what_they_ask_for() -> None:
    """Each package that the peers and the chart want is pinned, and every pin has its hashes."""
    folder = PROJECT / "ops" / "bench" / "peers"
    pins = locked((folder / "requirements.lock").read_text(encoding="utf-8"))
    wanted = (folder / "requirements.in").read_text(encoding="utf-8").splitlines()
    names = {line.split("[")[0] for line in wanted if line and not line.startswith("#")}
    assert names <= set(pins)
    assert all("--hash=sha256:" in pin for pin in pins.values())


def test_locks_name_no_place_to_fetch_from() -> None:
    """Each machine fetches from where it is told to; another one's folders are not there."""
    locks = [*PROJECT.glob("*.lock"), *(PROJECT / "ops" / "bench" / "peers").glob("*.lock")]
    assert len(locks) >= 4
    for lock in locks:
        lines = lock.read_text(encoding="utf-8").splitlines()
        assert not [line for line in lines if line.startswith("-") or "://" in line], lock


def _program(path: Path, body: str) -> None:
    path.write_text(f"#!{BASH}\n{body}\n", encoding="utf-8")
    path.chmod(0o755)


def _run(arguments: list[str], *, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(path or os.environ["PATH"]), "HOME": str(PROJECT)}
    return subprocess.run(  # noqa: S603 - Our own scripts.
        [BASH, *arguments], env=environment, check=False, capture_output=True, text=True
    )
