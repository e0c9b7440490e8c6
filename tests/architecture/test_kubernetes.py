"""The manifests of ops/kubernetes, as far as they can be checked without a cluster.

They were never applied to one. Rendering needs `kubectl`; where it is missing, the overlays are
not looked at, and the tests say so. Schemas: tests/fixtures/kubernetes, made by ops/kubernetes.
"""

import json
import re
from http import HTTPStatus
from pathlib import Path
from types import UnionType
from typing import Any, get_args

import aiohttp
import pytest
from jsonschema import Draft202012Validator
from pydantic import SecretStr

from ops.simulator.settings import PREFIX, SimulatorSettings
from payouts.settings import (
    AccountSettings,
    CallbackSettings,
    DatabaseSettings,
    WorkerSettings,
)
from payouts.settings.groups import variable_of
from payouts.telemetry import AdminServer
from tests.architecture.manifests import (
    IMAGE,
    OVERLAYS,
    PROJECT,
    Installation,
    Manifest,
    Pods,
    documents,
    files,
    kustomizations,
    rendered,
    resources,
    strings,
)
from worker.app import CONNECT_WITHIN_S

PAGE = PROJECT / "docs" / "how-to" / "run-on-kubernetes.md"
SECRETS = "/run/secrets"
TO_END_S = 5  # What a process may take beyond PAYOUTS_DRAIN_S.


@pytest.fixture(params=OVERLAYS)
def installation(request: pytest.FixtureRequest) -> Installation:
    """Gives each overlay as it is rendered."""
    return rendered(str(request.param))


@pytest.fixture(scope="module")
def schemas() -> dict[str, Draft202012Validator]:
    """Gives the strict schema of each kind."""
    path = PROJECT / "tests" / "fixtures" / "kubernetes" / "schemas.json"
    kinds = json.loads(path.read_text(encoding="utf-8"))["kinds"]
    return {kind: Draft202012Validator(schema) for kind, schema in kinds.items()}


def test_files_fit_their_schemas(schemas: dict[str, Draft202012Validator]) -> None:
    """Base and components are valid as they stand, also where nothing can be rendered."""
    manifests = resources()
    assert {"ScaledObject", "PodMonitor", "Deployment"} <= {one["kind"] for one in manifests}
    for manifest in manifests:
        assert problems(manifest, schemas) == []


def test_overlays_fit_their_schemas(
    installation: Installation, schemas: dict[str, Draft202012Validator]
) -> None:
    """What would be applied knows no field that Kubernetes, KEDA or Prometheus do not know."""
    for manifest in installation.manifests:
        assert problems(manifest, schemas) == []


def test_schemas_refuse_what_is_misspelt(schemas: dict[str, Draft202012Validator]) -> None:
    """A wrong field or type is found at any depth, in each kind that has a specification."""
    for manifest in resources():
        if "spec" in manifest:
            assert problems({**manifest, "spec": {**manifest["spec"], "odd": 1}}, schemas)
    deployment = next(one for one in resources() if one["kind"] == "Deployment")
    text = json.dumps(deployment)
    for right, wrong in (('"periodSeconds"', '"period"'), ('"containerPort": ', '"port": ')):
        assert problems(json.loads(text.replace(right, wrong)), schemas)


def test_every_file_is_used() -> None:
    """Each file is named by the kustomization beside it, and each that is named is there."""
    for path in kustomizations():
        (told,) = documents(path)
        named = {*told.get("resources", ()), *told.get("components", ())}
        named |= {patch["path"] for patch in told.get("patches", ()) if "path" in patch}
        for generator in told.get("configMapGenerator", ()):
            named |= {*generator.get("envs", ()), *generator.get("files", ())}
        assert all((path.parent / name).exists() for name in named), path
        beside = {one.name for one in path.parent.iterdir() if one.is_file()}
        assert beside - {path.name} == {name for name in named if "/" not in name}, path


def test_the_image_is_named_once() -> None:
    """Manifests say `mpesa-payouts` without a version; the kustomization gives it one."""
    for path in files():
        for manifest in documents(path):
            for image in re.findall(r'"image": "([^"]*)"', json.dumps(manifest)):
                assert image == IMAGE or path.parent.name == "test", path
                assert ":" in image or image == IMAGE, path
    for overlay in OVERLAYS:
        for pods in rendered(overlay).pods.values():
            versions = [one["image"].rpartition(":")[2] for one in pods.containers]
            assert all(version not in {"", "latest", "unset"} for version in versions), pods.name


def test_secrets_are_files_alone(installation: Installation) -> None:
    """No Secret is among the manifests, and no variable carries what the settings call secret."""
    assert not installation.of("Secret")
    assert {"PAYOUTS_SP_PASSWORD", "PAYOUTS_AMQP_URL", "PAYOUTS_DATABASE_URL"} <= secret_variables()
    for pods in installation.pods.values():
        environ = installation.environ(pods)
        assert not secret_variables() & set(environ), pods.name
        assert not [name for name in environ if name.endswith("PASSWORD")], pods.name
    data = [text for one in installation.of("ConfigMap").values() for text in strings(one)]
    assert not [text for text in data if "password =" in text or "amqp://" in text]


