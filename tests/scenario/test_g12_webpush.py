"""Web Push through a real engine: what arrives can be opened by the browser it was for, and by nobody else."""
import functools
import json
import os
import pathlib
import shutil
import subprocess

import pytest

from browser import Browser, b64, vapid
from conftest import channels_to
from stage import Stage

VAPID = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
# Further readers of the format, from npm; they are asked too where they can be had.
NPM = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "hermod-npm"
OPEN_JS = """
const ece = require('http_ece'), crypto = require('crypto');
let input = JSON.parse(require('fs').readFileSync(0));
const key = crypto.createECDH('prime256v1');
key.setPrivateKey(Buffer.from(input.private, 'base64url'));
process.stdout.write(ece.decrypt(Buffer.from(input.body, 'base64url'),
  {version: 'aes128gcm', privateKey: key, authSecret: input.auth}));
"""
SEND_JS = """
const webpush = require('web-push');
const input = JSON.parse(require('fs').readFileSync(0));
const r = webpush.generateRequestDetails(JSON.parse(input.subscription), input.text,
  {vapidDetails: {subject: 'mailto:ops@example.com', publicKey: input.public, privateKey: input.private}, TTL: 60});
console.log(JSON.stringify({headers: r.headers, body: r.body.toString('base64url')}));
"""


@functools.cache
def npm():
    if not (NPM / "node_modules" / "web-push").exists():
        if not shutil.which("npm"):
            pytest.skip("npm is not installed")
        NPM.mkdir(parents=True, exist_ok=True)
        r = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--prefix", NPM, "http_ece@1.2.1", "web-push@3.6.7"], capture_output=True,
                           text=True, timeout=300)
        if r.returncode:
            pytest.skip(f"http_ece and web-push cannot be had from npm: {r.stderr.strip().splitlines()[-1:]}")
    return NPM


def node(script, **given):
    r = subprocess.run(["node", "-e", script], input=json.dumps(given), capture_output=True, text=True, timeout=60, cwd=npm())
    assert r.returncode == 0, r.stderr
    return r.stdout


def channels(sink, keys):
    at = {"endpoint": {"ca_file": sink.ca}, "vapid_key": VAPID, "contact": "mailto:ops@example.com"}
    return channels_to(sink, keys) | {
        "browsers": {"adapter": "push/webpush", "allow_private": True, **at},
        "guarded": {"adapter": "push/webpush", **at},
    }


@pytest.fixture(scope="module")
def stage(tmp_path_factory, keys):
    with Stage(tmp_path_factory.mktemp("webpush"), keys, channels=channels) as s:
        yield s


def push(stage, browser, content, path, channel="browsers", reply=None, state="sent", **more):
    stage.sink.script({"path": path}, [reply or {"status": 201, "accept": True, "headers": {"location": "https://push.example.net/m/1"}}])
    id = stage.engine.send(channel=channel, to=browser.subscription(stage.sink.tls_url + path), content=content, **more)
    m = stage.engine.wait_state(id, state)
    return m, [r for r in stage.sink.requests() if r.path == path]


def test_a_message_arrives(stage):
    browser = Browser()
    m, (r,) = push(stage, browser, {"title": "Order", "body": "Arrives **Friday**, Grüße", "format": "markdown", "url": "https://x.example/8841",
                                    "data": {"order": 8841}, "options": {"collapse": "order-8841", "priority": "high", "ttl": 60}}, "/push/1")
    shown = json.loads(browser.open(r.body))
    assert shown == {"title": "Order", "body": "Arrives Friday, Grüße", "tag": "order-8841", "url": "https://x.example/8841", "id": m["id"],
                     "data": {"order": 8841}}
    assert r.headers["content-encoding"] == "aes128gcm" and r.headers["ttl"] == "60" and r.headers["urgency"] == "high"
    assert len(r.headers["topic"]) == 32
    claims, key = vapid(r.headers["authorization"])
    assert claims["aud"] == stage.sink.tls_url and claims["sub"] == "mailto:ops@example.com"
    assert key == Browser(VAPID).point
    with pytest.raises(Exception):
        Browser().open(r.body)


def test_one_token_for_all_of_an_origin(stage):
    browser = Browser()
    seen = [push(stage, browser, {"body": str(i)}, f"/push/origin/{i}")[1][0] for i in range(3)]
    # Each shard signs its own.
    assert len({r.headers["authorization"] for r in seen}) <= 2
    assert len({r.body[:86] for r in seen}) == 3, "salt and key are new for each"


def test_the_longest_text(stage):
    browser = Browser()
    _, (r,) = push(stage, browser, {"title": "Order", "body": "Grüße, " * 2000}, "/push/long")
    assert len(r.body) <= 4028
    assert json.loads(browser.open(r.body))["body"].endswith("…")


def test_a_browser_that_is_gone(stage):
    m, (r,) = push(stage, Browser(), {"body": "b"}, "/push/gone", reply={"status": 410}, state="failed")
    assert [a["outcome"] for a in m["attempts"]] == ["invalid_recipient"]


def test_private_addresses_are_not_called(stage):
    before = len(stage.sink.requests())
    id = stage.engine.send(channel="guarded", to=Browser().subscription(stage.sink.tls_url + "/push/private"), content={"body": "b"})
    m = stage.engine.wait_state(id, "failed")
    assert m["attempts"][-1]["outcome"] == "bad_request" and len(stage.sink.requests()) == before


def test_http_ece_opens_it(stage):
    npm()
    browser = Browser()
    _, (r,) = push(stage, browser, {"body": "I am the walrus"}, "/push/npm")
    private = b64(browser.key.private_numbers().private_value.to_bytes(32, "big"))
    assert json.loads(node(OPEN_JS, private=private, auth=b64(browser.auth), body=b64(r.body)))["body"] == "I am the walrus"


def test_web_push_sends_the_same(stage):
    """The reader of these tests opens what another sender made, and its token has the same claims."""
    npm()
    browser = Browser()
    made = json.loads(node(SEND_JS, subscription=browser.subscription("https://push.example.net/1"), text="hello", private=VAPID,
                           public=b64(Browser(VAPID).point)))
    from browser import unb64
    assert browser.open(unb64(made["body"])) == b"hello"
    _, (r,) = push(stage, browser, {"body": "b"}, "/push/same")
    theirs, ours = vapid(made["headers"]["Authorization"])[0], vapid(r.headers["authorization"])[0]
    assert set(theirs) == set(ours) and theirs["sub"] == ours["sub"]
