"""The simulator's key pair: the certificate that clients encrypt with, and the decryption."""

import base64
import binascii
import datetime as dt
import hmac
from collections import OrderedDict
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

_REMEMBERED = 4096
_KEY_BITS = 2048


class CredentialKey:
    """Guarantees one key pair for the life of its files, or of the process when in memory."""

    def __init__(self, path: str = "") -> None:
        """Reads the pair at `path` (and `path` + `.key`), or makes and writes one."""
        self._known: OrderedDict[str, bytes] = OrderedDict()
        certificate, key = (Path(path), Path(path + ".key")) if path else (None, None)
        if certificate and key and certificate.exists() and key.exists():
            loaded = serialization.load_pem_private_key(key.read_bytes(), password=None)
            if not isinstance(loaded, rsa.RSAPrivateKey):
                raise ValueError("the certificate's key is not an RSA key")
            self._key = loaded
            self.certificate_pem = certificate.read_bytes()
            return
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
        self.certificate_pem = _certificate(self._key)
        if certificate and key:
            certificate.parent.mkdir(parents=True, exist_ok=True)
            key.touch(mode=0o600)
            key.write_bytes(_private_pem(self._key))
            certificate.write_bytes(self.certificate_pem)

    def matches(self, credential: str, password: str) -> bool:
        """Guarantees true only for base64 of `password` under RSA PKCS#1 v1.5 (D-B2C15 §3.8.1).

        A ciphertext seen before costs no second decryption.
        """
        secret = self._known.get(credential)
        if secret is None:
            secret = self._decrypted(credential)
            self._known[credential] = secret
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return hmac.compare_digest(secret, password.encode())

    def _decrypted(self, credential: str) -> bytes:
        try:
            sealed = base64.b64decode(credential, validate=True)
            return self._key.decrypt(sealed, padding.PKCS1v15())
        except (binascii.Error, ValueError):
            return b""


def _private_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _certificate(key: rsa.RSAPrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Payouts simulator credentials")])
    start = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM)
