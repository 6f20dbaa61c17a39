"""The sink as an SMSC: binds, messages, answers out of order, receipts, and its limits. PDUs are packed and read here, by struct."""
import socket
import struct
import time

import pytest
from sink_client import Sink
from test_a13_ledger import run

BIND_RX, BIND_TX, SUBMIT, DELIVER, UNBIND, BIND_TRX, ENQUIRE, DATA, RESP = 1, 2, 4, 5, 6, 9, 0x15, 0x103, 0x80000000


@pytest.fixture(scope="module")
def smsc():
    with Sink("--smpp", "127.0.0.1:0", clear=False, tls=False) as s:
        yield s


@pytest.fixture
def sink(smsc):
    smsc.reset()
    yield smsc
    smsc.reset()


def z(text):
    return (text.encode() if isinstance(text, str) else text) + b"\0"


def submit(to, text=b"hello", registered=0, esm=0, coding=0, source="Acme", tlv=b""):
    return (z("") + b"\5\0" + z(source) + b"\1\1" + z(to) + bytes([esm, 0, 0]) + z("") + z("") + bytes([registered, 0, coding, 0, len(text)]) + text + tlv)


class Esme:
    def __init__(self, sink, bind=BIND_TRX, user="ann", password="pw"):
        self.s = socket.create_connection(("127.0.0.1", sink.ports["smpp"]), timeout=20)
        self.n = 0
        self.bound = None
        if bind:
            self.bound = self.ask(bind, z(user) + z(password) + z("") + b"\x34\0\0" + z(""))

    def send(self, command, body=b"", status=0, sequence=None):
        if sequence is None:
            sequence = self.n = self.n + 1
        self.s.sendall(struct.pack(">IIII", 16 + len(body), command, status, sequence) + body)
        return sequence

    def bytes(self, n):
        got = b""
        while len(got) < n:
            part = self.s.recv(n - len(got))
            if not part:
                raise EOFError
            got += part
        return got

    def read(self):
        """command, status, sequence, body"""
        n, *head = struct.unpack(">IIII", self.bytes(16))
        return *head, self.bytes(n - 16)

    def ask(self, command, body=b""):
        sequence = self.send(command, body)
        got, status, answered, body = self.read()
        assert got in (command | RESP, RESP) and answered == sequence
        return status, body

    def ended(self):
        try:
            return self.s.recv(1) == b""
        except ConnectionResetError:
            return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()


def test_a_message_as_it_was_sent(sink):
    with Esme(sink) as e:
        assert e.bound == (0, z("hermod-sink") + b"\x02\x10\0\1\x34")
        status, body = e.ask(SUBMIT, submit("447700900000", "Grüße".encode("utf-16-be"), coding=8))
        assert status == 0 and len(body) == 9 and int(body[:-1], 16) >= 0
        assert e.ask(ENQUIRE) == (0, b"")
        assert e.ask(UNBIND) == (0, b"") and e.ended()
    (r,) = sink.requests()
    assert (r.method, r.path, r.profile, r.protocol, r.accepted) == ("SUBMIT", "/sms/447700900000", "smpp", "smpp", True)
    assert r.headers == {"system-id": "ann", "source": "Acme", "destination": "447700900000", "esm-class": "0", "data-coding": "8",
                         "registered-delivery": "0"}
    assert r.body.decode("utf-16-be") == "Grüße"
    assert sink.dump() == {("smpp", "447700900000"): 1}


def test_data_sm(sink):
    with Esme(sink) as e:
        status, body = e.ask(DATA, z("") + b"\5\0" + z("Acme") + b"\1\1" + z("4477") + b"\0\0\0" + struct.pack(">HH", 0x424, 5) + b"hello")
        assert status == 0 and body.endswith(b"\0")
    assert sink.requests()[0].body == b"hello"


@pytest.mark.parametrize("to, status", [("99900088", 0x58), ("999000201", 0x14), ("99900011", 0x0B), ("99900255", 0xFF)])
def test_special_destinations(sink, to, status):
    with Esme(sink) as e:
        assert e.ask(SUBMIT, submit(to)) == (status, b"")
        assert e.ask(SUBMIT, submit("4477"))[0] == 0
    assert sink.dump() == {("smpp", "4477"): 1}


