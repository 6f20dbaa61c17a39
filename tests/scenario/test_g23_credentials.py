"""One token for all processes: fetched once, taken over by the others, refresh tokens that change with each use."""
import shutil
from urllib.parse import parse_qs

import pytest
from conftest import ROOT, wait_for

SHARED = """
adapter: {name: chat/shared, title: A chat where a new token ends the old one}
settings:
  secret: {required: true, secret: true, doc: Secret.}
endpoint: {url: "https://shared.example"}
address: {max: 50, what: a name}
credential:
  key: one
  exchange:
    request: {method: POST, path: /get/token, form: {secret: "${settings.secret}"}}
    answer: {success: "status == 200 && answer.token"}
    token: answer.token
    expires: {from: answer.expires_in, as: seconds}
request:
  path: /s/${to}
  headers: {authorization: "Bearer ${credential}"}
  json: {text: "${body}"}
answer: {success: status == 200, format: none}
outcomes: [{status: 401, outcome: auth, refresh: true}]
"""
ROTATING = SHARED.replace("chat/shared", "chat/rotating").replace("/get/token", "/get/rotated").replace("/s/", "/r/") \
    .replace("settings:\n", "settings:\n  refresh: {required: true, secret: true, doc: First refresh token.}\n") \
    .replace("  key: one\n", "  key: two\n  refresh_token: ${settings.refresh}\n") \
    .replace("form: {", 'form: {refresh_token: "${refresh_token}", ') \
    .replace("    token: answer.token\n", "    token: answer.token\n    refresh_token: answer.next\n")


@pytest.fixture
def start(engine, sink, redis, tmp_path):
    folder = tmp_path / "adapters"
    shutil.copytree(ROOT / "adapters", folder)
    (folder / "chat" / "shared.yaml").write_text(SHARED)
    (folder / "chat" / "rotating.yaml").write_text(ROTATING)
    endpoint = {"url": sink.tls_url, "ca_file": sink.ca}

    def make(name="a", refresh="first-of-all"):
        return engine(sink, redis, name=name, settings={"adapters": {"dir": str(folder)}, "node": {"name": name}}, channels={
            "shared": {"adapter": "chat/shared", "secret": "s3cret", "endpoint": endpoint},
            "rotating": {"adapter": "chat/rotating", "secret": "s3cret", "refresh": refresh, "endpoint": endpoint}})
    return make


def asked(sink, path):
    return [parse_qs(r.body.decode()) for r in sink.requests() if r.path == path]


def used(sink, path):
    return [r.headers["authorization"] for r in sink.requests() if r.path == path]


def send(e, sink, channel, to, requests=1):
    """Another process on the same Redis may be the one who takes it: the provider knows when it is done."""
    path = {"shared": "/s/", "rotating": "/r/"}[channel] + to
    before = len(used(sink, path))
    assert e.post("/v1/messages", {"channel": channel, "to": to, "content": {"body": "x"}}).status == 202
    wait_for(lambda: len(used(sink, path)) >= before + requests, what=f"{requests} requests to {path}")
    return used(sink, path)[before:]


def token(n, **more):
    return {"status": 200, "json": {"token": f"T{n}", "expires_in": 7200, **more}}


def test_one_fetch_for_all_processes(start, sink, redis):
    sink.script({"path": "/get/token"}, [token(n) for n in range(1, 6)])
    a, b = start("a"), start("b")

    def both():
        assert send(a, sink, "shared", "any") == ["Bearer T1"]
        return all(e.metric("hermod_attempts_total") > 0 for e in (a, b))
    wait_for(both, what="both have sent something")
    assert len(asked(sink, "/get/token")) == 1
    assert sorted(e.metric("hermod_token_fetches_total") for e in (a, b)) == [0, 1]
    # Refused at one: a new one is fetched.
    before = [e.metric("hermod_token_fetches_total") for e in (a, b)]
    sink.script({"path": "/s/first"}, [{"status": 401}])
    assert send(a, sink, "shared", "first", 2) == ["Bearer T1", "Bearer T2"]
    one, other = (a, b) if a.metric("hermod_token_fetches_total") > before[0] else (b, a)
    one.stop()
    # The other one, refused later, finds it and fetches none.
    sink.script({"path": "/s/second"}, [{"status": 401}])
    assert send(other, sink, "shared", "second", 2) == ["Bearer T1", "Bearer T2"]
    assert len(asked(sink, "/get/token")) == 2
    assert not redis.client.keys("*:lock")


