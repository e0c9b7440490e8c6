"""Writes the JSON Schemas that tests/architecture/test_kubernetes.py holds the manifests to.

They come from packages that are too large to be installed for every test run, so they are kept
here, cut down to the kinds that the manifests use. To make them anew, in an environment of its
own (it needs nothing else of this project):

    python -m venv .local/schemas
    .local/schemas/bin/pip install kubernetes-validate \
        cloudcoil-models-keda cloudcoil-models-prometheus-operator
    .local/schemas/bin/python ops/kubernetes/schemas.py

Kubernetes' own kinds are those of the *oldest* version that the manifests are for: later ones
add fields to stable kinds, and take none away. Kubernetes, KEDA and the Prometheus operator are
licensed under Apache-2.0, and so is what is made of them here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

OLDEST: Final = "1.29.0"
KINDS: Final = {
    "v1/ConfigMap": "configmap-v1",
    "v1/Namespace": "namespace-v1",
    "v1/Service": "service-v1",
    "v1/ServiceAccount": "serviceaccount-v1",
    "apps/v1/Deployment": "deployment-apps-v1",
    "batch/v1/Job": "job-batch-v1",
    "networking.k8s.io/v1/NetworkPolicy": "networkpolicy-networking-v1",
    "policy/v1/PodDisruptionBudget": "poddisruptionbudget-policy-v1",
}
CUSTOM: Final = {
    "keda.sh/v1alpha1/ScaledObject": ("cloudcoil.models.keda.v1alpha1", "cloudcoil-models-keda"),
    "keda.sh/v1alpha1/TriggerAuthentication": (
        "cloudcoil.models.keda.v1alpha1",
        "cloudcoil-models-keda",
    ),
    "monitoring.coreos.com/v1/PodMonitor": (
        "cloudcoil.models.prometheus_operator.v1",
        "cloudcoil-models-prometheus-operator",
    ),
}
TARGET: Final = Path(__file__).parents[2] / "tests" / "fixtures" / "kubernetes" / "schemas.json"
_UNSAID: Final = {"description", "title", "default", "$schema", "format", "example"}
Schema = dict[str, Any]


def main() -> int:
    """Write the file, and tell where and from which versions."""
    packages = {"kubernetes-validate", *(package for _, package in CUSTOM.values())}
    made = {
        "kubernetes": OLDEST,
        "made_from": {package: version(package) for package in sorted(packages)},
        "kinds": {**_built_in(), **{name: _custom(name) for name in CUSTOM}},
    }
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(_laid_out(made), encoding="utf-8")
    sys.stderr.write(f"{TARGET.name}: {made['made_from']}\n")
    return 0


def _built_in() -> dict[str, Schema]:
    """Return the strict schema of each of Kubernetes' own kinds, with what it refers to."""
    folder = files("kubernetes_validate") / "kubernetes-json-schema" / f"v{OLDEST}-local-strict"
    known = json.loads((folder / "_definitions.json").read_text(encoding="utf-8"))
    definitions = known.get("$defs", known.get("definitions"))
    return {
        name: _whole(json.loads((folder / f"{file}.json").read_text("utf-8")), definitions)
        for name, file in KINDS.items()
    }


def _custom(name: str) -> Schema:
    """Return the schema of a kind that KEDA or the Prometheus operator adds, made strict."""
    module, _ = CUSTOM[name]
    model = getattr(import_module(module), name.rpartition("/")[2])
    schema: Schema = model.model_json_schema()
    schema["properties"]["metadata"] = {"type": "object"}
    return _whole(schema, schema["$defs"])


def _whole(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """Return a schema that stands alone: stripped, strict, with those definitions it needs."""
    top = {key: part for key, part in schema.items() if key != "$defs"}
    top["properties"] = {key: part for key, part in top["properties"].items() if key != "status"}
    top = _strict(top)
    needed: dict[str, Schema] = {}
    wanted = list(_referred(top))
    while wanted:
        name = wanted.pop()
        if name not in needed:
            needed[name] = _strict(definitions[name])
            wanted += _referred(needed[name])
    return {**top, "$defs": dict(sorted(needed.items()))}


def _strict(part: Any, *, names: bool = False) -> Any:
    """Return a part without prose, that refuses what it does not know.

    `names`: the keys are a user's or fields' names, none of them a word of JSON Schema.
    """
    if isinstance(part, list):
        return [_strict(one) for one in part]
    if not isinstance(part, dict):
        return part
    if names:
        return {key: _strict(one) for key, one in part.items()}
    kept = {
        key: _strict(one, names=key == "properties")
        for key, one in part.items()
        if key not in _UNSAID and not key.startswith("x-")
    }
    if "$ref" in kept:
        kept["$ref"] = "#/$defs/" + kept["$ref"].rpartition("/")[2]
    if "properties" in kept:
        kept.setdefault("additionalProperties", False)
    return kept


def _referred(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"].rpartition("/")[2]
        for one in part.values():
            yield from _referred(one)
    elif isinstance(part, list):
        for one in part:
            yield from _referred(one)


def _laid_out(made: dict[str, Any]) -> str:
    """Return JSON with one kind a line, so that a change can be seen in a diff."""
    kinds = ",\n".join(
        f"{json.dumps(name)}:{json.dumps(schema, separators=(',', ':'), sort_keys=True)}"
        for name, schema in sorted(made.pop("kinds").items())
    )
    head = json.dumps(made, indent=1).removesuffix("\n}")
    return f'{head},\n "kinds": {{\n{kinds}\n}}}}\n'


if __name__ == "__main__":
    sys.exit(main())
