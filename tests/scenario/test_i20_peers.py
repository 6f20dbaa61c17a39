"""What the engine signs, judged by programs of others (tests/peers); what it sends, taken by servers of others."""
import base64
import json
import os
import re
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ed25519

from adapter_cases import all_cases
from conftest import ROOT, channels_to, free_port
from sink_client import end_with_parent
from stage import Stage

PEERS = ROOT / "build" / "peers"
if not (PEERS / "node_modules").is_dir():
    pytest.skip("build/peers is not there: ./dev test installs it", allow_module_level=True)

OLD = "whsec_" + base64.b64encode(b"a secret that is being replaced").decode()
SEED = bytes(range(32))
PRIVATE = "whsk_" + base64.b64encode(SEED).decode()
PUBLIC = "whpk_" + base64.b64encode(
    ed25519.Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes(ser.Encoding.Raw, ser.PublicFormat.Raw)).decode()
TOKEN = "123456789:AAtelegram-token"

# Whoever signs as AWS does, wherever it is in the tree.
AWS = [f"{f.parent.name}/{f.stem}" for f in sorted((ROOT / "adapters").glob("*/*.yaml")) if re.search("AWS4-HMAC-SHA256|scheme: sigv4", f.read_text())]
CASES = all_cases()


def b64(data):
    return base64.b64encode(data).decode()


class Judge:
    def __init__(self):
        self.p = subprocess.Popen(["node", str(ROOT / "tests/peers/judge.js")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  env=dict(os.environ, PEERS=str(PEERS)), preexec_fn=end_with_parent)

    def ask(self, kind, **question):
        self.p.stdin.write((json.dumps({"kind": kind, **question}) + "\n").encode())
        self.p.stdin.flush()
        line = self.p.stdout.readline()
        assert line, "the judge has ended"
        return json.loads(line)

    def agrees(self, kind, **question):
        a = self.ask(kind, **question)
        assert a["ok"], a
        return a

    def refuses(self, kind, **question):
        a = self.ask(kind, **question)
        assert not a["ok"], a
        return a["error"]


@pytest.fixture(scope="module")
def judge():
    j = Judge()
    yield j
    j.p.stdin.close()
    assert j.p.wait(30) == 0


@pytest.fixture(scope="module")
def telegram(judge):
    port = free_port()
    yield judge.agrees("telegram", port=port)["url"]
    judge.agrees("telegram_stop")


@pytest.fixture(scope="module")
def stage(tmp_path_factory, keys, telegram):
    def channels(sink, keys):
        own = {"adapter": "webhook/standard", "url": sink.tls_url + "/t/hook", "endpoint": {"ca_file": sink.ca}}
        return channels_to(sink, keys) | {
            "rotating": own | {"secrets": [keys.webhook_secret, OLD, PRIVATE]},
            "telegram": {"adapter": "chat/telegram", "token": TOKEN, "endpoint": {"url": telegram}},
        } | {name.replace("/", "-"): {"adapter": name, **CASES[name].settings,
                                      # No path in front: it would be signed, or not, as the file sees it.
                                      "endpoint": {"url": sink.tls_url, "ca_file": sink.ca}} for name in AWS}
    with Stage(tmp_path_factory.mktemp("peers"), keys, channels=channels) as s:
        yield s


def sent(stage, channel, to, **content):
    """Sends, and gives the requests it made."""
    before = len(stage.sink.requests())
    id = stage.engine.send(channel=channel, to=to, content={"title": "Price drop", "body": "Only 3 left: ünïcödé & 你好"} | content)
    stage.engine.wait_state(id, "sent")
    return id, stage.sink.requests()[before:]


def test_webhook_by_every_live_secret(stage, judge, keys):
    """Three secrets at once, as while one replaces another: whoever has one of them finds the message genuine."""
    stage.sink.script({"path": "/t/hook"}, [{"status": 204, "accept": True}])
    id, (r,) = sent(stage, "rotating", "customer-1")
    assert len(r.headers["webhook-signature"].split(" ")) == 3
    for secret in (keys.webhook_secret, OLD):
        a = judge.agrees("webhook", secret=secret, headers=r.headers, body=b64(r.body))
        assert a["payload"]["data"]["body"] == "Only 3 left: ünïcödé & 你好" and a["payload"]["data"]["id"] == id
    judge.agrees("webhook_ed25519", public=PUBLIC, headers=r.headers, body=b64(r.body))
    # Neither takes another body, another id or another secret.
    judge.refuses("webhook", secret=keys.webhook_secret, headers=r.headers, body=b64(r.body + b" "))
    judge.refuses("webhook", secret=OLD, headers=r.headers | {"webhook-id": "x"}, body=b64(r.body))
    judge.refuses("webhook", secret="whsec_" + b64(b"of somebody else entirely"), headers=r.headers, body=b64(r.body))
    judge.refuses("webhook_ed25519", public=PUBLIC, headers=r.headers, body=b64(r.body + b" "))


def test_webhook_is_signed_anew_at_every_attempt(stage, judge, keys):
    """The id stays, for the receiver to know the repeat by; the time is of the attempt, and the signature is of that time."""
    stage.sink.script({"path": "/t/hook"}, [{"status": 500}, {"status": 200, "accept": True}])
    id, (first, second) = sent(stage, "rotating", "customer-2")
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == id and first.body == second.body
    for r in (first, second):
        judge.agrees("webhook", secret=keys.webhook_secret, headers=r.headers, body=b64(r.body))


def public_of(path):
    key = ser.load_pem_private_key(path.read_bytes(), None)
    return key.public_key().public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo).decode()


