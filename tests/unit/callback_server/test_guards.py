from ipaddress import ip_network

import pytest

from callback_server.guards import AllowList

ALLOW = AllowList(
    networks=[ip_network("196.201.214.0/24"), ip_network("2001:db8::/32")],
    trusted_proxies=[ip_network("10.0.0.0/8")],
)


@pytest.mark.parametrize(
    ("peer", "forwarded", "admitted"),
    [
        ("196.201.214.7", None, True),
        ("::ffff:196.201.214.7", None, True),
        ("2001:db8::1", None, True),
        ("8.8.8.8", None, False),
        ("8.8.8.8", "196.201.214.7", False),
        ("10.0.0.1", "196.201.214.7", True),
        ("10.0.0.1", "196.201.214.7, 10.9.9.9", True),
        ("10.0.0.1", "196.201.214.7, 8.8.8.8", False),
        ("10.0.0.1", None, False),
        ("10.0.0.1", "rubbish", False),
        (None, None, False),
    ],
)
def test_only_the_networks_are_admitted(
    peer: str | None, forwarded: str | None, *, admitted: bool
) -> None:
    """A forwarded address counts only as far as trusted proxies wrote it."""
    assert ALLOW.admits(peer, forwarded) is admitted


def test_without_networks_everybody_is_admitted() -> None:
    """The allow-list is a setting; an empty one is off."""
    assert AllowList(networks=[]).admits("8.8.8.8", None)


@pytest.mark.parametrize(
    ("peer", "forwarded", "group"),
    [
        ("196.201.214.7", None, "196.201.214.7"),
        ("2001:db8::1:2", None, "2001:db8::/64"),
        ("2001:db8::ffff:1", None, "2001:db8::/64"),
        ("8.8.8.8", None, "strangers"),
        ("9.9.9.9", None, "strangers"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "196.201.214.7", "196.201.214.7"),
        (None, None, "nowhere"),
    ],
)
def test_sources_are_counted_by_who_they_are(
    peer: str | None, forwarded: str | None, group: str
) -> None:
    """A subscriber's whole network is one source, and all who may not call are one together."""
    assert ALLOW.group(peer, forwarded) == group
