"""The sink as a mail server: what it takes, what it refuses and where, and its limits. The client is smtplib, or bytes."""
import smtplib
import socket
import ssl
import time

import pytest
from sink_client import Sink
from test_a13_ledger import run

MAIL = "X-Hermod-Id: {id}\r\nSubject: x\r\n\r\nhello\r\n"


@pytest.fixture(scope="module")
def mail_sink():
    with Sink("--smtp", "127.0.0.1:0", clear=False, tls=False) as s:
        yield s


@pytest.fixture
def sink(mail_sink):
    mail_sink.reset()
    yield mail_sink
    mail_sink.reset()


def client(sink):
    return smtplib.SMTP("127.0.0.1", sink.ports["smtp"], local_hostname="test.example", timeout=20)


class Raw:
    """A connection by hand: lines out, lines in."""

    def __init__(self, sink):
        self.s = socket.create_connection(("127.0.0.1", sink.ports["smtp"]), timeout=20)
        self.f = self.s.makefile("rb")
        assert self.line().startswith("220 ")

    def line(self):
        return self.f.readline().decode().rstrip("\r\n")

    def say(self, text):
        self.s.sendall(text.encode() + b"\r\n")

    def ask(self, text):
        self.say(text)
        return self.line()

    def envelope(self, to="b@y.test"):
        assert self.ask("HELO c") == "250 sink.test"
        assert self.ask("MAIL FROM:<a@x.test>").startswith("250 ")
        return self.ask(f"RCPT TO:<{to}>")

    def close(self):
        self.f.close()
        self.s.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def test_a_mail_as_it_was_sent(sink):
    text = "X-Hermod-Id: m-1\r\nSubject: Gr=C3=BC=C3=9Fe\r\n\r\n.\r\n..two\r\n.three\r\n\r\nend"
    with client(sink) as c:
        c.ehlo()
        assert c.has_extn("pipelining") and c.has_extn("starttls") and int(c.esmtp_features["size"]) == 16 << 20
        assert c.sendmail("a@x.test", ["b@y.test", "c@y.test"], text) == {}
    (r,) = sink.requests()
    assert (r.method, r.path, r.profile, r.protocol, r.status, r.accepted) == ("SEND", "/mail/b@y.test", "smtp", "smtp", 250, True)
    assert r.raw["headers"] == [["helo", "test.example"], ["mail-from", "a@x.test"], ["rcpt-to", "b@y.test"], ["rcpt-to", "c@y.test"]]
    assert r.body.decode() == text + "\r\n", "dots are unstuffed, nothing else is touched"
    assert sink.dump() == {("smtp", "m-1"): 1}


def test_ids(sink):
    with client(sink) as c:
        for head in ("Message-ID: <a@z>\r\nX-Hermod-Id: one\r\n", "message-id: <b@z>\r\n", "Subject: none\r\n", "Subject: x\r\n\r\nX-Hermod-Id: in the text\r\n"):
            c.sendmail("a@x.test", ["b@y.test"], head + "\r\nx\r\n")
    assert sink.dump() == {("smtp", "one"): 1, ("smtp", "b@z"): 1}
    assert sink.ledger("smtp")["accepted_requests"] == 4


@pytest.mark.parametrize("to, error, said", [
    ("sink-rcpt-550", smtplib.SMTPRecipientsRefused, (550, b"5.1.1 no such user here")),
    ("sink-rcpt-450", smtplib.SMTPRecipientsRefused, (450, b"4.7.1 greylisted, try again later")),
    ("sink-data-554", smtplib.SMTPDataError, (554, b"5.5.1 no valid recipients")),
    ("sink-end-552", smtplib.SMTPDataError, (552, b"5.3.4 the mail is too large")),
])
def test_special_recipients(sink, to, error, said):
    with client(sink) as c:
        with pytest.raises(error) as e:
            c.sendmail("a@x.test", [f"{to}@y.test"], MAIL.format(id="never"))
        got = e.value.recipients[f"{to}@y.test"] if error is smtplib.SMTPRecipientsRefused else (e.value.smtp_code, e.value.smtp_error)
        assert got == said
        assert c.sendmail("a@x.test", ["b@y.test"], MAIL.format(id="after")) == {}, "the connection goes on"
    assert sink.dump() == {("smtp", "after"): 1}
    assert sink.ledger("smtp")["status"] == {str(said[0]): 1, "250": 1}


def test_one_of_several_is_refused(sink):
    with client(sink) as c:
        refused = c.sendmail("a@x.test", ["b@y.test", "sink-rcpt-550@y.test", "c@y.test"], MAIL.format(id="m"))
    assert list(refused) == ["sink-rcpt-550@y.test"]
    (r,) = sink.requests()
    assert [v for n, v in r.raw["headers"] if n == "rcpt-to"] == ["b@y.test", "c@y.test"]


def test_going_down_ends_the_connection(sink):
    with Raw(sink) as c:
        assert c.envelope("sink-rcpt-421@y.test").startswith("421 4.7.28")
        assert c.line() == ""


