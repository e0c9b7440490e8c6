"""Who may talk to whom on Kubernetes, how many workers there are, and who asks for figures."""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import pytest

from payouts.domain.values import AccountName
from payouts.messaging.topology import Topology
from payouts.storage.engine import CONNECTIONS
from tests.architecture.manifests import (
    COMPONENT,
    FOLDER,
    OVERLAYS,
    PROJECT,
    Installation,
    Manifest,
    rendered,
    selects,
)

PAGE = PROJECT / "docs" / "how-to" / "run-on-kubernetes.md"
EVERYBODY = {"default-deny", "to-dns"}
POLICIES = {
    "worker": {"to-postgresql", "to-rabbitmq", "to-gateway", "from-prometheus"},
    "callback-server": {"to-postgresql", "to-rabbitmq", "from-ingress", "from-prometheus"},
    "migrate": {"to-postgresql"},
    "simulator": {"simulator"},
    "postgres": {"postgres"},
    "rabbitmq": {"rabbitmq"},
}


@pytest.fixture(params=OVERLAYS)
def installation(request: pytest.FixtureRequest) -> Installation:
    """Gives each overlay as it is rendered."""
    return rendered(str(request.param))


def test_what_is_not_allowed_is_denied(installation: Installation) -> None:
    """One policy takes every pod, for both directions, and lets nothing through."""
    spec = installation.of("NetworkPolicy")["default-deny"]["spec"]
    assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_each_pod_has_the_policies_that_it_needs(installation: Installation) -> None:
    """Those of the table and no others, so that nobody reaches more than the work takes."""
    policies = installation.of("NetworkPolicy")
    for name, pods in installation.pods.items():
        found = {
            policy
            for policy, manifest in policies.items()
            if selects(manifest["spec"]["podSelector"], pods.labels)
        }
        assert found == POLICIES[name] | EVERYBODY, name


def test_policies_say_from_where_to_where(installation: Installation) -> None:
    """Each rule names peers and ports; an empty list would mean everybody, or every port."""
    for name, policy in installation.of("NetworkPolicy").items():
        rules = _rules(policy)
        assert rules or name == "default-deny"
        for _, peers, ports in rules:
            assert peers, name
            assert ports, name
            for peer in peers:
                assert peer.get("ipBlock", {}).get("cidr") != "0.0.0.0/0", name


def test_ports_are_those_that_are_served(installation: Installation) -> None:
    """What a policy lets in is a port of the pods that it selects."""
    for name, policy in installation.of("NetworkPolicy").items():
        for direction, _, ports in _rules(policy):
            if direction == "ingress":
                for target in installation.selected(policy["spec"]["podSelector"]):
                    pods = installation.pods[target]
                    opened = {pods.port(port["port"]) for port in ports}
                    assert opened <= set(pods.ports.values()), f"{name} of {target}"


@pytest.mark.parametrize("name", ["base", *OVERLAYS])
def test_results_and_figures_come_from_where_they_should(name: str) -> None:
    """The callback port is opened by one policy, the admin port by another, and by no more."""
    installation = rendered(name)
    opened: dict[str, set[str]] = {}
    for one, policy in installation.of("NetworkPolicy").items():
        for direction, _, ports in _rules(policy):
            if direction == "ingress":
                for port in ports:
                    opened.setdefault(str(port["port"]), set()).add(one)
    assert opened["callbacks"] == {"from-ingress"}
    assert opened["admin"] == {"from-prometheus"}


def test_the_way_to_the_gateway_is_open(installation: Installation) -> None:
    """The policy of workers opens the ports of the addresses that they are told to use."""
    environ = installation.environ(installation.pods["worker"])
    wanted = {urlsplit(environ[name]).port for name in ("PAYOUTS_GATEWAY_URL", "PAYOUTS_QUERY_URL")}
    ((_, _, ports),) = _rules(installation.of("NetworkPolicy")["to-gateway"])
    assert {port["port"] for port in ports} == wanted


def test_no_example_keeps_an_address_of_the_base(installation: Installation) -> None:
    """The base's addresses lead nowhere, so an overlay must replace each of them."""
    base = (FOLDER / "base" / "network.yaml").read_text(encoding="utf-8")
    nowhere = set(re.findall(r"cidr: (\S+)", base))
    assert len(nowhere) == 3
    for name, policy in installation.of("NetworkPolicy").items():
        for _, peers, _ in _rules(policy):
            said = {peer["ipBlock"]["cidr"] for peer in peers if "ipBlock" in peer}
            assert not said & nowhere, name


