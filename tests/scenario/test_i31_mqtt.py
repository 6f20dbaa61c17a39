"""Publishing over MQTT 3.1.1, against Debian's mosquitto; what arrives is read by a subscriber others wrote (paho)."""
import datetime
import ipaddress
import json
import os
import re
import shutil
import signal
import subprocess
import threading

import pytest
from conftest import ROOT, Process, free_port, wait_for
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

paho = pytest.importorskip("paho.mqtt.client")
MOSQUITTO = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin")
if not MOSQUITTO:
    pytest.skip("mosquitto is not there: ./dev test installs it", allow_module_level=True)


class Broker:
    """mosquitto on a port of its own, with what it keeps in a folder of its own; it may be ended, stopped and started again."""

    def __init__(self, folder, *lines):
        self.dir, self.port, self.p = folder, free_port(), None
        conf = [f"listener {self.port} 127.0.0.1", "persistence true", f"persistence_location {folder}/", f"log_dest file {folder}/broker.log", "log_type all",
                "user root", *(lines or ["allow_anonymous true"])]  # it would give up being root, and with that its files
        (folder / "mosquitto.conf").write_text("\n".join(conf) + "\n")
        self.start()

    def start(self):
        self.p = Process([MOSQUITTO, "-c", self.dir / "mosquitto.conf"], self.dir / "mosquitto.log")
        wait_for(lambda: not self.p.alive() or f"running" in self.log()[self.mark():], what="mosquitto runs")
        assert self.p.alive(), self.log()

    def log(self):
        """Its own file: what it prints is held back until there is a block of it."""
        file = self.dir / "broker.log"
        return (file.read_text(errors="replace") if file.exists() else "") + self.p.log()

    def mark(self):
        """Where the last start begins in the log."""
        return max(self.log().rfind(" starting"), 0)

    def stop(self):
        if self.p.alive():
            self.p.p.send_signal(signal.SIGCONT)
        return self.p.stop()

    def freeze(self):
        self.p.p.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.p.p.send_signal(signal.SIGCONT)

    def clients(self, word="as hermod"):
        """Connections of the engine so far."""
        return [line for line in self.log().splitlines() if "New client connected" in line and word in line]


class Subscriber:
    """Everything that is published, in the order it came; its session outlives connections and the broker."""

    def __init__(self, port, topic="#", id="reader", **tls):
        self.got, self.lock, self.ready, self.topic = [], threading.Lock(), threading.Event(), topic
        self.c = paho.Client(id, clean_session=False)
        self.c.on_connect = lambda c, *_: c.subscribe(self.topic, 2)
        self.c.on_subscribe = lambda *_: self.ready.set()
        self.c.on_message = self.on_message
        self.c.reconnect_delay_set(1, 1)
        if tls:
            self.c.tls_set(**tls)
        self.c.connect("127.0.0.1", port)
        self.c.loop_start()
        assert self.ready.wait(30)

    def on_message(self, c, arg, m):
        with self.lock:
            self.got.append(m)

    def wait(self, n):
        wait_for(lambda: len(self.got) >= n, what=f"{n} messages arrive (now: {len(self.got)})")
        return [(m.topic, m.payload.decode(), m.qos, bool(m.retain)) for m in self.got]

    def stop(self):
        self.c.disconnect()
        self.c.loop_stop()


@pytest.fixture
def broker(tmp_path):
    made = []

    def make(*lines, name="broker"):
        folder = tmp_path / name
        folder.mkdir()
        made.append(Broker(folder, *lines))
        return made[-1]
    yield make
    for b in made:
        b.stop()


@pytest.fixture
def reader():
    made = []

    def make(*args, **kw):
        made.append(Subscriber(*args, **kw))
        return made[-1]
    yield make
    for s in made:
        s.stop()


@pytest.fixture
def start(engine):
    """start(broker, **settings of the channel) -> engine with one shard, so that there is one connection."""
    def make(b, shards=1, **settings):
        c = {"adapter": "iot/mqtt", "host": "127.0.0.1", "port": b.port, "topic": "devices/{to}/alerts", "max_attempts": 1}
        return engine(channels={"iot": c | settings}, settings={"node": {"shards": shards}})
    return make


