"""Mail by SMTP, against real servers: aiosmtpd here, Postfix below; what arrives is read by Python's email, its DKIM by dkimpy."""
import base64
import datetime
import email
import email.policy
import ipaddress
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading

import dkim
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult
from conftest import SLOW, free_port, wait_for
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID


@pytest.fixture(scope="session")
def cert(tmp_path_factory):
    """A certificate for 127.0.0.1, and its key."""
    d = tmp_path_factory.mktemp("smtp")
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail test")]), datetime.datetime.utcnow()
    c = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(x509.random_serial_number())
         .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=100))
         .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
         .add_extension(x509.BasicConstraints(True, None), True).sign(key, hashes.SHA256()))
    (d / "cert.pem").write_bytes(c.public_bytes(serialization.Encoding.PEM))
    (d / "key.pem").write_bytes(pem(key))
    return d


def pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


class Relay(SMTP):
    """Counts connections; `cut` ends one at a certain moment."""

    def connection_made(self, transport):
        self.event_handler.connections += 1
        super().connection_made(transport)


class Handler:
    """Takes mail; `rcpt` and `data` say otherwise: a function of the address, or of the mail, that gives a reply or None."""

    def __init__(self):
        self.mails, self.connections, self.commands, self.lock = [], 0, [], threading.Lock()
        self.rcpt = self.data = lambda x: None
        self.cut_after_data = 0

    async def handle_MAIL(self, server, session, envelope, address, options):
        self.commands.append(f"MAIL {address} {' '.join(options)}")
        envelope.mail_from, envelope.mail_options = address, options
        return "250 2.1.0 Ok"

    async def handle_RCPT(self, server, session, envelope, address, options):
        no = self.rcpt(address)
        if no:
            return no
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server, session, envelope):
        no = self.data(envelope)
        if no:
            return no
        with self.lock:
            self.mails.append(envelope)
        if self.cut_after_data > 0:
            self.cut_after_data -= 1
            server.transport.abort()
            return "421 gone"
        return "250 2.0.0 Ok: queued as 4F1B2"


class Mailer:
    def __init__(self, cert, smtps=False, starttls=True, auth=True, limit=1 << 20):
        self.h = Handler()
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(cert / "cert.pem", cert / "key.pem")

        def check(server, session, envelope, mechanism, data):
            ok = (data.login, data.password) == (b"hermod", b"s3cret")
            return AuthResult(success=ok, handled=False if not ok else True)

        options = dict(hostname="mx.example.org", data_size_limit=limit, ident="test")
        if auth:
            options.update(authenticator=check, auth_require_tls=not smtps, auth_required=True)
        if starttls and not smtps:
            options.update(tls_context=tls, require_starttls=True)
        h = self.h

        class C(Controller):
            def factory(self):
                return Relay(h, **options)
        self.port = free_port()
        self.c = C(h, hostname="127.0.0.1", port=self.port, ssl_context=tls if smtps else None, ready_timeout=30 * SLOW)
        self.c.start()
        self.h.connections = 0  # the controller has looked whether it answers

    def stop(self):
        self.c.stop()


@pytest.fixture
def relay(cert):
    made = []

    def make(**options):
        made.append(Mailer(cert, **options))
        return made[-1]
    yield make
    for m in made:
        m.stop()


def channel(relay, cert, **more):
    return {"adapter": "email/smtp", "host": "127.0.0.1", "port": relay.port, "user": "hermod", "password": "s3cret", "from": "news@example.com",
            "endpoint": {"ca_file": str(cert / "cert.pem")}, "resend_unknown": False, **more}


def parsed(envelope):
    return email.message_from_bytes(envelope.content, policy=email.policy.default)


def send(e, to="b@example.net", title="订单已发货：请查收 🚚", body="Only **3** left — [this](https://x.example.com/a)\n.\nFrom here", **more):
    return e.send(channel="mail", to=to, content={"format": "markdown", "title": title, "body": body, **more})


