"""Text messages over SMPP 3.4, against an SMSC others wrote (npm package smpp, tests/peers/smsc.js): its decoder says what arrived."""
import datetime
import ipaddress
import json
import os
import re
import subprocess

import pytest
from conftest import ROOT, SLOW, wait_for
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sink_client import end_with_parent

PEERS = ROOT / "build" / "peers"
if not (PEERS / "node_modules" / "smpp").is_dir():
    pytest.skip("build/peers is not there: ./dev test installs it", allow_module_level=True)

TO = "+447700900000"
EMOJI = "\N{GRINNING FACE}"


class Smsc:
    def __init__(self, *files):
        self.p = subprocess.Popen(["node", str(ROOT / "tests/peers/smsc.js"), *map(str, files)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  env=dict(os.environ, PEERS=str(PEERS)), preexec_fn=end_with_parent)
        self.port = self._answer()["port"]

    def _answer(self):
        line = self.p.stdout.readline()
        assert line, "the SMSC has ended"
        a = json.loads(line)
        assert a["ok"], a
        return a

    def ask(self, op, **more):
        self.p.stdin.write((json.dumps({"op": op, **more}) + "\n").encode())
        self.p.stdin.flush()
        return self._answer()

    def rules(self, **rules):
        self.ask("set", rules=rules)

    @property
    def seen(self):
        return self.ask("seen")

    def submits(self):
        return self.seen["submits"]

    def stop(self):
        self.p.stdin.close()
        assert self.p.wait(30) == 0


@pytest.fixture
def smsc():
    s = Smsc()
    yield s
    s.stop()


@pytest.fixture
def start(engine, smsc):
    """start(**settings of the channel) -> engine with one shard, so that there is one session."""
    def make(server=None, engine_settings=None, **settings):
        c = {"adapter": "sms/smpp", "host": "127.0.0.1", "port": (server or smsc).port, "system_id": "hermod", "password": "secret08",
             "from": "Acme", "max_attempts": 1}
        return engine(channels={"sms": c | settings}, settings={"node": {"shards": 1}, **(engine_settings or {})})
    return make


def text(e, body, to=TO, **content):
    return e.send(channel="sms", to=to, content={"body": body, **content})


def sent(e, body, **more):
    return e.wait_state(text(e, body, **more), "sent")




def test_what_arrives(start, smsc):
    e = start()
    m = sent(e, "Hello {Jan} @ 5\N{EURO SIGN} [\N{POUND SIGN}]", options={"ttl": 3600})
    assert m["attempts"][0]["provider_id"] == "M000001"
    sent(e, "你好 " + EMOJI)
    hello, chinese = smsc.submits()
    assert hello["text"] == "Hello {Jan} @ 5\N{EURO SIGN} [\N{POUND SIGN}]" and hello["coding"] == 0
    assert (hello["from"], hello["from_ton"], hello["from_npi"]) == ("Acme", 5, 0)
    assert (hello["to"], hello["to_ton"], hello["to_npi"]) == ("447700900000", 1, 1)
    assert hello["registered"] == 1 and hello["udh"] is None and hello["esm_class"] == 0
    assert chinese["text"] == "你好 " + EMOJI and chinese["coding"] == 8
    seen = smsc.seen
    assert [(b["command"], b["system_id"], b["version"]) for b in seen["binds"]] == [("bind_transceiver", "hermod", 0x34)]
    assert seen["bad"] == []


def joined(parts):
    """The text as a handset puts it together: one reference, all numbers once."""
    heads = [bytes.fromhex(p["udh"]) for p in parts]
    assert len({h[-3] for h in heads}) == 1 and {h[-2] for h in heads} == {len(parts)}
    assert sorted(h[-1] for h in heads) == list(range(1, len(parts) + 1))
    return "".join(p["text"] for _, p in sorted(zip((h[-1] for h in heads), parts)))


def test_long_texts(start, smsc):
    e = start(max_segments=10)
    ascii = "".join(f"{i:04d} and so on; " for i in range(48))[:153 * 5 - 5] + "{end"
    m = sent(e, ascii)
    parts = smsc.submits()
    assert len(parts) == 5 and joined(parts) == ascii
    assert [p["registered"] for p in parts] == [2, 2, 2, 2, 1]  # success is asked about once, failures of all
    assert all(p["esm_class"] & 0x40 for p in parts)
    # The last part's id comes first: it is the one whose receipt says that all has arrived.
    assert m["attempts"][0]["provider_id"].startswith("M000005,M000001,")
    smsc.ask("forget")
    chinese = ("短信服务" * 40)[:133] + EMOJI + "完"
    sent(e, chinese)
    parts = smsc.submits()
    assert len(parts) == 3 and all(p["coding"] == 8 for p in parts) and joined(parts) == chinese


@pytest.mark.parametrize("how, n", [("udh16", 2), ("sar", 2), ("payload", 1)])
def test_long_texts_otherwise(start, smsc, how, n):
    e = start(long=how)
    body = "x" * 200
    sent(e, body)
    parts = smsc.submits()
    assert len(parts) == n and "".join(p["text"] for p in parts) == body
    if how == "sar":
        assert [p["sar"][1:] for p in parts] == [[2, 1], [2, 2]] and all(p["udh"] is None for p in parts)
    if how == "udh16":
        assert all(p["udh"].endswith(f"020{i + 1}") for i, p in enumerate(parts))
    assert parts[0]["payload"] == (how == "payload")


def test_two_hundred_through_a_window_of_ten(start, smsc):
    e = start(window=10, rate="off")
    smsc.rules(delay_ms=3)
    a = e.post("/v1/messages/batch", {"channel": "sms", "recipients": [f"+4477009{i:05d}" for i in range(200)], "content": {"body": "Sale"}})
    assert a.status == 202, a.body
    e.wait_final(200)
    seen = smsc.seen
    assert len(seen["submits"]) == 200 and len({s["to"] for s in seen["submits"]}) == 200
    assert 2 <= seen["most"] <= 10
    assert len(seen["binds"]) == 1
    sequences = [s["sequence"] for s in seen["submits"]]
    assert sequences == sorted(sequences) and len(set(sequences)) == 200


def test_the_window_holds_and_answers_come_in_any_order(start, smsc):
    e = start(window=4)
    smsc.rules(hold=True)
    ids = [text(e, f"number {i}", to=f"+44770090000{i}") for i in range(6)]
    wait_for(lambda: smsc.seen["held"] == 4, what="the window is full")
    smsc.rules(hold=False)
    assert smsc.ask("release", reverse=True)["n"] == 4
    ms = [e.wait_state(i, "sent") for i in ids]
    place = {s["to"]: n for n, s in enumerate(smsc.submits())}
    assert len(place) == 6 and smsc.seen["most"] == 4
    # Those that came first were answered backwards, and each has the id of its own answer.
    for i, m in enumerate(ms):
        n = place[f"44770090000{i}"]
        assert m["attempts"][0]["provider_id"] == f"M{4 - n if n < 4 else n + 1:06d}"


def test_throttled(start, smsc):
    e = start(max_attempts=5, window=10)
    smsc.rules(throttle=1)
    m = e.wait_state(text(e, "later"), "sent", seconds=30)
    assert (m["attempts"][0]["outcome"], m["attempts"][0]["reason"]) == ("rate_limited", "ESME_RTHROTTLED")
    assert len(smsc.submits()) == 2


def test_throttled_in_the_middle_of_a_long_text(start, smsc):
    """What was not taken goes again by itself; what was taken does not."""
    e = start(window=1)
    smsc.rules(hold=True)
    id = text(e, "a" * 150 + "b" * 150)
    wait_for(lambda: smsc.seen["held"] == 1)
    smsc.ask("release")  # part 1 is taken
    wait_for(lambda: smsc.seen["held"] == 1)
    smsc.rules(throttle=1, hold=False)
    smsc.ask("release")  # part 2 is not
    m = e.wait_state(id, "sent", seconds=30)
    assert len(m["attempts"]) == 1
    parts = smsc.submits()
    assert len(parts) == 3 and parts[1]["udh"] == parts[2]["udh"] and joined([parts[0], parts[2]]) == "a" * 150 + "b" * 150


def test_refused(start, smsc):
    e = start()
    smsc.rules(refuse={"447700900001": 0x0B, "447700900002": 0x0A, "447700900003": 0x411})
    got = {}
    for n in "123":
        m = e.wait_state(text(e, "no", to="+44770090000" + n), "failed")
        got[n] = (m["attempts"][0]["outcome"], m["attempts"][0]["reason"])
    assert got == {"1": ("invalid_recipient", "ESME_RINVDSTADR"), "2": ("bad_request", "ESME_RINVSRCADR"), "3": ("bad_request", "0x00000411")}


def test_some_parts_refused_is_unknown(start, smsc):
    e = start(window=1, max_attempts=3)
    smsc.rules(hold=True)
    id = text(e, "a" * 300)
    wait_for(lambda: smsc.seen["held"] == 1)
    smsc.ask("release")
    wait_for(lambda: smsc.seen["held"] == 1)
    smsc.rules(hold=False, refuse={"447700900000": 0x08})
    smsc.ask("release")
    m = e.wait_state(id, "failed", "sent")
    assert [a["outcome"] for a in m["attempts"]] == ["unknown"]
    assert len(smsc.submits()) == 2


def test_receipts(start, smsc):
    e = start(receipts=True)
    smsc.rules(receipts="DELIVRD")
    e.wait_state(text(e, "arrives"), "delivered", seconds=30)
    e.wait_state(text(e, "a" * 200), "delivered", seconds=30)
    wait_for(lambda: len(smsc.seen["taken"]) == 2, what="receipts are acknowledged")
    assert smsc.seen["refused"] == []
    smsc.rules(receipts="UNDELIV")
    m = sent(e, "does not", to="+447700900009")
    wait_for(lambda: "failed" in json.dumps(e.message(m["id"]).get("receipts", e.message(m["id"]))), what="the failure is noted")
    # The one from before, once more: taken, and nothing changes.
    before = e.message(m["id"])
    again = smsc.ask("deliver", pdu={"source_addr": "447700900009", "destination_addr": "Acme", "esm_class": 4},
                     hex=b"id:M000004 stat:UNDELIV err:000".hex())
    assert again["status"] == 0 and e.message(m["id"])["state"] == before["state"]


def test_inbound(start, smsc):
    e = start()
    sent(e, "hi")
    a = smsc.ask("deliver", pdu={"source_addr": "447700900000", "destination_addr": "12345", "data_coding": 8}, hex="你好".encode("utf-16-be").hex())
    assert a["status"] == 0
    replies = wait_for(lambda: e.get("/v1/replies").json.get("replies"), what="the reply is there")
    assert replies[0]["text"] == "你好" and "447700900000" in replies[0]["from"]


def test_link_cut_in_mid_window(start, smsc):
    e = start(max_attempts=3, rebind=1)
    smsc.rules(hold=True)
    ids = [text(e, "cut", to=f"+44770090000{i}") for i in range(3)]
    wait_for(lambda: smsc.seen["held"] == 3)
    smsc.rules(hold=False)
    smsc.ask("kill")
    for id in ids:  # may have been taken: not sent again by itself
        m = e.wait_state(id, "failed", "sent", seconds=30)
        assert [a["outcome"] for a in m["attempts"]] == ["unknown"], m
    sent(e, "after")
    assert len(smsc.submits()) == 4 and len(smsc.seen["binds"]) == 2


def test_resend_unknown_is_the_channels_choice(start, smsc):
    e = start(max_attempts=3, resend_unknown=True)
    smsc.rules(hold=True)
    id = text(e, "cut")
    wait_for(lambda: smsc.seen["held"] == 1)
    smsc.rules(hold=False)
    smsc.ask("kill")
    m = e.wait_state(id, "sent", seconds=60)
    assert [a["outcome"] for a in m["attempts"]] == ["unknown", "ok"]


def test_links_are_tested_both_ways(start, smsc):
    e = start(enquire_link=1, enquire_timeout=1)
    sent(e, "hi")
    assert smsc.ask("enquire")["command"] == "enquire_link_resp"
    wait_for(lambda: smsc.seen["enquires"] >= 1, what="an enquire_link")
    assert len(smsc.seen["binds"]) == 1
    smsc.rules(silent=True)
    wait_for(lambda: len(smsc.seen["binds"]) == 2, 30, "the silent session is replaced")
    smsc.rules(silent=False)
    sent(e, "on the new one")


def test_bind_refused(start, smsc):
    e = start(password="wrong", rebind=1)
    m = e.wait_state(text(e, "hi"), "failed")
    assert (m["attempts"][0]["outcome"], m["attempts"][0]["reason"]) == ("auth", "ESME_RINVPASWD")
    assert smsc.submits() == []


def test_bind_again_after_a_while(start, smsc):
    smsc.rules(bind_status=0x0D)
    e = start(rebind=1, receipts=True)  # a channel that wants receipts binds without messages
    wait_for(lambda: len(smsc.seen["binds"]) >= 2, 30, "it tries again")
    smsc.rules(bind_status=0)
    wait_for(lambda: smsc.seen["sessions"] == 1, 30, "bound")
    sent(e, "now")


def test_the_smsc_unbinds(start, smsc):
    e = start()
    sent(e, "one")
    smsc.ask("unbind")
    wait_for(lambda: len(smsc.seen["binds"]) == 2, 30, "bound again")
    sent(e, "two")


def test_it_unbinds_at_the_end(start, smsc):
    e = start()
    sent(e, "one")
    assert e.stop() == 0
    seen = smsc.seen
    assert seen["unbinds"] == 1 and seen["bad"] == []


def test_pair_and_several_sessions(start, smsc):
    e = start(bind="pair", window=1, endpoint={"max_connections": 2})
    smsc.rules(hold=True)
    ids = [text(e, "x", to=f"+44770090000{i}") for i in range(2)]
    wait_for(lambda: smsc.seen["held"] == 2, what="both sessions have one")
    smsc.rules(hold=False)
    smsc.ask("release")
    for id in ids:
        e.wait_state(id, "sent")
    assert sorted(b["command"] for b in smsc.seen["binds"]) == ["bind_receiver", "bind_transmitter", "bind_transmitter"]


HOSTILE = ["\x00\x01\x02", "\r\nHELO", "'; DROP TABLE", "id:1 stat:DELIVRD", "\x05\x00\x03\xa7\x02\x01", "\u202e\ufeff", "\x1b\x1b{", "\ud7ff\ue000", "%s%n"]


def test_hostile_texts_stay_texts(start, smsc):
    e = start()
    for n, body in enumerate(HOSTILE):
        m = e.wait_state(text(e, "a" + body + "z", to=f"+4477009000{n:02d}"), "sent", "failed")
        assert m["state"] == "sent", m
    got = smsc.submits()
    assert len(got) == len(HOSTILE) and all(s["udh"] is None and s["sar"] is None for s in got) and smsc.seen["bad"] == []
    for body, s in zip(HOSTILE, got):
        clean = re.sub("[\x00-\x08\x0b\x0e-\x1f]", "", body)
        assert re.sub("[\x00-\x08\x0b-\x1f\ufeff]", "", s["text"]).replace("\n", "").strip() == \
            re.sub("[\x00-\x1f\ufeff]", "", "a" + clean + "z").strip() or s["text"] == "a" + body + "z", (body, s)


def test_a_sender_that_is_none(start, smsc):
    e = start(**{"from": "MuchTooLongASender"})
    m = e.wait_state(text(e, "x"), "failed")
    assert m["attempts"][0]["outcome"] == "bad_request" and "longer than 11" in json.dumps(m)
    assert smsc.submits() == []


def test_nonsense_from_the_smsc(start, smsc):
    e = start()
    sent(e, "one")
    smsc.ask("raw", hex="00000010" "000000ff" "00000000" "00000009")  # an unknown command: generic_nack, and on it goes
    sent(e, "two")
    assert len(smsc.seen["binds"]) == 1
    smsc.ask("raw", hex="ffffffff" "00000005" "00000000" "00000001")  # no way to find the next one
    wait_for(lambda: len(smsc.seen["binds"]) == 2, 30, "bound again")
    sent(e, "three")


def test_tls(start, tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "smsc test")]), datetime.datetime.utcnow()
    c = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(x509.random_serial_number())
         .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=100))
         .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
         .add_extension(x509.BasicConstraints(True, None), True).sign(key, hashes.SHA256()))
    (tmp_path / "cert.pem").write_bytes(c.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                                         serialization.NoEncryption()))
    server = Smsc(tmp_path / "key.pem", tmp_path / "cert.pem")
    try:
        e = start(server=server, tls=True, endpoint={"ca_file": tmp_path / "cert.pem"})
        sent(e, "in private")
        assert server.submits()[0]["text"] == "in private"
    finally:
        server.stop()


def test_wire_page(start, smsc):
    e = start()
    sent(e, "hi")
    body = e.get("/v1/admin/shard").body.decode()
    assert '"protocol":"smpp"' in body and '"state":"bound"' in body and '"bind":"transceiver"' in body