def publish(e, body, to="lamp", options=None, **content):
    return e.send(channel="iot", to=to, content={"body": body, **content, **({"options": options} if options else {})})


def sent(e, body, **more):
    return e.wait_state(publish(e, body, **more), "sent")


def attempts(m):
    return [(a["outcome"], a.get("reason") or "") for a in m["attempts"]]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_what_arrives(broker, reader, start, qos):
    b = broker()
    r = reader(b.port)
    e = start(b, qos=qos)
    sent(e, "Hello 你好")
    sent(e, "open", to="door 7", title="Alarm", url="https://x.example/7")
    assert r.wait(2) == [("devices/lamp/alerts", "Hello 你好", qos, False),
                         ("devices/door 7/alerts", "Alarm\nopen\nhttps://x.example/7", qos, False)]
    assert len(b.clients()) == 1
    if qos == 0:  # what shows that it was read
        assert b.log().count("Received PINGREQ from hermod") == 2


def test_the_message_may_say_otherwise(broker, reader, start):
    b = broker()
    r = reader(b.port)
    e = start(b, qos=1)
    for qos in (2, 0):
        sent(e, f"qos {qos}", options={"qos": qos})
    m = sent(e, "21.5", title="T", options={"format": "json"}, data={"unit": "°C", "n": 3})
    got = r.wait(3)
    assert [g[2] for g in got] == [2, 0, 1]
    doc = json.loads(got[2][1])
    assert (doc["id"], doc["title"], doc["body"], doc["data"]) == (m["id"], "T", "21.5", {"unit": "°C", "n": 3}), doc
    m = e.wait_state(publish(e, "x", options={"qos": 3}), "failed")
    assert m["attempts"][0]["outcome"] == "bad_request" and "qos" in json.dumps(m)


def test_retained(broker, reader, start):
    b = broker()
    e = start(b, retain=True)
    sent(e, "the last state")
    sent(e, "said once", to="other", options={"retain": False})
    r = reader(b.port, id="late")
    assert r.wait(1) == [("devices/lamp/alerts", "the last state", 1, True)]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_two_hundred_through_a_window_of_ten(broker, reader, start, qos):
    b = broker("allow_anonymous true", "max_queued_messages 0", "max_inflight_messages 0")
    r = reader(b.port)
    e = start(b, qos=qos, window=10, rate="off")
    a = e.post("/v1/messages/batch", {"channel": "iot", "recipients": [f"n{i:03d}" for i in range(200)], "content": {"body": "all"}})
    assert a.status == 202, a.body
    e.wait_final(200)
    assert e.report()["sent"] == 200
    assert sorted(g[0] for g in r.wait(200)) == [f"devices/n{i:03d}/alerts" for i in range(200)]
    assert len(b.clients()) == 1


def test_each_shard_has_an_id_of_its_own(broker, reader, start):
    b = broker()
    e = start(b, shards=2, rate="off")
    for i in range(60):  # an entry is one shard's
        publish(e, "all", to=f"n{i:03d}")
    e.wait_final(60)
    ids = {line.split(" as ")[1].split()[0] for line in b.clients()}
    assert len(ids) == len(b.clients()) == 2 and all(len(i) == 18 and i.isalnum() for i in ids)


def test_not_let_in(broker, reader, start, tmp_path):
    passwords = tmp_path / "passwords"
    passwords.touch()
    subprocess.run(["mosquitto_passwd", "-b", passwords, "hermod", "s3cret"], check=True)
    b = broker("allow_anonymous false", f"password_file {passwords}")
    for name, wrong in {"wrong": {"user": "hermod", "password": "guess"}, "nobody": {}}.items():
        e = start(b, **wrong)
        m = e.wait_state(publish(e, "hi"), "failed")
        assert [a[0] for a in attempts(m)] == ["auth"] and attempts(m)[0][1].startswith("not-authorized"), (name, m)
        assert e.stop() == 0
    assert "guess" not in e.log()
    e = start(b, user="hermod", password="s3cret")
    sent(e, "hi")
    assert len(b.clients()) == 1


