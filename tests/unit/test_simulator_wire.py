import asyncio
import base64
import hashlib
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from ops.simulator.checks import cents
from ops.simulator.codes import response_text, result_text
from ops.simulator.keys import CredentialKey
from ops.simulator.timetable import Timetable
from ops.simulator.wire import MalformedError, Reader, digest_matches


def test_the_digest_of_the_documents_inputs_is_accepted() -> None:
    """The test vector of protocol §2.1 in its three forms; MD5 is none of them."""
    header = {"spId": "601399", "timeStamp": "20130702212854"}
    raw = hashlib.sha256(b"601399spPassword20130702212854").digest()
    assert raw.hex().startswith("c75bd2b1f6a2d70c")
    for name, plain in (
        ("upper", raw.hex().upper().encode()),
        ("lower", raw.hex().encode()),
        ("raw", raw),
    ):
        given = header | {"spPassword": base64.b64encode(plain).decode()}
        assert digest_matches(given, "spPassword", "any")
        for form in ("upper", "lower", "raw"):
            assert digest_matches(given, "spPassword", form) is (form == name)
        assert not digest_matches(given, "other", "any")
    assert not digest_matches(
        header | {"spPassword": "e29facdc0ded527a68e9a90adfa97ede"}, "spPassword", "any"
    )


def test_an_entity_is_never_resolved() -> None:
    """A DOCTYPE with a bomb or a file inside is refused as such."""
    for definition in ('"x"', 'SYSTEM "file:///etc/hostname"'):
        with pytest.raises(MalformedError, match="DOCTYPE"):
            Reader().request(f"<!DOCTYPE r [<!ENTITY e {definition}>]><request>&e;</request>")


def test_comments_and_instructions_between_elements_do_no_harm() -> None:
    """They are dropped before anything is looked at."""
    inner = Reader().request(
        "<request><!-- c --><?p i?><Transaction><!-- c --><CommandID> X </CommandID>"
        "<Parameters><!-- c --><Parameter><Key>Amount</Key><!-- c --><Value> 5 </Value>"
        "</Parameter></Parameters></Transaction></request>"
    )
    assert inner.get("CommandID") == "X"
    assert inner.parameters == {"Amount": "5"}
    assert inner.get("Missing") == inner.reference("Missing") == ""


@pytest.mark.parametrize(
    ("text", "amount"), [("10", 1000), ("10.5", 1050), ("10.05", 1005), ("x", 0), ("1e2", 0)]
)
def test_amounts_are_exact_cents(text: str, amount: int) -> None:
    """No float is involved, and what is no amount is nothing."""
    assert cents(text) == amount


def test_every_code_has_words() -> None:
    """Known ones theirs, with the name of what is wrong; made-up ones say that they are."""
    assert response_text("24", "Amount") == "The mandatory parameter Amount is missing."
    assert "99" in response_text("99")
    assert "999999" in result_text("999999")


def test_a_key_in_files_is_the_same_key_again(tmp_path: Path) -> None:
    """The certificate stays, the private key is readable by its owner only."""
    path = tmp_path / "deep" / "certificate.pem"
    first = CredentialKey(str(path))
    second = CredentialKey(str(path))
    assert first.certificate_pem == second.certificate_pem == path.read_bytes()
    key = Path(str(path) + ".key")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    public = x509.load_pem_x509_certificate(first.certificate_pem).public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    sealed = base64.b64encode(public.encrypt(b"secret", padding.PKCS1v15())).decode()
    assert len(sealed) == 344
    for _ in range(2):
        assert second.matches(sealed, "secret")
        assert not second.matches(sealed, "Secret")
    assert not second.matches("", "secret")


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    """Credentials are RSA: an elliptic key beside the certificate cannot decrypt them."""
    path = tmp_path / "certificate.pem"
    CredentialKey(str(path))
    Path(str(path) + ".key").write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    with pytest.raises(ValueError, match="RSA"):
        CredentialKey(str(path))


async def test_due_actions_run_in_order_and_survive_one_that_raises() -> None:
    """Entered late-first, run early-first; the one that fails is told to the loop, no other."""
    loop = asyncio.get_running_loop()
    table = Timetable(loop)
    ran: list[int] = []
    told: list[object] = []
    done = asyncio.Event()
    loop.set_exception_handler(lambda _, context: told.append(context.get("exception")))

    def act(number: int) -> None:
        ran.append(number)
        if number == 2:
            raise RuntimeError("two")
        if number == 4:
            done.set()

    for number in (4, 3, 2, 1):
        table.after(number / 1000, act, number)
    assert len(table) == 4
    async with asyncio.timeout(5):
        await done.wait()
    assert ran == [1, 2, 3, 4]
    assert len(told) == 1
    assert isinstance(told[0], RuntimeError)


async def test_a_cleared_timetable_runs_nothing() -> None:
    """Also what is due at once."""
    loop = asyncio.get_running_loop()
    table = Timetable(loop)
    ran: list[int] = []
    table.clear()
    table.after(0.0, ran.append, 1)
    table.clear()
    after = asyncio.Event()
    loop.call_later(0.01, after.set)
    await after.wait()
    assert ran == []
    assert len(table) == 0
