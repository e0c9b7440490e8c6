"""TLS to the gateway: both sides prove who they are, or nothing is sent."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trustme
from gateway_bed import Caller, accept, always, client, raw_gateway

from payouts.domain.answers import NotSent, NotSentCause, OutcomeUnknown, Response, UnknownCause
from payouts.domain.errors import SettingsError
from payouts.domain.values import AccountName
from payouts.mpesa.settings import TlsOptions
from payouts.mpesa.tls import client_context
from tests.fixtures.mpesa.messages import payout

DEFAULT = AccountName("default")


class World:
    """One authority, a gateway it certified, our client certificate, and a stranger's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.ca_file))
        self.own = folder / "own.pem"
        self.authority.issue_cert("client.test").private_key_and_cert_chain_pem.write_to_path(
            str(self.own)
        )

    def server(
        self,
        *,
        host: str = "localhost",
        authority: trustme.CA | None = None,
        newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    ) -> ssl.SSLContext:
        """Gives a server side that requires a client certificate of our authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        (authority or self.authority).issue_cert(host).configure_cert(context)
        self.authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        context.maximum_version = newest
        return context

    def options(self, certificate: Path | None = None) -> TlsOptions:
        """Gives our side."""
        return TlsOptions(ca_file=self.ca_file, certificate_file=certificate)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Makes the certificates."""
    return World(tmp_path)


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_gateway_that_requires_our_certificate_is_served(
    world: World, newest: ssl.TLSVersion
) -> None:
    """Mutual TLS: our certificate is shown, theirs is verified, the request goes through."""
    async with (
        raw_gateway(accept, world.server(newest=newest)) as gateway,
        client(gateway.url("https"), tls=world.options(world.own)) as soap,
    ):
        assert await soap.probe(DEFAULT)
        assert isinstance(await soap.submit(payout(), may_send=always), Response)
        assert isinstance(await soap.submit(payout(), may_send=always), Response)


async def test_a_gateway_certified_by_another_authority_is_not_sent_to(world: World) -> None:
    """A stranger's certificate ends the handshake: nothing was sent."""
    stranger = trustme.CA()
    async with (
        raw_gateway(accept, world.server(authority=stranger)) as gateway,
        client(gateway.url("https"), tls=world.options(world.own)) as soap,
    ):
        answer = await soap.submit(payout(), may_send=always)
        assert not await soap.probe(DEFAULT)
    assert isinstance(answer, NotSent)
    assert answer.cause is NotSentCause.TLS
    assert gateway.requests == []


async def test_a_gateway_with_another_name_is_not_sent_to(world: World) -> None:
    """A good certificate for another host is no certificate for this one."""
    async with (
        raw_gateway(accept, world.server(host="elsewhere.test")) as gateway,
        client(gateway.url("https"), tls=world.options(world.own)) as soap,
    ):
        answer = await soap.submit(payout(), may_send=always)
    assert isinstance(answer, NotSent)
    assert answer.cause is NotSentCause.TLS
    assert gateway.requests == []


async def test_without_given_authorities_the_systems_decide(world: World) -> None:
    """No TLS options at all still verify: a private authority is not the system's."""
    async with (
        raw_gateway(accept, world.server()) as gateway,
        client(gateway.url("https"), tls=None) as soap,
    ):
        answer = await soap.submit(payout(), may_send=always)
    assert isinstance(answer, NotSent)
    assert answer.cause is NotSentCause.TLS


async def test_a_gateway_without_tls_is_not_sent_to_by_https(world: World) -> None:
    """Plain HTTP where TLS is expected ends the handshake: nothing was sent."""

    async def plain(caller: Caller) -> None:
        await caller.reader.read(1)
        caller.writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await caller.writer.drain()

    async with (
        raw_gateway(plain) as gateway,
        client(gateway.url("https"), tls=world.options(world.own)) as soap,
    ):
        answer = await soap.submit(payout(), may_send=always)
    assert isinstance(answer, NotSent)
    assert answer.cause is NotSentCause.TLS


async def test_our_missing_certificate_is_not_sent_by_tls_1_2(world: World) -> None:
    """TLS 1.2 refuses our certificate within the handshake: nothing was sent."""
    async with (
        raw_gateway(accept, world.server(newest=ssl.TLSVersion.TLSv1_2)) as gateway,
        client(gateway.url("https"), tls=world.options()) as soap,
    ):
        answer = await soap.submit(payout(), may_send=always)
        assert not await soap.probe(DEFAULT)
    assert isinstance(answer, NotSent)
    assert answer.cause is NotSentCause.TLS
    assert gateway.requests == []


async def test_our_missing_certificate_is_never_taken_for_sent_by_tls_1_3(world: World) -> None:
    """TLS 1.3 refuses it when we may have written: by its alert not sent, without it unknown."""
    async with (
        raw_gateway(accept, world.server()) as gateway,
        client(gateway.url("https"), tls=world.options()) as soap,
    ):
        answer = await soap.submit(payout(), may_send=always)
        assert not await soap.probe(DEFAULT)
    assert isinstance(answer, NotSent | OutcomeUnknown)
    if isinstance(answer, NotSent):
        assert answer.cause is NotSentCause.TLS
    else:
        assert answer.cause is UnknownCause.CONNECTION_LOST
    assert gateway.requests == []


@contextmanager
def patient_refuser(context: ssl.SSLContext) -> Iterator[int]:
    """Refuses one handshake with an alert, as servers do, and leaves the connection to us."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            accepted, _ = listener.accept()
            with context.wrap_socket(
                accepted, server_side=True, do_handshake_on_connect=False
            ) as peer:
                peer.settimeout(10)
                with suppress(ssl.SSLError):
                    peer.do_handshake()
                with suppress(OSError, ValueError):
                    while socket.socket.recv(peer, 4096):
                        pass

        server = threading.Thread(target=serve)
        server.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.join(10)


async def test_a_refused_client_certificate_is_not_sent_where_its_alert_is_read(
    world: World,
) -> None:
    """TLS 1.3: the alert proves that the server read nothing past the handshake."""
    with patient_refuser(world.server()) as port:
        async with client(f"https://localhost:{port}/", tls=world.options()) as soap:
            answer = await soap.submit(payout(), may_send=always)
    assert isinstance(answer, NotSent)
    assert answer.cause is NotSentCause.TLS


def test_unusable_files_are_told_as_settings(tmp_path: Path, world: World) -> None:
    """A missing CA, a broken certificate or a key without password: told before connecting."""
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    for options in (
        TlsOptions(ca_file=tmp_path / "missing.pem"),
        TlsOptions(ca_file=broken),
        TlsOptions(ca_file=world.ca_file, certificate_file=broken),
        TlsOptions(ca_file=world.ca_file, certificate_file=world.ca_file),
    ):
        with pytest.raises(SettingsError, match="TLS"):
            client_context(options)