def test_let_in_again(broker, start, tmp_path):
    """Who was refused tries again, without being started anew."""
    passwords = tmp_path / "passwords"
    passwords.touch()
    b = broker("allow_anonymous false", f"password_file {passwords}")
    e = start(b, user="hermod", password="s3cret", reconnect=1, max_attempts=10, retry_schedule=["500ms"])
    id = publish(e, "hi")
    wait_for(lambda: "not authorised" in b.log(), what="it is refused")
    subprocess.run(["mosquitto_passwd", "-b", passwords, "hermod", "s3cret"], check=True)
    b.p.p.send_signal(signal.SIGHUP)  # reads the passwords anew
    wait_for(lambda: sent_or_asked_again(e, id), 40, "it is let in")


def sent_or_asked_again(e, id):
    m = e.message(id)
    if m["state"] == "failed":  # a refusal ends a message: the next one finds the door open
        m = e.wait_state(publish(e, "again"), "sent", "failed")
    return m["state"] == "sent"


# -- broken links ----------------------------------------------------------------------------------


def test_killed_in_mid_flight_is_unknown(broker, reader, start):
    b = broker()
    r = reader(b.port)
    e = start(b, max_attempts=3, resend_unknown=False)
    sent(e, "before")
    b.freeze()
    ids = [publish(e, f"q{q}", options={"qos": q}) for q in (0, 1, 2)]
    wait_for(lambda: '"in_flight":3' in e.get("/v1/admin/shard").body.decode(), what="three are under way")
    r.ready.clear()
    b.p.kill9()
    for id in ids:  # may have been taken: not sent again by itself
        m = e.wait_state(id, "failed", "sent", seconds=30)
        assert [a[0] for a in attempts(m)] == ["unknown"], m
    b.start()
    assert r.ready.wait(30)  # what it had subscribed to died with the broker
    sent(e, "after")
    wait_for(lambda: r.got[-1].payload == b"after", what="it goes on")


def test_resend_unknown_is_the_channels_choice(broker, reader, start):
    b = broker()
    e = start(b, max_attempts=8, retry_schedule=["500ms"], resend_unknown=True)
    sent(e, "before")
    b.freeze()
    id = publish(e, "once more")
    wait_for(lambda: '"in_flight":1' in e.get("/v1/admin/shard").body.decode(), what="it is under way")
    b.p.kill9()
    b.start()
    m = e.wait_state(id, "sent", seconds=60)
    assert attempts(m)[0][0] == "unknown" and attempts(m)[-1][0] == "ok"


def test_no_answer_in_time_is_unknown(broker, reader, start):
    b = broker()
    r = reader(b.port)
    e = start(b, timeout="1s", qos=2)
    sent(e, "before")
    b.freeze()
    m = e.wait_state(publish(e, "late"), "failed")
    assert [a[0] for a in attempts(m)] == ["unknown"]
    b.thaw()  # it is carried through all the same, and the next one is no repetition of it
    sent(e, "next")
    assert [g[1] for g in r.wait(3)] == ["before", "late", "next"]
    assert len(b.clients()) == 1


def test_a_broker_that_is_down_loses_nothing(broker, reader, start):
    b = broker()
    r = reader(b.port)
    e = start(b, max_attempts=20, retry_schedule=["500ms"])
    sent(e, "before")
    b.stop()
    ids = [publish(e, f"number {i}") for i in range(20)]
    wait_for(lambda: e.message(ids[0])["attempts"], what="it was tried")
    b.start()
    for id in ids:
        m = e.wait_state(id, "sent", seconds=60)
        assert "unknown" not in [a[0] for a in attempts(m)]
    assert sorted(g[1] for g in r.wait(21)) == sorted(["before", *(f"number {i}" for i in range(20))])