def test_scripts_at_each_stage(sink):
    sink.script({"profile": "smtp", "token": "b@"}, [
        {"status": 451, "body": "4.7.1 greylisted", "headers": {"stage": "rcpt"}},
        {"status": 554, "headers": {"stage": "data"}},
        {"status": 452, "body": "4.3.1 full\nask later"},
        {"natural": True},
    ])
    with client(sink) as c:
        def send():
            try:
                return c.sendmail("a@x.test", ["b@y.test"], MAIL.format(id="m"))
            except smtplib.SMTPRecipientsRefused as e:
                return "rcpt", *e.recipients["b@y.test"]
            except smtplib.SMTPDataError as e:
                return "data", e.smtp_code, e.smtp_error
        assert c.sendmail("a@x.test", ["other@y.test"], MAIL.format(id="other")) == {}, "the script is for b@"
        assert send() == ("rcpt", 451, b"4.7.1 greylisted")
        assert send()[:2] == ("data", 554)
        assert send() == ("data", 452, b"4.3.1 full\nask later")
        assert send() == {}
    assert sink.scripts() == [] and sink.dump() == {("smtp", "other"): 1, ("smtp", "m"): 1}


@pytest.mark.parametrize("fault, taken", [("close", 0), ("reset", 0), ("truncate", 1), ("garbage", 0)])
def test_lost_answers(sink, fault, taken):
    sink.script({"profile": "smtp"}, [{"fault": fault, "natural": True}])
    with pytest.raises((smtplib.SMTPException, OSError)), client(sink) as c:
        c.sendmail("a@x.test", ["b@y.test"], MAIL.format(id="m"))
        c.noop()
    assert sink.ledger("smtp")["requests"] == 1
    if fault == "truncate":
        assert sink.accepted("smtp", "m") == taken


def test_late_answers_keep_their_order(sink):
    """Pipelined: what follows the dot is answered behind it, however late that is."""
    sink.script({"profile": "smtp"}, [{"status": 250, "body": "2.0.0 late", "delay_ms": 300}])
    with Raw(sink) as c:
        c.envelope()
        started = time.monotonic()
        c.say("DATA")
        assert c.line().startswith("354")
        c.say("Subject: x\r\n\r\nx\r\n.\r\nNOOP\r\nMAIL FROM:<>\r\nRCPT TO:<c@y.test>\r\nDATA\r\nSubject: y\r\n\r\n.\r\nQUIT")
        got = [c.line() for _ in range(7)]
        assert time.monotonic() - started > 0.28
        assert got[0] == "250 2.0.0 late" and [g[:3] for g in got] == ["250", "250", "250", "250", "354", "250", "221"]
        assert c.line() == ""
    assert [r.headers["mail-from"] for r in sink.requests()] == ["a@x.test", ""]


def test_slow_and_huge(sink):
    sink.knobs(connection={"trickle_ms": 1, "huge_bytes": 200_000})
    sink.script({"profile": "smtp"}, [{"fault": "slow", "status": 250, "body": "2.0.0 slowly"}, {"fault": "huge"}])
    with Raw(sink) as c:
        for expected in ("250 2.0.0 slowly", None):
            c.envelope()
            assert c.ask("DATA").startswith("354")
            c.say("x\r\n.\r\nNOOP")
            got = c.line()
            assert got == expected if expected else len(got) > 200_000
            if expected:
                assert c.line() == "250 2.0.0 ok"


def test_knobs_of_the_profile(sink):
    sink.knobs({"smtp": {"rate_limit": {"per_second": 0.001, "burst": 1}}})
    with client(sink) as c:
        assert c.sendmail("a@x.test", ["b@y.test"], MAIL.format(id="1")) == {}
        with pytest.raises(smtplib.SMTPDataError) as e:
            c.sendmail("a@x.test", ["b@y.test"], MAIL.format(id="2"))
        assert (e.value.smtp_code, e.value.smtp_error[:5]) == (450, b"4.7.1")
    sink.knobs({"smtp": {"rate_limit": None}}, {"goaway_after": 1})
    with Raw(sink) as c:
        c.envelope()
        c.ask("DATA")
        assert c.ask("x\r\n.").startswith("250 ") and c.line().startswith("421 4.3.2") and c.line() == ""


def test_starttls_and_auth():
    with Sink("--smtp", "127.0.0.1:0", "--smtp-user", "ann:s3cret:x", "--smtp-user", "bob:", clear=False, tls=False) as s:
        with client(s) as c:
            with pytest.raises(smtplib.SMTPSenderRefused) as e:
                c.sendmail("a@x.test", ["b@y.test"], MAIL.format(id="no"))
            assert e.value.smtp_code == 530
            with pytest.raises(smtplib.SMTPAuthenticationError):
                c.login("ann", "wrong")
        for mechanism in ("PLAIN", "LOGIN"):
            c = smtplib.SMTP("localhost", s.ports["smtp"], timeout=20)
            c.starttls(context=ssl.create_default_context(cafile=s.ca))
            c.ehlo()
            assert not c.has_extn("starttls")
            c.esmtp_features["auth"] = mechanism
            assert c.login("ann", "s3cret:x")[0] == 235
            assert c.sendmail("a@x.test", ["b@y.test"], MAIL.format(id=mechanism)) == {}
            c.quit()
        assert s.dump() == {("smtp", "PLAIN"): 1, ("smtp", "LOGIN"): 1}
        assert all(r.raw["tls"] and r.headers["auth"] == "ann" for r in s.requests())