@pytest.mark.parametrize("algorithm", ["rsa", "ed25519"])
def test_a_mail_arrives_as_it_was_meant(engine, relay, cert, tmp_path, algorithm):
    r = relay()
    key = rsa.generate_private_key(65537, 2048) if algorithm == "rsa" else ed25519.Ed25519PrivateKey.generate()
    (tmp_path / "dkim.pem").write_bytes(pem(key))
    e = engine(channels={"mail": channel(r, cert, from_name="Acme, 公司", reply_to="help@example.com", bounces="bounces@example.com",
                                         dkim_domain="example.com", dkim_selector="s1", dkim_key_file=str(tmp_path / "dkim.pem"))})
    pdf = bytes(range(256)) * 40
    id = send(e, options={"unsubscribe": "https://u.example.com/u/1",
                          "attachments": [{"name": "发票.pdf", "type": "application/pdf", "data": base64.b64encode(pdf).decode()}]})
    m = e.wait_state(id, "sent")
    assert [a["outcome"] for a in m["attempts"]] == ["ok"]
    envelope = r.h.mails[0]
    assert envelope.mail_from == f"bounces+{id.lower()}@example.com" and envelope.rcpt_tos == ["b@example.net"]
    mail = parsed(envelope)
    assert mail["subject"] == "订单已发货：请查收 🚚" and mail["to"] == "b@example.net"
    assert mail["from"].addresses[0].display_name == "Acme, 公司" and mail["from"].addresses[0].addr_spec == "news@example.com"
    assert mail["message-id"] == f"<{id}@example.com>" and mail["list-unsubscribe"] == "<https://u.example.com/u/1>"
    assert mail["list-unsubscribe-post"] == "List-Unsubscribe=One-Click"
    text, html = mail.get_body(("plain",)).get_content(), mail.get_body(("html",)).get_content()
    assert "Only 3 left — this" in text and "\n.\nFrom here" in text.replace("\r", ""), text
    assert "<strong>3</strong>" in html and "https://x.example.com/a" in html
    files = list(mail.iter_attachments())
    assert [(f.get_filename(), f.get_content_type(), f.get_content()) for f in files] == [("发票.pdf", "application/pdf", pdf)]
    assert max(len(line) for line in envelope.content.split(b"\r\n")) <= 998 and all(b < 128 for b in envelope.content)
    public = key.public_key()
    if algorithm == "rsa":
        p = base64.b64encode(public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))
    else:
        p = base64.b64encode(public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw))
    asked = []

    def dns(name, timeout=5):
        asked.append(name)
        return b"v=DKIM1; k=%s; p=%s" % (algorithm.encode(), p)
    assert dkim.verify(envelope.content, dnsfunc=dns) and asked[0] == b"s1._domainkey.example.com."
    for before, after in ((b"X-Hermod-Id:", b"Subject: other\r\nX-Hermod-Id:"), (b"help@", b"evil@"), (b"https://u.", b"https://v.")):
        assert before in envelope.content
        assert not dkim.verify(envelope.content.replace(before, after, 1), dnsfunc=dns), before


def test_tls_from_the_first_byte(engine, relay, cert):
    r = relay(smtps=True)
    e = engine(channels={"mail": channel(r, cert, security="tls")})
    e.wait_state(send(e), "sent")
    assert len(r.h.mails) == 1


def test_without_tls_nothing_is_said(engine, relay, cert):
    """A relay that offers no STARTTLS gets neither the password nor the mail."""
    r = relay(starttls=False, auth=False)
    e = engine(channels={"mail": channel(r, cert, max_attempts=1)}, settings={"breaker": {"min": 1000}})
    m = e.wait_state(send(e), "failed")
    assert m["attempts"][0]["outcome"] in ("provider_down", "retry"), m
    assert r.h.commands == [] and r.h.mails == [] and r.h.connections >= 1


def test_wrong_password_stops_the_channel(engine, relay, cert):
    r = relay()
    e = engine(channels={"mail": channel(r, cert, password="wrong")})
    m = e.wait_state(send(e), "failed")
    assert m["attempts"][0]["outcome"] == "auth" and "5.7.8" in str(m["attempts"][0]), m
    assert r.h.commands == []


def test_greylisted_comes_back(engine, relay, cert):
    r = relay()
    seen = []
    r.h.rcpt = lambda a: seen.append(a) or ("450 4.2.0 <%s>: Recipient address rejected: Greylisted" % a if len(seen) == 1 else None)
    e = engine(channels={"mail": channel(r, cert)}, settings={"dispatch": {"deadline": "7d"}})
    id = send(e)
    wait_for(lambda: len(seen) == 1 and e.message(id)["attempts"], what="the first attempt")
    e.advance(7 * 60_000)
    m = e.wait_state(id, "sent")
    assert [a["outcome"] for a in m["attempts"]] == ["retry", "ok"] and len(r.h.mails) == 1


