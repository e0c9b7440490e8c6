"""`python -m ops.runtime_lock > requirements-runtime.lock`: what the deployables need, no more.

It is the part of requirements.lock, versions and hashes alike, that is reached from the
dependencies of this project without its extras. The container image is built from it; a test
fails when it is older than requirements.lock.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
HEADER = "# Made from requirements.lock by `python -m ops.runtime_lock`; change that, not this.\n"


def runtime_lock(project: Path = PROJECT) -> str:
    """Gives the text of requirements-runtime.lock; all packages must be installed here.

    Raises:
        KeyError: requirements.lock lacks a package that is needed.
    """
    with (project / "pyproject.toml").open("rb") as file:
        wanted = tomllib.load(file)["project"]["dependencies"]
    blocks = locked((project / "requirements.lock").read_text(encoding="utf-8"))
    names = sorted(reached(map(Requirement, wanted)))
    return HEADER + "".join(blocks[name] for name in names)


def reached(wanted: Iterable[Requirement]) -> set[str]:
    """Gives the names of all packages that the wanted ones need, on any Python that we support."""
    pending = [(requirement, "") for requirement in wanted]
    seen: set[tuple[str, str]] = set()
    while pending:
        requirement, extra = pending.pop()
        if not _applies(requirement, extra):
            continue
        name = canonicalize_name(requirement.name)
        for chosen in ("", *requirement.extras):
            if (name, chosen) not in seen:
                seen.add((name, chosen))
                pending += [(Requirement(text), chosen) for text in requires(name) or ()]
    return {name for name, _ in seen}


def locked(text: str) -> dict[str, str]:
    """Splits a lock file into its packages, without the remarks of who wants them."""
    parts = re.split(r"(?m)^(?=[A-Za-z0-9])", text)
    return dict(_block(part) for part in parts if "==" in part)


def _block(part: str) -> tuple[str, str]:
    lines = [
        line for line in part.splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]
    lines[-1] = lines[-1].rstrip(" \\")
    name = re.split(r"[\[=; ]", lines[0], maxsplit=1)[0]
    return canonicalize_name(name), "\n".join(lines) + "\n"


def _applies(requirement: Requirement, extra: str) -> bool:
    if requirement.marker is None:
        return True
    environments: Iterator[dict[str, str]] = (
        {
            "python_version": version,
            "python_full_version": f"{version}.0",
            "sys_platform": "linux",
            "platform_system": "Linux",
            "platform_python_implementation": "CPython",
            "extra": extra,
        }
        for version in PYTHONS
    )
    return any(requirement.marker.evaluate(environment) for environment in environments)


if __name__ == "__main__":
    sys.stdout.write(runtime_lock())
