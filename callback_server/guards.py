"""Who may call: the source's address against the allow-list, behind trusted proxies or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

NOWHERE: Final = "nowhere"
STRANGERS: Final = "strangers"
_LONGEST: Final = 128  # Of an address with the name of its zone.
Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowList:
    """Lets the given networks in; an empty list lets everybody in.

    `X-Forwarded-For` is believed only as far as trusted proxies wrote it: the source is the
    last address in it that is not itself a trusted proxy.
    """

    networks: Sequence[Network]
    trusted_proxies: Sequence[Network] = ()

    def admits(self, peer: str | None, forwarded_for: str | None) -> bool:
        """Tell whether a request from this connection may be looked at."""
        if not self.networks:
            return True
        source = self.source(peer, forwarded_for)
        return source is not None and _within(source, self.networks)

    def group(self, peer: str | None, forwarded_for: str | None = None) -> str:
        """Return as which source a request or a connection counts where room and turns are short.

        A network of IPv6 that one subscriber gets (/64) is one source, and so are all who may
        not call.
        """
        source = self.source(peer, forwarded_for)
        if source is None:
            return NOWHERE
        if self.networks and not _within(source, [*self.networks, *self.trusted_proxies]):
            return STRANGERS
        if isinstance(source, IPv6Address):
            return str(IPv6Network((int(source) >> 64 << 64, 64)))
        return str(source)

    def source(self, peer: str | None, forwarded_for: str | None) -> Address | None:
        """Return where a request comes from, or None if nobody can tell."""
        address = _address(peer)
        hops = [hop.strip() for hop in (forwarded_for or "").split(",") if hop.strip()]
        while address is not None and hops and _within(address, self.trusted_proxies):
            address = _address(hops.pop())
        return address


def _address(text: str | None) -> Address | None:
    # A gateway calls from a few addresses, thousands of times; what is longer is none.
    return _parsed(text) if text and len(text) <= _LONGEST else None


@lru_cache(maxsize=1024)
def _parsed(text: str) -> Address | None:
    try:
        address = ip_address(text.split("%", 1)[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
