import io
import json
import logging
from collections.abc import Iterator

import pytest

from payouts.domain.signals import Signal
from payouts.telemetry import capture_stdlib, open_log, open_telemetry
from payouts.telemetry.logs import SignalLog
from payouts.telemetry.masking import HIDDEN, mask, mask_text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("to 254712345678 now", "to 2547****5678 now"),
        ("+254112345678", "+254*****5678"),
        ("0712345678", "0712**5678"),
        ("pay-254712345678-nov", "pay-2547****5678-nov"),
        ("call +14155550123", "call +141****0123"),
        ("AG_20260101_00002547123456781234", "AG_20260101_00002547123456781234"),
        ("code 100000007", "code 100000007"),
        ("stamp 20140730093620", "stamp 20140730093620"),
        ("amqp://user:pw@host/", "amqp://[hidden]@host/"),
        ("spPassword=abc, x", "spPassword=[hidden], x"),
        ("<spPassword>abc</spPassword>", "<spPassword>[hidden]</spPassword>"),
        ("initiator_password: abc", "initiator_password: [hidden]"),
    ],
)
def test_texts_are_masked(text: str, masked: str) -> None:
    """Numbers of people and told secrets are hidden; ids, codes and stamps stay readable."""
    assert mask_text(text) == masked


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "sp_password",
        "initiatorPassword",
        "SecurityCredential",
        "api_token",
        "Authorization",
        "msisdn",
        "receiver",
        "ReceiverPartyPublicName",
        "public_name",
        "phone",
        "evidence",
        "metadata",
        "remark",
        "body",
    ],
)
def test_fields_that_name_a_secret_or_a_person_are_hidden(key: str) -> None:
    """Whatever such a field holds, its value does not leave."""
    assert mask("anything", key=key) == HIDDEN
    assert mask({"inner": {key: ["anything"]}}) == {"inner": {key: HIDDEN}}


def test_values_of_any_type_are_masked_and_bounded() -> None:
    """Numbers, bytes, exceptions, deep and long values come out plain."""
    assert mask(254712345678) == "2547****5678"
    assert mask(100000007) == 100000007
    assert mask(b"254712345678") == "b'2547****5678'"
    assert mask(ValueError("0712345678")) == "ValueError('0712**5678')"
    assert mask([1, True, None, ("254712345678",)]) == [1, True, None, ["2547****5678"]]
    deep: object = "254712345678"
    for _ in range(50):
        deep = [deep]
    assert "254712345678" not in str(mask(deep))
    assert len(str(mask("x" * 100_000))) < 9_000


@pytest.fixture
def stdlib() -> Iterator[None]:
    """Put the standard library's logging back."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    for name in ("aiormq", "aio_pika"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_what_libraries_log_goes_the_same_way(stdlib: None) -> None:
    """Their warnings become masked lines, tracebacks too; the AMQP library is silent."""
    stream = io.StringIO()
    capture_stdlib(open_log(stream, form="json", level="info"), level="info")
    logging.getLogger("some.library").info("too quiet")
    logging.getLogger("aiormq.connection").error("error when creating transport")
    try:
        int("254712345678x")
    except ValueError:
        logging.getLogger("some.library").exception("failed for %s", "0712345678")
    (line,) = [json.loads(text) for text in stream.getvalue().splitlines()]
    assert (line["logger"], line["level"]) == ("some.library", "error")
    assert line["event"] == "failed for 0712**5678"
    assert "literal for int() with base 10: '2547****5678x'" in line["exception"]
    assert "254712345678" not in stream.getvalue()


def test_odd_records_are_written_too(stdlib: None) -> None:
    """A library's own level, or a message whose arguments do not fit, loses no line."""
    stream = io.StringIO()
    capture_stdlib(open_log(stream, form="console", level="debug"), level="debug")
    logging.getLogger("x").log(35, "between two levels")
    logging.getLogger("x").critical("%d items", "many")
    assert "between two levels" in stream.getvalue()
    assert "%d items" in stream.getvalue()


def test_the_console_shows_plain_tracebacks() -> None:
    """No local variables beside the frames, as they hold what must not be shown."""
    stream = io.StringIO()
    log = open_log(stream, form="console", level="info")
    number = "254712345678"
    try:
        [][len(number)]
    except IndexError as error:
        log.error("failed", exc_info=error)  # noqa: TRY400 - asked for by hand
    assert "IndexError: list index out of range" in stream.getvalue()
    assert number[6:] not in stream.getvalue()


class Options:
    """Settings as telemetry sees them."""

    log_format = "json"
    log_level = "info"


def test_a_process_opens_its_telemetry_in_one_step(
    stdlib: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Signals reach the log on stderr and the metrics; stdout stays for data."""
    telemetry, metrics = open_telemetry(Options(), "worker")
    telemetry.emit(Signal.LEASE_LOST, owner=3)
    out, err = capsys.readouterr()
    assert out == ""
    line = json.loads(err)
    assert (line["event"], line["process"], line["owner"]) == ("lease.lost", "worker", 3)
    assert metrics.collectors.get_sample_value("payouts_leases_lost_total") == 1


def test_what_strangers_can_cause_fills_no_log() -> None:
    """Ten lines a second are written of each such signal; the next one tells what was left out.

    Proved by writing all of them.
    """
    stream, now = io.StringIO(), [100.0]
    log = SignalLog(open_log(stream, form="json", level="info"), level="info", clock=lambda: now[0])
    for _ in range(50):
        log.receive(Signal.CALLBACK_DROPPED, {"reason": "late"})
        log.receive(Signal.STORE_AWAY, {"doing": "work"})
    now[0] = 101.5
    log.receive(Signal.CALLBACK_DROPPED, {"reason": "late"})
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    dropped = [line for line in lines if line["event"] == "callback.dropped"]
    assert len(lines) - len(dropped) == 50
    assert [line.get("left_out") for line in dropped] == [None] * 10 + [40]