def test_apns_token(stage, judge, keys):
    _, (r,) = sent(stage, "apns-sink", "1" * 64)
    scheme, token = r.headers["authorization"].split(" ")
    a = judge.agrees("jwt", token=token, key=public_of(keys.apns), alg="ES256", issuer="DEF123GHIJ")
    assert scheme == "bearer" and a["header"]["kid"] == "ABC123DEFG" and set(a["claims"]) == {"iss", "iat"}
    assert "signature" in judge.refuses("jwt", token=token[:-8] + "AAAAAAAA", key=public_of(keys.apns), alg="ES256")


def test_service_account_assertion(stage, judge, keys):
    _, requests = sent(stage, "fcm-sink", "f" * 40)
    (exchange,) = [r for r in stage.sink.requests() if r.path == "/token"]
    form = dict(p.split("=", 1) for p in exchange.body.decode().split("&"))
    a = judge.agrees("jwt", token=form["assertion"], key=public_of(keys.fcm_key), alg="RS256", issuer="sender@demo-project.iam.gserviceaccount.com",
                     audience="https://oauth2.googleapis.com/token")
    assert a["claims"]["scope"] == "https://www.googleapis.com/auth/firebase.messaging" and a["claims"]["exp"] - a["claims"]["iat"] == 3600
    assert a["header"]["kid"] == "0123456789abcdef" and requests[-1].status == 200


@pytest.mark.parametrize("name", AWS)
def test_aws_signature(stage, judge, name):
    """Signed again by AWS's own signer and by another one, over what arrived."""
    c = CASES[name]
    stage.sink.script({"path": c.path}, [c.yes])
    _, requests = sent(stage, name.replace("/", "-"), c.to)
    r = requests[-1]
    id, secret = ([v for k, v in c.settings.items() if k.endswith(e)][0] for e in ("key_id", "secret_access_key"))
    q = {"method": r.method, "host": r.headers.get("host") or r.headers[":authority"], "path": r.path, "headers": r.headers, "id": id, "secret": secret}
    judge.agrees("sigv4", body=b64(r.body), **q)
    judge.refuses("sigv4", body=b64(r.body + b" "), **q)


def test_telegram_server(stage, judge):
    """A Bot API of somebody else's: it takes the message and counts it, and the id is the one it gave."""
    content = {"format": "markdown", "title": "Price drop", "body": "Only **3** left <soon> & [here](https://x.example.com/a)",
               "buttons": [{"text": "Buy", "url": "https://x.example.com/buy"}]}
    id = stage.engine.send(channel="telegram", to="4711", content=content)
    m = stage.engine.wait_state(id, "sent")
    (got,) = [x for x in judge.agrees("telegram_messages")["messages"] if x["message"]["chat_id"] == "4711"]
    assert got["botToken"] == TOKEN
    assert got["message"]["text"] == '<b>Price drop</b>\nOnly <b>3</b> left &lt;soon&gt; &amp; <a href="https://x.example.com/a">here</a>'
    assert got["message"]["reply_markup"] == {"inline_keyboard": [[{"text": "Buy", "url": "https://x.example.com/buy"}]]}
    assert [a["provider_id"] for a in m["attempts"]] == [f"4711/{got['messageId']}"]
