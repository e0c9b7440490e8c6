"""The manifests of ops/kubernetes: read as they stand, and as kustomize renders them."""

import shutil
import subprocess
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
FOLDER = PROJECT / "ops" / "kubernetes"
OVERLAYS = ("production", "accounts", "test")
IMAGE = "mpesa-payouts"
COMPONENT = "app.kubernetes.io/component"
Manifest = dict[str, Any]


def kustomizations() -> list[Path]:
    """Gives every kustomization of the folder."""
    return sorted(FOLDER.rglob("kustomization.yaml"))


def files() -> list[Path]:
    """Gives every file of manifests, patches among them."""
    return [path for path in sorted(FOLDER.rglob("*.yaml")) if path.name != "kustomization.yaml"]


def documents(path: Path) -> list[Manifest]:
    """Gives the manifests of one file."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def resources() -> list[Manifest]:
    """Gives each manifest of the base and the components, as it stands in its file."""
    kept = [path for path in files() if path.relative_to(FOLDER).parts[0] != "overlays"]
    return [manifest for path in kept for manifest in documents(path)]


@cache
def rendered(name: str) -> "Installation":
    """Gives what `kubectl kustomize` makes of an overlay or the base; no cluster is asked."""
    folder = FOLDER / "overlays" / name if name in OVERLAYS else FOLDER / name
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("needs kubectl, which renders overlays without a cluster")
    done = subprocess.run(  # noqa: S603 - A rendering of our own files.
        [kubectl, "kustomize", str(folder)],
        check=True,
        capture_output=True,
        text=True,
    )
    return Installation(name=name, manifests=tuple(yaml.safe_load_all(done.stdout)))


@dataclass(frozen=True, kw_only=True)
class Pods:
    """A Deployment or a Job: what its pods look like."""

    manifest: Manifest

    @property
    def name(self) -> str:
        """Gives the name of the Deployment or Job."""
        return str(self.manifest["metadata"]["name"])

    @property
    def spec(self) -> Manifest:
        """Gives the specification of a pod."""
        found: Manifest = self.manifest["spec"]["template"]["spec"]
        return found

    @property
    def labels(self) -> Mapping[str, str]:
        """Gives the labels of a pod."""
        found: Mapping[str, str] = self.manifest["spec"]["template"]["metadata"]["labels"]
        return found

    @property
    def main(self) -> Manifest:
        """Gives the one container that stays."""
        (found,) = self.spec["containers"]
        return dict(found)

    @property
    def containers(self) -> list[Manifest]:
        """Gives all containers, those that only prepare among them."""
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]

    @property
    def ours(self) -> bool:
        """Says whether these pods run our image."""
        return IMAGE in self.main["image"]

    @property
    def ports(self) -> dict[str, int]:
        """Gives the ports of a pod by name."""
        return {port["name"]: port["containerPort"] for port in self.main.get("ports", ())}

    def port(self, said: str | int) -> int | None:
        """Gives the number of a port that is said by name or number; None where it is not there."""
        return self.ports.get(said) if isinstance(said, str) else said


@dataclass(frozen=True, kw_only=True)
class Installation:
    """All manifests of one overlay."""

    name: str
    manifests: tuple[Manifest, ...]

    def of(self, kind: str) -> dict[str, Manifest]:
        """Gives the manifests of a kind by name."""
        return {
            manifest["metadata"]["name"]: manifest
            for manifest in self.manifests
            if manifest["kind"] == kind
        }

    @property
    def pods(self) -> dict[str, Pods]:
        """Gives Deployments and Jobs by name."""
        made = {**self.of("Deployment"), **self.of("Job")}
        return {name: Pods(manifest=manifest) for name, manifest in made.items()}

    def environ(self, pods: Pods) -> dict[str, str]:
        """Gives the environment of the main container, as Kubernetes would put it together."""
        environ: dict[str, str] = {}
        for source in pods.main.get("envFrom", ()):
            environ |= self.of("ConfigMap")[source["configMapRef"]["name"]].get("data", {})
        for one in pods.main.get("env", ()):
            assert set(one) == {"name", "value"}, f"{pods.name}: {one['name']}"
            environ[one["name"]] = one["value"]
        return environ

    @property
    def accounts(self) -> list[str]:
        """Gives the names of the paying accounts."""
        for config in self.of("ConfigMap").values():
            if "accounts.toml" in config.get("data", {}):
                return list(tomllib.loads(config["data"]["accounts.toml"]))
        return ["default"]

    def selected(self, selector: Manifest) -> set[str]:
        """Gives the names of those whose pods a selector selects."""
        return {name for name, pods in self.pods.items() if selects(selector, pods.labels)}


def selects(selector: Manifest, labels: Mapping[str, str]) -> bool:
    """Says whether a selector of labels selects these; an empty one selects everything."""
    assert set(selector) <= {"matchLabels", "matchExpressions"}
    wanted: Mapping[str, str] = selector.get("matchLabels", {})
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    for expression in selector.get("matchExpressions", ()):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return True


def strings(part: object) -> Iterator[str]:
    """Gives every text in a manifest."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict):
        yield from (text for one in part.values() for text in strings(one))
    elif isinstance(part, Iterable):
        yield from (text for one in part for text in strings(one))
