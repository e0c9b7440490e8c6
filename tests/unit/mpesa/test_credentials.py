"""The two secrets' forms on the wire."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding

from payouts.domain.errors import SettingsError
from payouts.mpesa.credentials import security_credential, sp_password
from payouts.mpesa.settings import DigestForm, TlsOptions
from tests.fixtures.mpesa.messages import account, certificate_for, key_pair, pem


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (
            DigestForm.UPPER,
            "Qzc1QkQyQjFGNkEyRDcwQ0RFRkNFMEMxQUZGRkFDRjA5MzE4MTMxQzlCRjI2Nzc5NUJBNzRDNEQ4NEJBRjRBMA==",
        ),
        (
            DigestForm.LOWER,
            "Yzc1YmQyYjFmNmEyZDcwY2RlZmNlMGMxYWZmZmFjZjA5MzE4MTMxYzliZjI2Nzc5NWJhNzRjNGQ4NGJhZjRhMA==",
        ),
        (DigestForm.RAW, "x1vSsfai1wze/ODBr/+s8JMYExyb8md5W6dMTYS69KA="),
    ],
)
def test_sp_password_is_the_vector_of_the_protocol(form: DigestForm, expected: str) -> None:
    """The document's own inputs give the digests of protocol.md §2.1."""
    assert sp_password("601399", "spPassword", "20130702212854", form) == expected


@pytest.mark.parametrize("encoding", [serialization.Encoding.PEM, serialization.Encoding.DER])
def test_the_credential_decrypts_to_the_password(encoding: serialization.Encoding) -> None:
    """PKCS#1 v1.5 by the certificate's key, PEM or DER: 344 characters without line breaks."""
    key, certificate = key_pair()
    credential = security_credential(certificate.public_bytes(encoding), "Pa#s&w0rd%é")
    assert len(credential) == 344
    opened = key.decrypt(base64.b64decode(credential, validate=True), padding.PKCS1v15())
    assert opened.decode() == "Pa#s&w0rd%é"


def test_a_certificate_between_other_text_is_found() -> None:
    """PEM files often carry words around the certificate."""
    assert security_credential(b"Bag Attributes\n" + pem() + b"\n", "secret")


@pytest.mark.parametrize(
    "certificate",
    [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"],
)
def test_an_unreadable_certificate_is_told_as_a_setting(certificate: bytes) -> None:
    """The error says what to give, and nothing of the password."""
    with pytest.raises(SettingsError, match=r"X\.509 certificate in PEM or DER") as caught:
        security_credential(certificate, "top-secret")
    assert "top-secret" not in str(caught.value)


def test_a_certificate_without_rsa_key_is_told_as_a_setting() -> None:
    """The core decrypts RSA only."""
    other = certificate_for(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(SettingsError, match="RSA"):
        security_credential(other.public_bytes(serialization.Encoding.PEM), "secret")


def test_a_password_too_long_for_the_key_is_told_as_a_setting() -> None:
    """What cannot be encrypted is told before anything is sent, without repeating it."""
    with pytest.raises(SettingsError, match="too long") as caught:
        security_credential(pem(), "x" * 300)
    assert "xxx" not in str(caught.value)


def test_settings_show_no_secret() -> None:
    """An account's and the TLS options' repr hide passwords, users, keys and addresses."""
    text = repr(account()) + repr(TlsOptions(key_password="key-secret"))
    for secret in ("sp-secret", "initiator-secret", "key-secret", "apiop", "BEGIN", "107000"):
        assert secret not in text
    assert "default" in text