@pytest.mark.parametrize("reply,outcome", [
    ("550 5.1.1 <b@example.net>: Recipient address rejected: User unknown", "invalid_recipient"),
    ("550 No such user here", "invalid_recipient"),
    ("554 5.7.1 <b@example.net>: Recipient address rejected: Access denied", "bad_request"),
    ("550 5.4.4 Unable to route", "invalid_recipient"),
])
def test_refused_for_good(engine, relay, cert, reply, outcome):
    r = relay()
    r.h.rcpt = lambda a: reply
    e = engine(channels={"mail": channel(r, cert)})
    m = e.wait_state(send(e), "failed")
    assert [a["outcome"] for a in m["attempts"]] == [outcome] and r.h.mails == [], m


def test_too_large_is_refused_before_it_is_sent(engine, relay, cert):
    r = relay(limit=2000)
    e = engine(channels={"mail": channel(r, cert)})
    m = e.wait_state(send(e, body="x " * 5000), "failed")
    assert [a["outcome"] for a in m["attempts"]] == ["bad_request"], m
    assert r.h.commands == [] or "SIZE=" in r.h.commands[0]


def test_many_mails_few_connections(engine, relay, cert):
    r = relay()
    e = engine(channels={"mail": channel(r, cert, endpoint={"ca_file": str(cert / "cert.pem"), "max_connections": 2})})
    ids = [send(e, to=f"u{i}@example.net") for i in range(120)]
    for id in ids:
        e.wait_state(id, "sent")
    assert sorted(m.rcpt_tos[0] for m in r.h.mails) == sorted(f"u{i}@example.net" for i in range(120))
    assert r.h.connections <= 12, r.h.connections  # two shards with two each, and what ended early


def test_an_answer_that_was_lost_is_unknown(engine, relay, cert):
    r = relay()
    r.h.cut_after_data = 1
    e = engine(channels={"mail": channel(r, cert)})
    m = e.wait_state(send(e), "sent", "failed", "unknown")
    assert m["attempts"][0]["outcome"] == "unknown", m
    assert len(r.h.mails) == 1


def test_a_connection_the_relay_closed_is_no_failure(engine, relay, cert):
    r = relay()
    e = engine(channels={"mail": channel(r, cert)}, settings={"node": {"shards": 1}})
    e.wait_state(send(e), "sent")
    port, h = r.port, r.h
    r.c.loop.call_soon_threadsafe(lambda: [t.abort() for t in list(_transports(r))])
    for i in range(5):
        m = e.wait_state(send(e, to=f"v{i}@example.net"), "sent")
        assert [a["outcome"] for a in m["attempts"]] == ["ok"], m
    assert len(h.mails) == 6 and r.port == port


def _transports(r):
    import gc
    return [s.transport for s in gc.get_objects() if isinstance(s, Relay) and s.transport is not None and s.event_handler is r.h]


def test_hostile_texts_stay_texts(engine, relay, cert):
    r = relay()
    e = engine(channels={"mail": channel(r, cert)})
    title, body = "a\r\nBcc: evil@example.com\r\n\r\nx", "x\r\n.\r\nMAIL FROM:<evil@example.com>\r\n\r\n--=_0_1\r\nX: y"
    id = e.send(channel="mail", to="b@example.net", content={"title": title, "body": body})
    m = e.wait_state(id, "sent", "failed")
    if m["state"] == "sent":
        mail = parsed(r.h.mails[0])
        assert mail["bcc"] is None and r.h.mails[0].rcpt_tos == ["b@example.net"]
        assert "MAIL FROM:<evil@example.com>" in mail.get_body(("plain",)).get_content()
    assert len(r.h.mails) == (m["state"] == "sent") and not any("evil" in c for c in r.h.commands)
    for to in ("b@example.net>RCPT TO:<evil@example.com", "b@example.net,evil@example.com", "b@example.net BODY=8BITMIME"):
        id = e.send(channel="mail", to=to, content={"title": "t", "body": "b"})
        m = e.wait_state(id, "failed")
        assert m["attempts"][0]["outcome"] == "invalid_recipient" or not m["attempts"], m
    assert all("evil" not in a for x in r.h.mails for a in x.rcpt_tos)