def test_restarted_in_the_middle(broker, reader, start):
    """With QoS 2: what is told as sent has arrived, nothing arrives twice, and what is not known is told as that."""
    b = broker("allow_anonymous true", "max_queued_messages 0", "max_inflight_messages 0")
    r = reader(b.port)
    e = start(b, qos=2, window=20, rate="200/s", burst=5, max_attempts=30, retry_schedule=["300ms"], resend_unknown=False)
    a = e.post("/v1/messages/batch", {"channel": "iot", "recipients": [f"n{i:03d}" for i in range(400)], "content": {"body": "all"}})
    assert a.status == 202, a.body
    wait_for(lambda: len(r.got) > 50, what="it is in the middle")
    b.stop()
    b.start()
    e.wait_final(400, seconds=120)
    report = e.report()
    assert report["sent"] + report["failed"] == 400 and report["failed"] <= 20 and report["unknown_attempts"] == report["failed"], report
    wait_for(lambda: len({m.topic for m in r.got}) >= report["sent"], what="what was sent arrives")
    # Counted where the broker takes them: what it gives the reader again after its restart is between those two.
    taken = re.findall(r"Received PUBLISH from hermod\w+ \(.*'(devices/n\d+/alerts)'", b.log())
    assert len(set(taken)) == len(taken) >= report["sent"]
    assert len(b.clients()) == 2


def test_the_link_is_kept_alive(broker, start):
    b = broker()
    e = start(b, keep_alive=1)
    sent(e, "one")
    wait_for(lambda: b.log().count("Received PINGREQ from hermod") >= 3, what="signs of life")  # it drops who is silent for 1.5 s
    sent(e, "two")
    assert len(b.clients()) == 1 and "exceeded timeout" not in b.log()


def test_it_says_goodbye(broker, start):
    b = broker()
    e = start(b)
    sent(e, "one")
    assert e.stop() == 0
    wait_for(lambda: "Received DISCONNECT from hermod" in b.log(), what="DISCONNECT")


# -- what must not get through -------------------------------------------------------------------------

OTHER_TOPICS = ["a/b", "/", "+", "#", "lamp/#", "a+b", "a\nb", "a\u0000b", "a\u007f", "../../x", "lamp/alerts/x", "a\uffffb", "a\u0085b"]


def test_an_address_stays_one_level(broker, reader, start):
    b = broker()
    r = reader(b.port)
    e = start(b)
    refused = 0
    for to in OTHER_TOPICS:
        a = e.post("/v1/messages", {"channel": "iot", "to": to, "content": {"body": "x"}})
        assert a.status in (202, 400, 422), (to, a.body)
        if a.status == 202:
            m = e.wait_state(a.json["id"], "failed", "sent", "suppressed")
            assert m["state"] == "failed" and attempts(m)[0][0] in ("invalid_recipient", "bad_request"), (to, m)
        refused += 1
    for to in ("{to}", "$SYS", "..", "%2f", "${credential}", "a b"):
        sent(e, "y", to=to)
    assert sorted(g[0] for g in r.wait(6)) == sorted(f"devices/{t}/alerts" for t in ("{to}", "$SYS", "..", "%2f", "${credential}", "a b"))
    assert refused == len(OTHER_TOPICS) and len(b.clients()) == 1


def test_whole_topics_where_the_channel_allows_them(broker, reader, start):
    b = broker()
    r = reader(b.port)
    e = start(b, topic="{to}", levels="many")
    sent(e, "x", to="house/kitchen/lamp")
    for to in ("$SYS/broker/load", "house/+/lamp", "house/#"):
        m = e.post("/v1/messages", {"channel": "iot", "to": to, "content": {"body": "x"}})
        assert m.status != 202 or e.wait_state(m.json["id"], "failed", "sent")["state"] == "failed", to
    assert r.wait(1) == [("house/kitchen/lamp", "x", 1, False)]


HOSTILE = ["\r\nHELO", "'; DROP TABLE", "\u202e\ufeffx", "%s%n", "\x30\x05", "${body}", '{"a":1}', "a\tb", "\U0001f600" * 3000]


@pytest.mark.parametrize("form", ["text", "json"])
def test_hostile_texts_stay_texts(broker, reader, start, form):
    b = broker()
    r = reader(b.port)
    e = start(b, format=form)
    for body in HOSTILE:
        sent(e, "a" + body + "z")
    got = [g[1] for g in r.wait(len(HOSTILE))]
    assert all(g[0] == "devices/lamp/alerts" for g in r.wait(1))
    if form == "json":
        got = [json.loads(g)["body"] for g in got]
    for body, g in zip(HOSTILE, got):
        assert g.replace("\r\n", "\n") == ("a" + body + "z").replace("\r\n", "\n").replace("\x05", "")


