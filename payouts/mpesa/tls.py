"""TLS to the gateway: our client certificate, the given authorities, verification always on."""

from __future__ import annotations

import ssl
from typing import Final

from payouts.domain.errors import SettingsError
from payouts.mpesa.settings import TlsOptions

# With these a server says, in or right after the handshake, that it does not take our side of
# it. As renegotiation is off, it has then read nothing of what follows the handshake.
_HANDSHAKE_ALERTS: Final = frozenset(
    {
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "TLSV1_ALERT_UNKNOWN_CA",
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
    }
)


def client_context(options: TlsOptions | None) -> ssl.SSLContext:
    """Return a context that verifies the gateway's certificate and name, by TLS 1.2 or newer.

    Raises:
        SettingsError: a file cannot be read or does not fit; it tells which setting.
    """
    options = options or TlsOptions()
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
    except (OSError, ValueError):
        raise SettingsError(
            ("the CA file for TLS cannot be read; give PEM certificates",)
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    if options.certificate_file is not None:
        # A callable keeps OpenSSL from asking at a terminal where none is given.
        secret = options.key_password or ""
        try:
            context.load_cert_chain(options.certificate_file, options.key_file, lambda: secret)
        except (OSError, ValueError):
            raise SettingsError(
                ("the client certificate or its key for TLS cannot be read, or do not match",)
            ) from None
    return context


def is_refused_handshake(error: BaseException) -> bool:
    """Tell whether TLS failed before the peer can have read any of the request.

    A TLS 1.3 server looks at our certificate only after we may have written; its alert then
    comes as the answer, and still proves that it has read nothing.
    """
    cause: BaseException | None = error
    for _ in range(8):
        if isinstance(cause, ssl.SSLError) and cause.reason in _HANDSHAKE_ALERTS:
            return True
        cause = None if cause is None else cause.__cause__ or cause.__context__
    return False