def test_scripts_and_knobs(sink):
    sink.script({"profile": "smpp", "token": "4477"}, [
        {"status": 429, "headers": {"command-status": "0x14"}},
        {"status": 400, "headers": {"command-status": "1041"}, "body": "no credit"},
        {"status": 429}, {"status": 404}, {"status": 503}, {"status": 400},
        {"status": 200, "body": "0008011521"},
    ])
    with Esme(sink) as e:
        assert e.ask(SUBMIT, submit("1234"))[0] == 0, "the script is for 4477"
        assert e.ask(SUBMIT, submit("4477")) == (0x14, b"")
        assert e.ask(SUBMIT, submit("4477")) == (0x411, b"\0" + struct.pack(">HH", 0x1D, 9) + b"no credit")
        assert [e.ask(SUBMIT, submit("4477"))[0] for _ in range(4)] == [0x58, 0x0B, 8, 0x45]
        assert e.ask(SUBMIT, submit("4477")) == (0, b"0008011521\0")
        sink.knobs({"smpp": {"rate_limit": {"per_second": 0.001, "burst": 1}}})
        assert [e.ask(SUBMIT, submit("1"))[0] for _ in range(3)] == [0, 0x58, 0x58]


def test_late_answers_hold_up_none(sink):
    sink.script({"profile": "smpp", "token": "late"}, [{"status": 200, "delay_ms": 300, "body": "id"}])
    with Esme(sink) as e:
        started = time.monotonic()
        late, soon = e.send(SUBMIT, submit("late")), e.send(SUBMIT, submit("soon"))
        assert [e.read()[2] for _ in range(2)] == [soon, late]
        assert time.monotonic() - started > 0.28


@pytest.mark.parametrize("fault", ["close", "reset", "truncate", "garbage"])
def test_lost_answers(sink, fault):
    sink.script({"profile": "smpp"}, [{"fault": fault, "natural": True}])
    with Esme(sink) as e:
        e.send(SUBMIT, submit("4477"))
        with pytest.raises((EOFError, ConnectionResetError, struct.error)):
            for _ in range(100):
                command, *_ = e.read()
                assert command == SUBMIT | RESP, "no PDU we know"
                assert fault not in ("close", "reset", "truncate")
        if fault == "truncate":
            assert sink.accepted("smpp", "4477") == 1


def test_stall_and_huge(sink):
    sink.knobs(connection={"huge_bytes": 3_000_000_000})
    sink.script({"profile": "smpp"}, [{"fault": "stall"}, {"fault": "huge", "status": 200, "body": "x"}])
    with Esme(sink) as e:
        e.send(SUBMIT, submit("1"))
        sequence = e.send(SUBMIT, submit("2"))
        assert struct.unpack(">IIII", e.bytes(16)) == (3_000_000_000, SUBMIT | RESP, 0, sequence), "the first is never answered"


def test_receipts(sink):
    with Esme(sink) as e:
        for to, stat, state in (("4477", b"DELIVRD", 2), ("999014477", b"UNDELIV", 5)):
            status, body = e.ask(SUBMIT, submit(to, registered=1))
            mid = body[:-1]
            command, _, sequence, body = e.read()
            assert status == 0 and command == DELIVER
            e.send(DELIVER | RESP, b"\0", sequence=sequence)
            assert body.startswith(b"\0\1\1" + z(to) + b"\0\0" + z("Acme") + b"\4\0\0\0\0\0\0\0\0")
            assert b"id:" + mid + b" sub:001 " in body and b" stat:" + stat + b" err:" in body
            assert struct.pack(">HH", 0x1E, len(mid) + 1) + mid + b"\0" in body and struct.pack(">HHB", 0x427, 1, state) in body
            n = body.index(b"id:")
            assert body[n - 1] == body.index(struct.pack(">HH", 0x1E, len(mid) + 1)) - n, "sm_length"
        assert e.ask(SUBMIT, submit("99900088", registered=1))[0] == 0x58
        assert e.ask(ENQUIRE) == (0, b""), "no receipt for what was refused"
    with Esme(sink, BIND_TX) as e:
        e.ask(SUBMIT, submit("4477", registered=1))
        assert e.ask(ENQUIRE) == (0, b""), "a transmitter gets none"