def test_words_in_clear_behind_starttls_are_dropped(sink):
    with Raw(sink) as c:
        assert c.ask("HELO c").startswith("250")
        assert c.ask("STARTTLS\r\nMAIL FROM:<evil@x.test>\r\nRCPT TO:<b@y.test>").startswith("220")
        tls = ssl.create_default_context(cafile=sink.ca).wrap_socket(c.s, server_hostname="localhost")
        tls.sendall(b"RCPT TO:<c@y.test>\r\n")
        assert tls.recv(100).startswith(b"503"), "MAIL of before TLS is forgotten"
        tls.close()


def test_wrong_words(sink):
    with Raw(sink) as c:
        for line, code in [("MAIL FROM:<a@x>", "503 5.5.1 say EHLO"), ("NONSENSE", "500"), ("HELO c", "250"), ("RCPT TO:<b@y>", "503"), ("DATA", "503"),
                           ("MAIL FROM:a@x", "501"), ("MAIL TO:<a@x>", "501"), ("MAIL FROM:<a@x> SIZE=99999999999", "552"), ("MAIL FROM:<>", "250"),
                           ("MAIL FROM:<>", "503"), ("DATA", "554 5.5.1 there is no recipient"), ("RCPT TO:<>", "501"), ("RCPT TO:<b@y>", "250"),
                           ("RSET", "250"), ("DATA", "503"), ("AUTH NTLM", "504"), ("AUTH PLAIN !!", "501"), ("VRFY x", "252"), ("NOOP", "250")]:
            assert c.ask(line).startswith(code), line
    assert sink.ledger("smtp")["requests"] == 0


def test_limits(sink):
    with Raw(sink) as c:  # a line
        assert c.ask("NOOP " + "x" * 5000).startswith("500 5.5.6") and c.line() == ""
    with Raw(sink) as c:  # a line that never ends
        c.s.sendall(b"x" * 5000)
        assert c.line().startswith("500 5.5.6") and c.line() == ""
    with Raw(sink) as c:  # recipients
        c.envelope()
        for _ in range(59):
            assert c.ask("RCPT TO:<b@y.test>").startswith("250")
        assert c.ask("RCPT TO:<b@y.test>").startswith("452 4.5.3")
        assert c.ask("DATA").startswith("354"), "those before it are good"
    with Raw(sink) as c:  # wrong commands
        got = [c.ask("WHAT")[:3] for _ in range(20)]
        assert got == ["500"] * 20 and c.line().startswith("421 4.7.0") and c.line() == ""
    with Sink("--smtp", "127.0.0.1:0", "--max-body", "64KiB", clear=False, tls=False) as s:
        with Raw(s) as c:
            c.envelope()
            c.ask("DATA")
            c.s.sendall(b"x" * 200_000 + b"\r\n" + b"y" * 200_000)  # two lines longer than all it keeps
            assert c.ask("\r\n.").startswith("552 5.3.4")
            assert c.ask("NOOP").startswith("250")
        assert s.ledger("smtp")["accepted_requests"] == 0


def test_a_client_that_does_not_read(sink):
    with Raw(sink) as c:
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            for _ in range(4000):
                c.s.sendall(b"EHLO c\r\n" * 8192)
    with Raw(sink) as c:
        c.envelope()
        sink.script({"profile": "smtp"}, [{"status": 250, "delay_ms": 60_000}])
        assert c.ask("RSET").startswith("250") and c.ask("MAIL FROM:<>").startswith("250") and c.ask("RCPT TO:<b@y.test>").startswith("250")
        assert c.ask("DATA").startswith("354")
        c.say(".")
        c.s.sendall(b"NOOP\r\n" * 400_000)
        assert c.line().startswith("421 4.3.2") and c.line() == ""


def test_a_long_line_is_one(sink):
    """Taken in pieces: a dot where a piece begins is a dot."""
    text = "x" * 65536 + "." + "y" * 65535 + "." * 70000
    with Raw(sink) as c:
        c.envelope()
        c.ask("DATA")
        for i in range(0, len(text), 65536):
            c.s.sendall(text[i:i + 65536].encode())
        assert c.ask("\r\n.").startswith("250")
    assert sink.ledger("smtp")["accepted_requests"] == 1
    with Sink("--smtp", "127.0.0.1:0", "--keep-body", "1MiB", clear=False, tls=False) as s, Raw(s) as c:
        c.envelope()
        c.ask("DATA")
        c.s.sendall(text.encode())
        c.ask("\r\n.")
        assert s.requests()[0].body == text.encode() + b"\r\n"


def test_bad_user_option():
    rc, out, err = run("--smtp", "127.0.0.1:0", "--smtp-user", "ann")
    assert rc == 2 and "USER:PASSWORD" in err and out == ""
