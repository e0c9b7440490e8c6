"""TLS of both directions, from the settings; certificate checks are never off."""

import ssl

from ops.simulator.settings import SimulatorSettings


def server_context(settings: SimulatorSettings) -> ssl.SSLContext | None:
    """Guarantees what requests must come with; none serves plain HTTP."""
    if not settings.tls_certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    if settings.tls_client_ca:
        context.load_verify_locations(settings.tls_client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(settings: SimulatorSettings) -> ssl.SSLContext | None:
    """Guarantees what Results are sent with; none is the system's trust, without certificate."""
    if not settings.result_ca and not settings.result_certificate:
        return None
    context = ssl.create_default_context(cafile=settings.result_ca or None)
    if settings.result_certificate:
        context.load_cert_chain(settings.result_certificate, settings.result_key)
    return context