def test_what_is_mounted_is_there(installation: Installation) -> None:
    """Mounts have volumes and the reverse; a path in a variable lies below a mount, read only."""
    for pods in installation.pods.values():
        volumes = {one["name"]: one for one in pods.spec["volumes"]}
        mounts = [mount for one in pods.containers for mount in one.get("volumeMounts", ())]
        assert {mount["name"] for mount in mounts} == set(volumes), pods.name
        for mount in mounts:
            writable = "emptyDir" in volumes[mount["name"]]
            assert mount.get("readOnly", False) or writable, f"{pods.name}: {mount}"
        below = tuple(mount["mountPath"] for mount in pods.main["volumeMounts"])
        for name, value in installation.environ(pods).items():
            if value.startswith("/") and name != "PAYOUTS_CALLBACK_PATH":
                assert value.startswith(below), f"{pods.name}: {name}"


def test_every_secret_is_told(installation: Installation) -> None:
    """The page that tells how to make the secrets names each one, and each file in it."""
    text = PAGE.read_text(encoding="utf-8")
    for pods in installation.pods.values():
        for volume in pods.spec["volumes"]:
            if "secret" in volume:
                name = volume["secret"]["secretName"]
                assert re.search(rf"secret generic {name}\b", text), name
        told = [*installation.environ(pods).values(), *map(str, pods.main.get("args", ()))]
        for path in told:
            if path.startswith(SECRETS + "/"):
                assert f"{Path(path).name}=" in text or f"/{Path(path).name}" in text, path


def test_processes_accept_their_settings(installation: Installation, tmp_path: Path) -> None:
    """Worker and callback server load the environment that they would be given."""
    worker = installation.pods["worker"]
    callback = installation.pods["callback-server"]
    settings = WorkerSettings.load(mounted(installation, worker, tmp_path))
    CallbackSettings.load(mounted(installation, callback, tmp_path))
    assert set(settings.accounts) == set(installation.accounts)


def test_every_variable_is_read_by_its_process(installation: Installation) -> None:
    """No variable is given to a process that does not look at it."""
    readers = {
        "worker": {*WorkerSettings.model_fields, *AccountSettings.model_fields},
        "callback-server": {*CallbackSettings.model_fields},
        "migrate": {*DatabaseSettings.model_fields},
    }
    known_of = {
        name: {variable_of(field) for field in fields} | {"PAYOUTS_ACCOUNTS_FILE"}
        for name, fields in readers.items()
    }
    known_of["simulator"] = {PREFIX + name.upper() for name in SimulatorSettings.__slots__}
    for name in set(known_of) & set(installation.pods):
        known = known_of[name]
        for variable in installation.environ(installation.pods[name]):
            assert variable in known or variable.removesuffix("_FILE") in known, variable


async def test_probes_ask_what_is_served(installation: Installation) -> None:
    """Paths are those of the admin server; its port is the one that the settings open."""
    for name in ("worker", "callback-server"):
        pods = installation.pods[name]
        environ = installation.environ(pods)
        kinds = ("startup", "readiness", "liveness")
        asked = {kind: pods.main[f"{kind}Probe"]["httpGet"] for kind in kinds}
        await answered({one["path"] for one in asked.values()})
        assert asked["readiness"]["path"] == "/health/ready"
        assert asked["liveness"]["path"] == asked["startup"]["path"] == "/health/live"
        assert {pods.port(one["port"]) for one in asked.values()} == {
            int(environ["PAYOUTS_ADMIN_PORT"])
        }
        assert environ["PAYOUTS_ADMIN_HOST"] == "0.0.0.0"  # noqa: S104 - In its pod.
        startup = pods.main["startupProbe"]
        assert startup["periodSeconds"] * startup["failureThreshold"] > CONNECT_WITHIN_S


def test_a_pod_has_the_time_to_drain(installation: Installation) -> None:
    """Until the kill there is the pause before SIGTERM, PAYOUTS_DRAIN_S, and some time to end."""
    for name in ("worker", "callback-server"):
        pods = installation.pods[name]
        hook = pods.main.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
        pause = int(hook[1]) if hook else 0
        drain = float(installation.environ(pods)["PAYOUTS_DRAIN_S"])
        assert pods.spec["terminationGracePeriodSeconds"] >= pause + drain + TO_END_S, name
    assert "preStop" in installation.pods["callback-server"].main["lifecycle"]


