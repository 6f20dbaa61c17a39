"""Mails that come back: what a mail server hands over becomes the state of the mail and an entry on the list."""
import urllib.parse

import pytest
from conftest import ROOT, http, wait_for
from test_i41_smtp_auth import Mailer

TOKEN = "0123456789abcdef"
MAILS = ROOT / "tests/unit/adapter/vectors/dsn"
ID = "01HF7YAT00E008000000000001"  # of the mails that are about one


@pytest.fixture
def server():
    with Mailer("PLAIN") as s:
        yield s
        s.shutdown()


@pytest.fixture
def e(engine, sink, redis, server):
    return engine(sink, redis, channels={"mail": {
        "adapter": "email/smtp", "host": "127.0.0.1", "port": server.server_address[1], "security": "none", "from": "news@example.com",
        "bounces": "bounces@example.com", "callback_token": TOKEN}})


def hand_over(e, name, id, token=TOKEN):
    mail = (MAILS / f"{name}.eml").read_bytes().replace(ID.encode(), id.encode()).replace(ID.lower().encode(), id.lower().encode())
    return http("POST", e.url(f"/v1/callbacks/mail?token={token}"), mail, {"Content-Type": "message/rfc822"}).status


def send(e, to):
    id = e.send(channel="mail", to=to, content={"title": "t", "body": "hi"})
    e.wait_state(id, "sent")
    return id


def reason(e, id):
    return e.message(id).get("reason", "").split(" ")[0]


def on_list(e, address):
    return [x["reason"] for x in http("GET", e.url(f"/v1/suppressions?address={urllib.parse.quote(address)}"), None, e.headers()).json["suppressions"]]


@pytest.mark.parametrize("name,listed", [("postfix", True), ("exim", True), ("exchange", True), ("exchange_full", False), ("policy", False),
                                         ("postfix_several", False), ("qmail_letter", False), ("postfix_expired", False)])
def test_a_bounce(e, server, name, listed):
    id = send(e, "bo@example.net")
    assert server.senders == [f"<bounces+{id.lower()}@example.com>"]
    assert hand_over(e, name, id, token="x" * 16) == 403
    assert on_list(e, "bo@example.net") == [] and reason(e, id) == ""
    assert hand_over(e, name, id) == 200
    wait_for(lambda: reason(e, id) in ("failed", "delivered"), 10, "the mail says that it came back")
    # The address of the mail, whoever the report names.
    assert on_list(e, "bo@example.net") == (["hard_bounce"] if listed else [])
    assert on_list(e, "nobody@example.net") == []


def test_what_is_no_bounce_changes_nothing(e):
    id = send(e, "bo@example.net")
    for name in ("vacation", "postfix_delayed"):
        assert hand_over(e, name, id) == 200
    assert hand_over(e, "complaint", id) == 200
    wait_for(lambda: on_list(e, "bo@example.net") == ["complaint"], 10, "the complaint is on the list")
    assert reason(e, id) == ""


def test_a_bounce_of_a_mail_nobody_sent_puts_nobody_on_the_list(e):
    assert hand_over(e, "postfix", "01HF7YAT00E008000000000009") == 200
    wait_for(lambda: e.metric("hermod_callback_events_unknown_total") == 1, 10, "counted as unknown")
    assert on_list(e, "nobody@example.net") == []