def test_one_process_waits_for_the_other(start, sink, redis):
    """The second asks while the first waits for the provider: no second request, the same token."""
    sink.script({"path": "/get/token"}, [dict(token(1), delay_ms=1500), token(2)])
    a, b = start("a"), start("b")
    a.send(channel="shared", to="0", content={"body": "x"})
    wait_for(lambda: redis.client.keys("*:lock"), what="somebody fetches")
    for n in range(1, 20):
        a.send(channel="shared", to=str(n), content={"body": "x"})
    wait_for(lambda: all(used(sink, f"/s/{n}") for n in range(20)), what="all are sent")
    assert {t for n in range(20) for t in used(sink, f"/s/{n}")} == {"Bearer T1"} and len(asked(sink, "/get/token")) == 1
    assert a.alive() and b.alive()


def test_what_failed_is_tried_again(start, sink, redis):
    sink.script({"path": "/get/token"}, [{"status": 500}, token(1)])
    a = start("a")
    id = a.send(channel="shared", to="a1", content={"body": "x"})
    wait_for(lambda: asked(sink, "/get/token"), what="the first try")
    wait_for(lambda: not redis.client.keys("*:lock"), what="the lock is given back")
    a.advance(120_000)
    a.wait_state(id, "sent")
    assert used(sink, "/s/a1") == ["Bearer T1"]


def test_refresh_tokens_change_and_survive(start, sink, redis):
    sink.script({"path": "/get/rotated"}, [token(n, next=f"next-secret-{n}") for n in range(1, 5)])
    a = start("a")
    send(a, sink, "rotating", "x")
    assert asked(sink, "/get/rotated")[0]["refresh_token"] == ["first-of-all"]
    wait_for(lambda: redis.client.keys("*:refresh"), what="the next one is kept")
    a.kill9()
    a.start()
    # The token itself is still good, for other processes and for this one after the crash.
    send(a, sink, "rotating", "x")
    assert len(asked(sink, "/get/rotated")) == 1
    sink.script({"path": "/r/y"}, [{"status": 401}])
    send(a, sink, "rotating", "y", 2)
    assert asked(sink, "/get/rotated")[1]["refresh_token"] == ["next-secret-1"]
    b = start("b")
    sink.script({"path": "/r/z"}, [{"status": 401}])
    send(b, sink, "rotating", "z", 2)
    assert asked(sink, "/get/rotated")[2]["refresh_token"] == ["next-secret-2"]
    # Redis has them sealed, the log not at all.
    kept = b"".join(redis.client.get(k) if redis.client.type(k) == b"string" else b"".join(redis.client.hgetall(k).values())
                    for k in redis.client.keys("*:cred:*"))
    assert len(kept) > 100
    for text in (b"next-secret", b"first-of-all", b"T1", b"T2", b"T3"):
        assert text not in kept
    for e in (a, b):
        for text in ("next-secret", "first-of-all", "s3cret"):
            assert text not in e.log()
    # Another first one, entered by an operator, counts more than all that descended from the old one.
    a.stop()
    b.stop()
    c = start("c", refresh="entered-anew")
    assert send(c, sink, "rotating", "w") == ["Bearer T4"]
    assert asked(sink, "/get/rotated")[3]["refresh_token"] == ["entered-anew"]