def test_containers_have_few_rights(installation: Installation) -> None:
    """Nobody is root, may become it, has a capability, an API token, or memory without bound."""
    user = re.search(r"^USER (\d+)", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    assert user is not None
    namespaces = [one["metadata"]["labels"] for one in installation.of("Namespace").values()]
    assert [one["pod-security.kubernetes.io/enforce"] for one in namespaces] == ["restricted"]
    for pods in installation.pods.values():
        context = pods.spec["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pods.ours or context["runAsUser"] == context["fsGroup"] == int(user[1])
        assert pods.spec["automountServiceAccountToken"] is False
        # Otherwise a Service named payouts-callback would set PAYOUTS_CALLBACK_PORT to an address.
        assert pods.spec["enableServiceLinks"] is False
        for container in pods.containers:
            rights = container["securityContext"]
            assert rights["allowPrivilegeEscalation"] is False
            assert rights["capabilities"] == {"drop": ["ALL"]}
            assert rights.get("readOnlyRootFilesystem") is True or not pods.ours
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert "memory" in container["resources"]["limits"]


def test_selectors_find_their_pods(installation: Installation) -> None:
    """Deployments, Services, budgets and spreads each select the pods of one Deployment."""
    for name, deployment in installation.of("Deployment").items():
        assert installation.selected(deployment["spec"]["selector"]) == {name}
        for spread in Pods(manifest=deployment).spec.get("topologySpreadConstraints", ()):
            assert installation.selected(spread["labelSelector"]) == {name}
    for name, service in installation.of("Service").items():
        assert installation.selected({"matchLabels": service["spec"]["selector"]}) == {name}
        for port in service["spec"]["ports"]:
            target = port.get("targetPort", port["port"])
            assert installation.pods[name].port(target) in installation.pods[name].ports.values()
    for name, budget in installation.of("PodDisruptionBudget").items():
        assert installation.selected(budget["spec"]["selector"]) == {name}


def test_what_runs_more_than_once_has_a_budget(installation: Installation) -> None:
    """A node is emptied without taking the last worker or callback server."""
    scaled = {
        one["spec"]["scaleTargetRef"]["name"]: one["spec"]["minReplicaCount"]
        for one in installation.of("ScaledObject").values()
    }
    fewest = {
        name: scaled.get(name, one["spec"].get("replicas", 1))
        for name, one in installation.of("Deployment").items()
    }
    budgets = installation.of("PodDisruptionBudget")
    assert {name for name, replicas in fewest.items() if replicas > 1} == set(budgets)
    for name, budget in budgets.items():
        assert fewest[name] - budget["spec"]["maxUnavailable"] >= 1


async def answered(paths: set[str]) -> None:
    """Returns if the admin server of our processes says yes at each path."""
    admin = AdminServer("127.0.0.1", 0, ready=dict, metrics=lambda: b"")
    await admin.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{admin.port}") as session:
            for path in paths:
                async with session.get(path) as answer:
                    assert answer.status == HTTPStatus.OK, path
    finally:
        await admin.close()


def problems(manifest: Manifest, schemas: dict[str, Draft202012Validator]) -> list[str]:
    """Gives what the schema of its kind finds wrong with a manifest."""
    schema = schemas[f"{manifest['apiVersion']}/{manifest['kind']}"]
    name = manifest["metadata"]["name"]
    return [f"{name} {error.json_path}: {error.message}" for error in schema.iter_errors(manifest)]


def secret_variables() -> set[str]:
    """Gives the variables whose values the settings hide."""
    fields: dict[str, Any] = {}
    for group in (WorkerSettings, CallbackSettings, AccountSettings):
        fields |= group.model_fields
    return {variable_of(name) for name, field in fields.items() if hides(field.annotation)}


def hides(annotation: object) -> bool:
    """Says whether a field's value is never shown."""
    kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    return SecretStr in kinds


def mounted(installation: Installation, pods: Pods, folder: Path) -> dict[str, str]:
    """Gives a pod's environment with its files made below a folder, with invented secrets."""
    for volume in pods.spec["volumes"]:
        if "configMap" in volume:
            config = installation.of("ConfigMap")[volume["configMap"]["name"]]
            mount = next(one for one in pods.main["volumeMounts"] if one["name"] == volume["name"])
            for name, text in config["data"].items():
                file = folder / mount["mountPath"].lstrip("/") / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text.replace(SECRETS, f"{folder}{SECRETS}"), encoding="utf-8")
    below = tuple(mount["mountPath"] for mount in pods.main["volumeMounts"])
    environ = installation.environ(pods)
    told = [*environ.values(), *_named_in_files(folder)]
    for path in {text.removeprefix(str(folder)) for text in told}:
        file = folder / path.lstrip("/")
        if path.startswith(below) and not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(_invented(file.name), encoding="utf-8")
    return {
        name: f"{folder}{value}" if value.startswith(below) else value
        for name, value in environ.items()
    }


def _named_in_files(folder: Path) -> list[str]:
    texts = [path.read_text(encoding="utf-8") for path in folder.rglob("*.toml")]
    return [path for text in texts for path in re.findall(r'_file = "([^"]+)"', text)]


def _invented(name: str) -> str:
    urls = {"database_url": "postgresql://u:p@db/payouts", "amqp_url": "amqps://u:p@mq/%2F"}
    return urls.get(name, "invented")
