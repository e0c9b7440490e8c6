"""The two secrets' forms on the wire: spPassword and SecurityCredential."""

from __future__ import annotations

import base64
import hashlib
from typing import assert_never

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from payouts.domain.errors import SettingsError
from payouts.mpesa.settings import DigestForm

_PEM_MARK = b"-----BEGIN"


def sp_password(sp_id: str, password: str, stamp: str, form: DigestForm) -> str:
    """Return spPassword: base64 of SHA-256 over spId, password and timeStamp (D-B2C15 §4.1).

    Args:
        sp_id: the service provider's id.
        password: its password in clear.
        stamp: the header's timeStamp, `yyyyMMddHHmmss`.
        form: what is encoded: the digest as hexadecimal text, or raw (protocol.md §2.1).
    """
    digest = hashlib.sha256(f"{sp_id}{password}{stamp}".encode())
    return base64.b64encode(_form_of(digest.digest(), form)).decode()


def _form_of(digest: bytes, form: DigestForm) -> bytes:
    match form:
        case DigestForm.UPPER:
            return digest.hex().upper().encode()
        case DigestForm.LOWER:
            return digest.hex().encode()
        case DigestForm.RAW:
            return digest
        case _ as never:
            assert_never(never)


def security_credential(certificate: bytes, password: str) -> str:
    """Return the initiator's password, encrypted for the core, as base64 without line breaks.

    RSA with PKCS#1 v1.5 padding by the certificate's key (D-B2C15 §3.8.1). The padding is
    random, so the text differs each time; it carries no time and may be used again (§2.2).

    Args:
        certificate: X.509, PEM or DER. Its validity is not checked, as the gateway's own
            guide uses expired ones (D-QS).
        password: the initiator's password in clear.

    Raises:
        SettingsError: the certificate is not readable, or its key cannot encrypt this.
    """
    key = _public_key(certificate)
    try:
        encrypted = key.encrypt(password.encode(), padding.PKCS1v15())
    except ValueError:
        raise SettingsError(
            ("the initiator's password is too long for the key of the API certificate",)
        ) from None
    return base64.b64encode(encrypted).decode()


def _public_key(certificate: bytes) -> rsa.RSAPublicKey:
    try:
        if _PEM_MARK in certificate:
            loaded = x509.load_pem_x509_certificate(certificate)
        else:
            loaded = x509.load_der_x509_certificate(certificate)
        key = loaded.public_key()
    except Exception:  # noqa: BLE001 - cryptography tells bad input by many types
        raise SettingsError(
            ("the API certificate cannot be read; give an X.509 certificate in PEM or DER",)
        ) from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise SettingsError(("the API certificate must hold an RSA key",))
    return key