def test_parts_of_a_message_count_once(sink):
    sar = lambda n: struct.pack(">HHH", 0x20C, 2, 7) + struct.pack(">HHB", 0x20E, 1, 2) + struct.pack(">HHB", 0x20F, 1, n)
    with Esme(sink) as e:
        for i in (1, 2):
            assert e.ask(SUBMIT, submit("8bit", b"\5\0\3\7\2" + bytes([i]) + b"text", esm=0x40))[0] == 0
            assert e.ask(SUBMIT, submit("16bit", b"\6\x08\4\0\7\2" + bytes([i]) + b"text", esm=0x40))[0] == 0
            assert e.ask(SUBMIT, submit("sar", tlv=sar(i)))[0] == 0
    assert sink.dump() == {("smpp", "8bit"): 1, ("smpp", "16bit"): 1, ("smpp", "sar"): 1}
    assert sink.ledger("smpp")["requests"] == 6
    assert [r.headers["sar"] for r in sink.requests() if "sar" in r.headers] == ["7/2/1", "7/2/2"]


def test_who_may_bind_and_send():
    with Sink("--smpp", "127.0.0.1:0", "--smpp-user", "ann:s:x", clear=False, tls=False) as s:
        for user, password, status in (("ann", "s:x", 0), ("ann", "no", 0x0E), ("eve", "s:x", 0x0F)):
            with Esme(s, user=user, password=password) as e:
                assert e.bound[0] == status
                assert e.ask(SUBMIT, submit("1"))[0] == (0 if status == 0 else 4), "only who is bound"
                if status == 0:
                    assert e.ask(BIND_TRX, z("ann") + z("s:x") + z("") + b"\x34\0\0" + z(""))[0] == 5
        with Esme(s, BIND_RX, "ann", "s:x") as e:
            assert e.ask(SUBMIT, submit("1"))[0] == 4, "a receiver sends nothing"
        assert s.ledger("smpp")["requests"] == 1


def test_unbind_after_some(sink):
    sink.knobs(connection={"goaway_after": 2})
    with Esme(sink) as e:
        assert [e.ask(SUBMIT, submit("1"))[0] for _ in range(2)] == [0, 0]
        assert e.read()[0] == UNBIND


def test_limits_and_nonsense(sink):
    with Esme(sink) as e:
        assert e.ask(0x42)[0] == 3, "no such command"
        e.send(0x42 | RESP)
        assert e.ask(ENQUIRE) == (0, b""), "an answer nobody asked for is dropped"
        assert e.ask(SUBMIT, submit("1")[:12])[0] == 2
        assert e.ask(SUBMIT, b"")[0] == 2
    for length in (0, 15, 72 * 1024 + 1, 0xFFFFFFFF):
        with Esme(sink) as e:
            e.s.sendall(struct.pack(">IIII", length, SUBMIT, 0, 9))
            assert e.read()[:3] == (RESP, 2, 9) and e.ended()
    with Esme(sink) as e:  # byte by byte
        for b in struct.pack(">IIII", 16, ENQUIRE, 0, 77):
            e.s.sendall(bytes([b]))
        assert e.read()[:3] == (ENQUIRE | RESP, 0, 77)
    assert sink.ledger("smpp")["requests"] == 0


def test_too_many_without_an_answer(sink):
    sink.knobs({"smpp": {"fault": "stall"}})
    with Esme(sink) as e:
        one = submit("1")
        pdu = struct.pack(">IIII", 16 + len(one), SUBMIT, 0, 1) + one
        e.s.sendall(pdu * 10_000)
        assert e.ask(SUBMIT, one)[0] == 0x14
    assert sink.ledger("smpp")["requests"] == 10_000


def test_a_client_that_does_not_read(sink):
    """Answers pile up to a limit; then its own requests wait, and when they are too many it is dropped."""
    with Esme(sink) as e:
        pdu = struct.pack(">IIII", 16, ENQUIRE, 0, 1)
        e.s.settimeout(20)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            for _ in range(4000):
                e.s.sendall(pdu * 4096)
    assert sink.get("/control/ready")["pid"] == sink.pid


def test_bad_user_option():
    rc, out, err = run("--smpp", "127.0.0.1:0", "--smpp-user", "ann")
    assert rc == 2 and "ID:PASSWORD" in err and out == ""