# -- Postfix -------------------------------------------------------------------------------

MAIN_CF = """
compatibility_level = 3.6
queue_directory = {d}/queue
data_directory = {d}/data
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.example.org
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
maillog_file = {d}/log
maillog_file_prefixes = /
message_size_limit = 200000
virtual_mailbox_domains = example.net
virtual_mailbox_base = {d}/mail
virtual_mailbox_maps = static:all/
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_minimum_uid = 100
smtpd_tls_cert_file = {cert}/cert.pem
smtpd_tls_key_file = {cert}/key.pem
smtpd_tls_security_level = encrypt
smtpd_recipient_restrictions = check_recipient_access inline:{{ {{grey@example.net = 451 4.7.1 Greylisted}} {{gone@example.net = 550 5.1.1 User unknown}} }}, permit_mynetworks, reject
smtpd_relay_restrictions = permit_mynetworks, reject
alias_maps =
"""
MASTER_CF = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
virtual unix - n n - - virtual
error unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    def __init__(self, cert):
        self.port = free_port()
        self.d = tempfile.mkdtemp(prefix="hermod-postfix-")  # where others may enter, unlike pytest's folders
        os.chmod(self.d, 0o755)
        for name, owner in (("queue", "root"), ("data", "postfix"), ("mail", "nobody"), ("conf", "root")):
            os.mkdir(f"{self.d}/{name}")
            shutil.chown(f"{self.d}/{name}", owner)
        for f in ("cert.pem", "key.pem"):
            shutil.copy(cert / f, f"{self.d}/{f}")
        pathlib.Path(f"{self.d}/conf/main.cf").write_text(MAIN_CF.format(d=self.d, cert=self.d))
        pathlib.Path(f"{self.d}/conf/master.cf").write_text(MASTER_CF.format(port=self.port))
        self.p = subprocess.Popen(["/usr/sbin/postfix", "-c", f"{self.d}/conf", "start-fg"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def up():
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return True
            except OSError:
                return False
        wait_for(up, what="Postfix listens")

    def mails(self):
        return [email.message_from_bytes(f.read_bytes(), policy=email.policy.default) for f in pathlib.Path(self.d, "mail").glob("all/new/*")]

    def stop(self):
        subprocess.run(["/usr/sbin/postfix", "-c", f"{self.d}/conf", "abort"], capture_output=True)
        self.p.wait(30)
        shutil.rmtree(self.d, ignore_errors=True)


@pytest.fixture
def postfix(cert):
    if os.geteuid() != 0 or not os.path.exists("/usr/sbin/postfix"):
        pytest.skip("Postfix has to be installed, and started by root")
    p = Postfix(cert)
    yield p
    p.stop()


def test_postfix(engine, postfix, cert):
    e = engine(channels={"mail": {"adapter": "email/smtp", "host": "127.0.0.1", "port": postfix.port, "from": "news@example.com", "from_name": "公司",
                                  "endpoint": {"ca_file": str(cert / "cert.pem")}}}, settings={"dispatch": {"deadline": "7d"}})
    good = [send(e, to=f"u{i}@example.net") for i in range(20)]
    grey, gone, large = send(e, to="grey@example.net"), send(e, to="gone@example.net"), send(e, body="large " * 40000)
    for id in good:
        e.wait_state(id, "sent")
    assert e.wait_state(gone, "failed")["attempts"][0]["outcome"] == "invalid_recipient"
    assert e.wait_state(large, "failed")["attempts"][0]["outcome"] == "bad_request"
    wait_for(lambda: [a["outcome"] for a in e.message(grey)["attempts"]] == ["retry"], what="greylisted once")
    wait_for(lambda: len(postfix.mails()) == 20, what="all delivered to the mailbox")
    mails = postfix.mails()
    assert sorted(m["delivered-to"] or m["x-original-to"] for m in mails) == sorted(f"u{i}@example.net" for i in range(20))
    assert {m["subject"] for m in mails} == {"订单已发货：请查收 🚚"} and {m["message-id"] for m in mails} == {f"<{id}@example.com>" for id in good}
    assert all("Only 3 left — this" in m.get_body(("plain",)).get_content() for m in mails)