def test_both_ends_agree_in_the_test_overlay() -> None:
    """Where one pod may talk to another, the other lets it in, on the same port."""
    installation = rendered("test")
    pairs = 0
    for source in installation.pods:
        for target, port in _reached(installation, source):
            pairs += 1
            assert source in _let_in(installation, target, port), f"{source} to {target}"
    assert pairs == 7


@pytest.mark.parametrize("overlay", ["production", "accounts"])
def test_workers_are_scaled_by_their_queues(overlay: str) -> None:
    """KEDA looks at the queue of each account; nobody else says how many workers there are."""
    installation = rendered(overlay)
    (scaled,) = (one["spec"] for one in installation.of("ScaledObject").values())
    worker = installation.of("Deployment")[scaled["scaleTargetRef"]["name"]]
    assert "replicas" not in worker["spec"]
    assert 2 <= scaled["minReplicaCount"] < scaled["maxReplicaCount"]
    queues = [trigger["metadata"]["queueName"] for trigger in scaled["triggers"]]
    topology = Topology()
    assert queues == [topology.queue_of(AccountName(name)) for name in installation.accounts]
    for trigger in scaled["triggers"]:
        assert trigger["type"] == "rabbitmq"
        assert trigger["metadata"]["mode"] == "QueueLength"
        assert trigger["authenticationRef"]["name"] in installation.of("TriggerAuthentication")


def test_connections_of_postgresql_are_told() -> None:
    """The page names the connections that the production example may open, and no fewer."""
    installation = rendered("production")
    (scaled,) = (one["spec"] for one in installation.of("ScaledObject").values())
    callback = installation.of("Deployment")["callback-server"]["spec"]
    surge = callback["strategy"]["rollingUpdate"]["maxSurge"]
    processes = scaled["maxReplicaCount"] + callback["replicas"] + surge
    needed = processes * CONNECTIONS + 1
    assert f"**{needed} connections**" in PAGE.read_text(encoding="utf-8")


def test_figures_are_scraped_under_the_names_that_alerts_know() -> None:
    """The monitor finds both kinds of pods, and their label becomes the job."""
    installation = rendered("production")
    (monitor,) = (one["spec"] for one in installation.of("PodMonitor").values())
    assert monitor["jobLabel"] == COMPONENT
    (endpoint,) = monitor["podMetricsEndpoints"]
    found = [
        pods for pods in installation.pods.values() if selects(monitor["selector"], pods.labels)
    ]
    assert {pods.labels[COMPONENT] for pods in found} == {"worker", "callback-server"}
    assert all(endpoint["port"] in pods.ports for pods in found)
    alerts = (PROJECT / "ops" / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
    assert 'job=~"worker|callback-server"' in alerts


def test_the_simulator_is_for_tests_alone() -> None:
    """Nothing outside the test overlay knows of it."""
    for path in FOLDER.rglob("*.*"):
        if path.suffix in {".yaml", ".env", ".toml"} and path.parent.name != "test":
            assert "simulator" not in path.read_text(encoding="utf-8").lower(), path
    assert "simulator" in rendered("test").pods


def _rules(policy: Manifest) -> list[tuple[str, list[Manifest], list[Manifest]]]:
    """Gives the rules of a policy: direction, peers, ports."""
    spec = policy["spec"]
    outward = [("egress", rule["to"], rule["ports"]) for rule in spec.get("egress", ())]
    inward = [("ingress", rule["from"], rule["ports"]) for rule in spec.get("ingress", ())]
    return outward + inward


def _reached(installation: Installation, source: str) -> set[tuple[str, int]]:
    """Gives pods and ports to which the policies let a pod talk, within the namespace."""
    found = set()
    for policy in _policies_of(installation, source).values():
        for direction, peers, ports in _rules(policy):
            if direction == "egress":
                found |= {
                    (name, port["port"])
                    for peer in peers
                    if set(peer) == {"podSelector"}
                    for name in installation.selected(peer["podSelector"])
                    for port in ports
                }
    return found


def _let_in(installation: Installation, target: str, port: int) -> set[str]:
    """Gives the pods that the policies let talk to a port of a pod."""
    found: set[str] = set()
    for policy in _policies_of(installation, target).values():
        for direction, peers, ports in _rules(policy):
            numbers = {installation.pods[target].port(one["port"]) for one in ports}
            if direction == "ingress" and port in numbers:
                for peer in peers:
                    if "podSelector" in peer:
                        found |= installation.selected(peer["podSelector"])
    return found


def _policies_of(installation: Installation, name: str) -> Mapping[str, Manifest]:
    labels = installation.pods[name].labels
    return {
        policy: manifest
        for policy, manifest in installation.of("NetworkPolicy").items()
        if selects(manifest["spec"]["podSelector"], labels)
    }