def test_too_large(broker, reader, start):
    """Told before it costs the connection, which the broker would cut."""
    b = broker("allow_anonymous true", "max_packet_size 2000")
    r = reader(b.port)
    e = start(b, max_packet=2000)
    sent(e, "x" * 1900)
    m = e.wait_state(publish(e, "x" * 2000), "failed")
    assert attempts(m)[0][0] == "bad_request" and "max_packet (2000)" in json.dumps(m)
    sent(e, "after")
    assert len(r.wait(2)) == 2 and len(b.clients()) == 1


def test_larger_than_the_broker_takes(broker, start):
    b = broker("allow_anonymous true", "max_packet_size 2000")
    e = start(b)
    m = e.wait_state(publish(e, "x" * 3000), "failed")
    assert [a[0] for a in attempts(m)] == ["unknown"]  # it hangs up without a word
    sent(e, "after")


# -- TLS -------------------------------------------------------------------------------------------------


def certificate(folder, name, issuer=None):
    """name.pem and name.key; without an issuer it signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), datetime.datetime.utcnow()
    c = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer[0] if issuer else subject).public_key(key.public_key())
         .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
         .not_valid_after(now + datetime.timedelta(days=100))
         .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
         .add_extension(x509.BasicConstraints(issuer is None, None), True).sign(issuer[1] if issuer else key, hashes.SHA256()))
    (folder / f"{name}.pem").write_bytes(c.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                                           serialization.NoEncryption()))
    return subject, key


def test_tls(broker, reader, start, tmp_path):
    ca = certificate(tmp_path, "ca")
    certificate(tmp_path, "broker", ca)
    certificate(tmp_path, "client", ca)
    certificate(tmp_path, "stranger")
    b = broker("allow_anonymous true", f"cafile {tmp_path}/ca.pem", f"certfile {tmp_path}/broker.pem", f"keyfile {tmp_path}/broker.key",
               "require_certificate true")
    ours = {"client_cert": str(tmp_path / "client.pem"), "client_key": str(tmp_path / "client.key")}
    r = reader(b.port, ca_certs=tmp_path / "ca.pem", certfile=ours["client_cert"], keyfile=ours["client_key"])
    trusted = {"ca_file": str(tmp_path / "ca.pem")}
    e = start(b, tls=True, endpoint=trusted, **ours)
    sent(e, "in private", options={"qos": 2})
    assert r.wait(1)[0][1:3] == ("in private", 2)
    assert '"tls":"TLSv1.3"' in e.get("/v1/admin/shard").body.decode()
    assert e.stop() == 0
    # A broker nobody vouches for hears nothing, and one that does not know us lets us not in.
    for wrong in ({"endpoint": {"ca_file": str(tmp_path / "stranger.pem")}, **ours}, {"endpoint": trusted}):
        e = start(b, tls=True, **wrong)
        m = e.wait_state(publish(e, "no"), "failed")
        assert attempts(m)[0][0] in ("provider_down", "unknown"), m
        assert e.stop() == 0
    assert len(r.got) == 1


# -- what is shown ----------------------------------------------------------------------------------------


def test_wire_page(broker, start):
    b = broker()
    e = start(b, user="hermod", password="s3cret")
    sent(e, "hi")
    body = e.get("/v1/admin/shard").body.decode()
    assert '"protocol":"mqtt"' in body and '"state":"open"' in body and '"client_id":"hermod' in body and "s3cret" not in body


def test_dry_run(hermod, tmp_path):
    (tmp_path / "c.yaml").write_text('adapter: iot/mqtt\nhost: mqtt.example.com\ntls: yes\ntopic: "devices/{to}/alerts"\nqos: 2\n')
    (tmp_path / "m.yaml").write_text("to: lamp-7\nbody: It is open\noptions: {retain: yes}\n")
    a = hermod("adapters", "dry-run", "iot/mqtt", "--channel", tmp_path / "c.yaml", "--message", tmp_path / "m.yaml", "--dir", ROOT / "adapters")
    out = a.stdout if isinstance(a.stdout, str) else a.stdout.decode()
    assert a.returncode == 0
    assert "PUBLISH mqtts://mqtt.example.com:8883/\n" in out
    assert "topic: devices/lamp-7/alerts\nqos: 2\nretain: yes\n\nIt is open\n" in out
