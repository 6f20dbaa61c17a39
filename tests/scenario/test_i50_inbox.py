"""The in-app inbox: a channel like others, read by users with tokens of their backend's, against real Redis and processes."""
import base64
import hashlib
import hmac
import http.client
import json
import queue
import shutil
import socket
import subprocess
import threading
import time

import pytest
from conftest import ROOT, SLOW, http as call_http, wait_for
from test_d10_redis import cluster  # noqa: F401: a fixture
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

SECRET = "0123456789abcdef0123456789abcdef"
APP = "https://app.example.com"


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwt(user, secret=SECRET, header=None, ttl=600, **claims):
    head = {"alg": "HS256", "typ": "JWT", **(header or {})}
    body = {"sub": user, "aud": "hermod-inbox", "exp": int(time.time()) + ttl, **claims}
    text = b64(json.dumps({k: v for k, v in head.items() if v is not None}).encode()) + "." + \
        b64(json.dumps({k: v for k, v in body.items() if v is not None}).encode())
    return text + "." + b64(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())


CHANNEL = {"app": {"adapter": "inbox/hermod"}}


def settings(**more):
    return {"inbox": {"token_keys": ["k1 HS256 " + SECRET], "origins": [APP], **more}}


class User:
    def __init__(self, engine, name, token=None):
        self.e, self.name, self.token = engine, name, token or jwt(name)

    def call(self, method, path="", body=None, **headers):
        return call_http(method, self.e.url("/v1/inbox" + path), body, {"Authorization": "Bearer " + self.token, **headers})

    def list(self, query=""):
        a = self.call("GET", query)
        assert a.status == 200, a.body
        return a.json

    def titles(self, query=""):
        return [i["title"] for i in self.list(query)["items"]]

    def counts(self):
        return self.call("GET", "/counts").json["counts"]

    def do(self, action, body):
        a = self.call("POST", "/" + action, body)
        assert a.status == 200, a.body
        return a.json


def put(e, user, title, final=True, **content):
    options = content.pop("options", {})
    id = e.send(channel="app", to=user, content={"title": title, "body": "text of " + title, **content, **({"options": options} if options else {})})
    if final:  # whichever node has sent it
        wait_for(lambda: id in stored(e, user), what=f"{title} is in the inbox of {user}")
    return id


def stored(e, user, state="all"):
    a = e.get(f"/v1/inbox/users/{user}?limit=100&state={state}")
    assert a.status == 200, a.body
    return [i["id"] for i in a.json["items"]]


def noted(e, id):
    return (e.message(id) or {}).get("reason") or ""


def counted(unread=0, read=0, archived=0):
    return {"unread": unread, "read": read, "archived": archived, "total": unread + read + archived}


def test_store_list_read_count(engine, redis):
    e = engine(redis=redis, channels=CHANNEL, settings=settings())
    u, other = User(e, "u-1"), User(e, "u-2")
    a = put(e, "u-1", "one", url="https://x.example/a", image="https://x.example/a.png", buttons=[{"text": "Open", "url": "https://x.example/b"}], data={"k": "v"})
    b = put(e, "u-1", "two", options={"category": "orders", "icon": "box"})
    page = u.list()
    assert [i["id"] for i in page["items"]] == [b, a] and page["counts"] == counted(unread=2) and "next" not in page
    one, two = page["items"][1], page["items"][0]
    assert (one["state"], one["title"], one["body"], one["format"], one["url"]) == ("unread", "one", "text of one", "plain", "https://x.example/a")
    assert one["data"] == {"k": "v"} and one["buttons"][0]["text"] == "Open" and one["created"] and one["expires"]
    assert two["category"] == "orders" and two["icon"] == "box"
    assert other.list()["items"] == [] and u.list("/" + a)["title"] == "one"
    assert other.call("GET", "/" + a).status == 404

    assert u.do("read", {"ids": [a]}) | {"at": ""} == {"changed": 1, "missing": 0, "counts": counted(1, 1), "at": ""}
    assert u.do("read", {"ids": [a]})["changed"] == 0
    assert u.counts() == counted(1, 1) and u.list("/" + a)["read"]
    assert u.titles("?state=unread") == ["two"] and u.titles("?state=read") == ["one"] and u.titles("?category=orders") == ["two"]
    wait_for(lambda: "read " in noted(e, a), what="the message is on record as read")
    wait_for(lambda: "delivered " in noted(e, b), what="the message is on record as delivered")
    assert "read " not in noted(e, b) and noted(e, a).count("read ") == 1
    assert u.do("archive", {"ids": [a, b]})["counts"] == counted(archived=2)
    assert u.titles() == [] and u.titles("?state=archived") == ["two", "one"] == u.titles("?state=all")
    assert u.do("unarchive", {"all": True})["counts"] == counted(1, 1)
    assert u.do("unread", {"ids": [a]})["counts"] == counted(2)
    assert u.call("DELETE", "/" + a).status == 200 and u.titles() == ["two"]
    assert u.call("DELETE", "/" + a).status == 404 and u.call("POST", "/" + a + "/read").status == 404
    assert u.call("POST", "/" + b + "/read").status == 200 and u.counts() == counted(read=1)
    e.assert_balanced()


class Stream:
    """GET /v1/inbox/stream, read by a thread: events as (name, data, id)."""

    def __init__(self, user, query="", **headers):
        self.c = http.client.HTTPConnection("127.0.0.1", user.e.port, timeout=60 * SLOW)
        auth = {} if "ticket=" in query else {"Authorization": "Bearer " + user.token}
        self.c.request("GET", "/v1/inbox/stream" + query, headers={**auth, **{k.replace("_", "-"): v for k, v in headers.items()}})
        self.r = self.c.getresponse()
        self.status, self.events, self.last, self.ended = self.r.status, queue.Queue(), None, False
        self.body = None if self.status == 200 else self.r.read()
        if self.status == 200:
            self.sock = self.c.sock or self.r.fp.raw._sock
            threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        name, data, id = "message", [], None
        try:
            for line in self.r:
                line = line.decode().rstrip("\n")
                if not line:
                    if data:
                        self.events.put((name, json.loads("\n".join(data)), id))
                    name, data, id = "message", [], None
                    continue
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    data.append(value)
                elif field == "id":
                    id = value
        except (OSError, ValueError, AttributeError):
            pass
        self.events.put(None)

    def next(self, name=None, seconds=20):
        e = self.events.get(timeout=seconds * SLOW)
        if e is None:
            self.ended = True
            return None
        self.last = e[2] or self.last
        assert name is None or e[0] == name, e
        return e[1]

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.c.close()


def pair(engine, redis, **more):
    """Two engines on one Redis."""
    return [engine(redis=redis, channels=CHANNEL, settings=settings(**more), name=n) for n in ("one", "two")]


def test_live_on_another_node(engine, redis):
    e1, e2 = pair(engine, redis)
    u = User(e1, "u-1")
    put(e2, "u-1", "before")
    s = Stream(u)
    assert s.status == 200 and s.r.headers["Content-Type"] == "text/event-stream"
    first = s.next("counts")
    assert first["counts"] == counted(unread=1)
    id = put(e2, "u-1", "hello")
    put(e2, "u-2", "not mine")
    ev = s.next("item")
    assert ev["item"]["id"] == id and ev["item"]["title"] == "hello" and ev["counts"] == counted(unread=2)
    User(e2, "u-1").do("read", {"ids": [id]})
    ev = s.next("changed")
    assert (ev["action"], ev["ids"], ev["counts"]) == ("read", [id], counted(1, 1)) and ev["at"] == s.last
    # away, and back where it was: what came meanwhile follows, once
    s.close()
    missed = [put(e2, "u-1", t) for t in ("three", "four")]
    s2 = Stream(u, Last_Event_ID=s.last)
    assert s2.next("counts")["counts"] == counted(3, 1)
    assert [s2.next("item")["item"]["id"] for _ in missed] == missed
    # what was marked meanwhile nobody can tell item by item
    s2.close()
    User(e2, "u-1").do("archive", {"ids": missed})
    s3 = Stream(u, "?at=" + s2.last)
    s3.next("counts")
    assert s3.next("reload")["counts"] == counted(1, 1, 2)
    # a page that lists and then listens misses nothing
    at = u.list()["at"]
    five = put(e2, "u-1", "five")
    s4 = Stream(u, "?at=" + at)
    s4.next("counts")
    assert s4.next("item")["item"]["id"] == five
    six = put(e1, "u-1", "six")
    assert s3.next("item")["item"]["title"] == "five" and s3.next("item")["item"]["id"] == six == s4.next("item")["item"]["id"]
    assert e1.metric("hermod_inbox_streams") == 2
    s3.close(), s4.close()
    wait_for(lambda: e1.metric("hermod_inbox_streams") == 0, what="the streams are closed")


def test_ticket_and_end_of_the_token(engine, redis):
    e, = [engine(redis=redis, channels=CHANNEL, settings=settings(leeway="0"))]
    u = User(e, "u-1", jwt("u-1", ttl=3600 - 60))
    t = u.call("POST", "/ticket").json["ticket"]
    s = Stream(u, "?ticket=" + t)
    assert s.status == 200 and s.next("counts")["counts"] == counted()
    assert Stream(u, "?ticket=" + t).status == 401 == Stream(u, "?ticket=" + "A" * 32).status == Stream(u, "?ticket=x").status
    assert Stream(u, "?at=zzz").status == 400
    e.advance(3600_000)
    while True:
        name = s.events.get(timeout=20 * SLOW)
        if name is None or name[0] == "end":
            break
    assert name and name[1] == {"reason": "token"} and s.events.get(timeout=20 * SLOW) is None
    assert u.call("GET").status == 401


def test_streams_are_counted(engine, redis):
    e1, e2 = pair(engine, redis, streams_per_user=2, max_streams=3)
    u1, u2 = User(e1, "u-1"), User(e2, "u-1")
    a, b = Stream(u1), Stream(u2)
    assert (a.status, b.status) == (200, 200)
    c = Stream(u1)
    assert c.status == 429 and c.r.headers["Retry-After"] and json.loads(c.body)["type"].endswith("rate-limited")
    b.close()
    wait_for(lambda: e2.metric("hermod_inbox_streams") == 0, what="it is gone")
    more = [wait_for(lambda: (lambda x: x if x.status == 200 else None)(Stream(u1)), what="its place is free")]
    more.append(Stream(User(e1, "u-2")))
    assert more[1].status == 200
    full = Stream(User(e1, "u-3"))
    assert full.status == 503 and b"max_streams" in full.body
    for s in [a, *more]:
        s.close()


def test_stream_survives_a_redis_restart(engine, redis):
    e = engine(redis=redis, channels=CHANNEL, settings=settings())
    u = User(e, "u-1")
    s = Stream(u)
    s.next("counts")
    redis.kill9()
    assert u.call("GET").status == 503
    redis.restart()
    e.wait_ready()
    wait_for(lambda: u.call("GET").status == 200, what="the inbox answers")
    id = put(e, "u-1", "after")
    assert s.next("item")["item"]["id"] == id
    s.close()


# -- who may ask --------------------------------------------------------------------------------------------


def refused(user, token=None, **headers):
    a = call_http("GET", user.e.url("/v1/inbox"), headers={"Authorization": "Bearer " + token, **headers} if token is not None else headers)
    assert a.status == 401 and a.json["type"] == "urn:hermod:problem:unauthorized" and a.headers["WWW-Authenticate"], (a.status, a.body)
    return a.json["detail"]


def signed(key, alg, user, kid=None):
    head = {"alg": alg, **({"kid": kid} if kid else {})}
    text = b64(json.dumps(head).encode()) + "." + b64(json.dumps({"sub": user, "aud": ["x", "hermod-inbox"], "exp": time.time() + 60.5}).encode())
    if alg == "RS256":
        sig = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    else:
        r, s = utils.decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        sig = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return text + "." + b64(sig)


def test_tokens(engine, redis, tmp_path):
    rsa_key, ec_key = rsa.generate_private_key(public_exponent=65537, key_size=2048), ec.generate_private_key(ec.SECP256R1())
    for name, k in (("rsa", rsa_key), ("ec", ec_key)):
        (tmp_path / f"{name}.pub").write_bytes(k.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    old, new = SECRET, "another secret that is as long as 32 bytes"
    keys = ["old HS256 ${env:OLD_SECRET}", "new HS256 " + new, "r HS256 " + "x" * 32, "r RS256 ${file:%s}" % (tmp_path / "rsa.pub"), "e ES256 ${file:%s}" % (tmp_path / "ec.pub")]
    e = engine(redis=redis, channels=CHANNEL, settings={"inbox": {"token_keys": keys}}, env={"OLD_SECRET": old})
    u = User(e, "u-1")
    put(e, "u-1", "mine")
    put(e, "u-2", "yours")
    for t in (jwt("u-1"), jwt("u-1", new), jwt("u-1", new, {"kid": "new"}), jwt("u-1", header={"kid": "old"}), signed(rsa_key, "RS256", "u-1"), signed(rsa_key, "RS256", "u-1", "r"),
              signed(ec_key, "ES256", "u-1"), signed(ec_key, "ES256", "u-1", "e")):
        assert User(e, "u-1", t).titles() == ["mine"]
    assert "signature" in refused(u, jwt("u-1", "f" * 32))
    assert "signature" in refused(u, jwt("u-1", new, {"kid": "old"}))
    assert "no key" in refused(u, jwt("u-1", header={"kid": "gone"}))
    assert "alg" in refused(u, jwt("u-1", header={"alg": "none"}))
    assert "signature" in refused(u, jwt("u-1", (tmp_path / "rsa.pub").read_text()))
    assert "signature" in refused(u, signed(ec.generate_private_key(ec.SECP256R1()), "ES256", "u-1"))
    assert "expired" in refused(u, jwt("u-1", ttl=-60))
    assert "inbox.max_token" in refused(u, jwt("u-1", ttl=7200))
    assert "no exp" in refused(u, jwt("u-1", exp=None))
    assert "aud" in refused(u, jwt("u-1", aud="shop")) and "aud" in refused(u, jwt("u-1", aud=None))
    assert "sub" in refused(u, jwt(None)) and "sub" in refused(u, jwt("a\nb"))
    assert "needed" in refused(u) and "JWT" in refused(u, "hk_1234") and "JWT" in refused(u, "")
    # a user is who the token says, whatever else is asked for
    assert u.titles("?user=u-2") == ["mine"] and u.call("POST", "/read", {"all": True, "user": "u-2"}).status == 422
    assert e.metric("hermod_inbox_tokens_refused_total") >= 12
    # secrets are not shown, and keys change without a restart
    out = e.get("/v1/admin/shard").body + e.log().encode()
    assert new.encode() not in out and old.encode() not in out
    e.config_file.write_text(e.config_file.read_text().replace(json.dumps(keys[0]), '"newest HS256 %s"' % ("n" * 40)))
    assert e.post("/v1/admin/reload").status in (200, 202)
    wait_for(lambda: u.call("GET").status == 401, what="the old key is gone")
    assert User(e, "u-1", jwt("u-1", "n" * 40)).titles() == ["mine"] == User(e, "u-1", jwt("u-1", new)).titles()


def test_wrong_keys_do_not_start(hermod, tmp_path):
    f = tmp_path / "h.yaml"
    for key, why in (("k HS256 hunter2", "at least 32 bytes"), ("k RS256 hunter2", "public key"), ("k none hunter2", "HS256"), ("hunter2", "<kid> <alg> <key>")):
        f.write_text(f'node: {{data_dir: {tmp_path}}}\ninbox:\n  token_keys: ["{key}"]\n')
        r = hermod("check", "--config", f)
        assert r.returncode and "inbox.token_keys" in r.stderr + r.stdout and why in r.stderr + r.stdout and "hunter2" not in r.stderr + r.stdout, r
        assert f"{f}:3" in r.stderr + r.stdout


def test_keys_are_never_printed(hermod, tmp_path):
    f = tmp_path / "h.yaml"
    f.write_text(f'node: {{data_dir: {tmp_path}}}\ninbox:\n  token_keys: ["k HS256 {SECRET}"]\n')
    many = {"HERMOD_INBOX_TOKEN_KEYS": ", ".join(["k HS256 " + SECRET] * 17)}
    for r in (hermod("check", "--config", f, "--show"), hermod("check", "--config", f, env=many), hermod("check", "--show", "--config", f, env={"HERMOD_INBOX_TOKEN_KEYS": "n HS256 " + SECRET})):
        assert "token_keys" in r.stdout + r.stderr and SECRET not in r.stdout + r.stderr, r


def test_wrong_origins_do_not_start(hermod, tmp_path):
    f = tmp_path / "h.yaml"
    for origin, ok in (("https://app.example.com", True), ("http://localhost:3000", True), ("*", True), ("capacitor://localhost", True), ("https://app.example.com/", False),
                       ("app.example.com", False), ("https://App.example.com", False), ("https://a\\r\\nX: y", False), ("https://" + "a" * 200, False), ("https://", False)):
        f.write_text(f'node: {{data_dir: {tmp_path}}}\ninbox:\n  origins: ["{origin}"]\n')
        r = hermod("check", "--config", f)
        assert (r.returncode == 0) == ok, (origin, r)
        assert ok or "inbox.origins" in r.stderr + r.stdout and f"{f}:3" in r.stderr + r.stdout


def test_answers_are_as_described(engine, redis):
    jsonschema = pytest.importorskip("jsonschema")
    e = engine(redis=redis, channels=CHANNEL, settings=settings())
    u, doc = User(e, "u-1"), e.get("/openapi.json").json
    id = put(e, "u-1", "one", url="https://x.example", buttons=[{"text": "t", "url": "https://x.example"}], data={"a": "b"}, options={"category": "c", "priority": "high", "thread": "t"})

    def check(a, path, method="get"):
        r = doc["paths"]["/v1/inbox" + path][method]["responses"][str(a.status)]
        if "$ref" in r:
            r = doc["components"]["responses"][r["$ref"].rsplit("/", 1)[1]]
        schema = r["content"][a.headers["Content-Type"]]["schema"]
        jsonschema.Draft202012Validator({**schema, "components": doc["components"]}).validate(a.json)
    check(u.call("GET"), "")
    check(u.call("GET", "/counts"), "/counts")
    check(u.call("GET", "/" + id), "/{id}")
    check(u.call("POST", f"/{id}/read"), "/{id}/read", "post")
    check(u.call("GET", "?state=all"), "")
    check(u.call("POST", "/unread", {"all": True}), "/unread", "post")
    check(u.call("POST", "/unread", {"typo": 1}), "/unread", "post")
    check(u.call("POST", "/ticket"), "/ticket", "post")
    check(e.get("/v1/inbox/users/u-1"), "/users/{user}")
    check(u.call("DELETE", "/" + id), "/{id}", "delete")
    check(u.call("GET", "/" + id), "/{id}")
    check(User(e, "u-1", "x").call("GET"), "")


def test_nobody_without_keys(engine, redis):
    e = engine(redis=redis, channels=CHANNEL)
    a = User(e, "u-1").call("GET")
    assert a.status == 403 and "inbox.token_keys" in a.json["detail"]
    id = e.send(channel="app", to="u 1/ü", content={"title": "for the backend"})
    wait_for(lambda: id in stored(e, "u%201%2F%C3%BC"), what="a user's id may be any text")
    assert e.post("/v1/inbox/users/u%201%2F%C3%BC/read", {"all": True}).json["changed"] == 1
    assert e.get("/v1/inbox/users/u%201%2F%C3%BC/counts").json["counts"] == counted(read=1)
    assert call_http("DELETE", e.url("/v1/inbox/users/u%201%2F%C3%BC")).status == 204
    assert stored(e, "u%201%2F%C3%BC") == [] and e.get("/v1/inbox/users/%00").status == 422 == e.get("/v1/inbox/users/" + "x" * 129).status


def test_pages_of_other_origins(engine, redis):
    e = engine(redis=redis, channels=CHANNEL, settings=settings())
    u = User(e, "u-1")
    a = u.call("GET", Origin=APP)
    assert a.headers["Access-Control-Allow-Origin"] == APP and a.headers["Vary"] == "Origin"
    a = u.call("GET", Origin="https://evil.example.com")
    assert a.status == 200 and a.headers["Access-Control-Allow-Origin"] is None and a.headers["Vary"] == "Origin"
    assert call_http("GET", e.url("/v1/inbox"), headers={"Origin": APP}).headers["Access-Control-Allow-Origin"] == APP  # so that the script sees the 401
    for path in ("", "/stream", "/" + "0" * 26 + "/read"):
        a = call_http("OPTIONS", e.url("/v1/inbox" + path), headers={"Origin": APP, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"})
        assert a.status == 204 and a.headers["Access-Control-Allow-Origin"] == APP and "authorization" in a.headers["Access-Control-Allow-Headers"]
    assert call_http("OPTIONS", e.url("/v1/inbox"), headers={"Origin": "null"}).status == 403
    s = Stream(u, Origin=APP)
    assert s.r.headers["Access-Control-Allow-Origin"] == APP
    s.close()


def test_bad_requests(engine, redis):
    e = engine(redis=redis, channels=CHANNEL, settings=settings(rate=100))
    u = User(e, "u-1")
    for query, field in (("?state=gone", "state"), ("?limit=0", "limit"), ("?limit=101", "limit"), ("?cursor=x", "cursor"), ("?cursor=0", "cursor"), ("?category=" + "c" * 65, "category")):
        a = u.call("GET", query)
        assert a.status == 400 and a.json["field"] == field, a.body
    for body, status in ((b"", 400), (b"[]", 400), (b"{", 400), ({}, 422), ({"ids": []}, 422), ({"ids": ["x"]}, 422), ({"ids": [1]}, 422), ({"ids": "x"}, 422), ({"all": False}, 422),
                         ({"all": True, "ids": ["0" * 26]}, 422), ({"ids": ["0" * 26], "before": "0" * 26}, 422), ({"all": True, "before": "x"}, 422), ({"all": True, "before": "0" * 26}, 422),
                         ({"all": True, "state": "x"}, 422), ({"typo": 1}, 422), ({"ids": ["0" * 26] * 1001}, 422)):
        a = u.call("POST", "/read", body)
        assert a.status == status and a.json["detail"], (body, a.status, a.body)
    assert u.do("read", {"ids": ["0" * 26] * 1000})["missing"] == 1000
    for method, path in (("PUT", ""), ("DELETE", "/counts"), ("GET", "/read")):
        assert u.call(method, path).status in (404, 405)
    assert u.call("GET", "/nothing").status == 404
    codes = {u.call("GET", "/counts").status for _ in range(400)}
    assert codes <= {200, 429}


# -- what is in it ------------------------------------------------------------------------------------------


def test_killed_between_storing_and_settling(engine, redis):
    e = engine(redis=redis, channels=CHANNEL, settings=settings(), env={"HERMOD_FAULTS": "inbox_stored:kill"})
    id = e.send(channel="app", to="u-1", content={"title": "once"}, campaign="killed")
    e.p.wait(30 * SLOW)
    assert redis.client.keys("*:ib:i:u-1"), "it was stored"
    e.env.pop("HERMOD_FAULTS")
    e.start()
    m = e.wait_state(id, "sent", "delivered")
    assert stored(e, "u-1") == [id] and User(e, "u-1").counts() == counted(1), m
    wait_for(lambda: "delivered " in noted(e, id), what="it is on record as delivered")
    # and once more by hand, as a lost answer would have it
    User(e, "u-1").do("delete", {"all": True})
    assert User(e, "u-1").counts() == counted()
    e.assert_balanced("killed")


def test_limits_expiry_and_collapse(engine, redis):
    e = engine(redis=redis, channels=CHANNEL, settings=settings(max_items=3, max_token="7d", keep="30d"))
    u = User(e, "u-1", jwt("u-1", ttl=6 * 86400))
    ids = [put(e, "u-1", t) for t in ("a", "b", "c")]
    u.do("archive", {"ids": ids[1:2]})
    put(e, "u-1", "d")
    assert u.titles("?state=all") == ["d", "c", "a"]
    put(e, "u-1", "e")
    assert u.titles() == ["e", "d", "c"]
    put(e, "u-1", "f", options={"collapse": "cart"})
    put(e, "u-1", "g", options={"collapse": "cart"})
    assert u.titles() == ["g", "e", "d"]
    put(e, "u-2", "soon", options={"ttl": 3600})
    id = e.send(channel="app", to="u-2", content={"title": "sale"}, expires=int(time.time() * 1000) + 7200_000)
    wait_for(lambda: id in stored(e, "u-2"), what="the sale is there")
    v = User(e, "u-2", jwt("u-2", ttl=6 * 86400))
    assert v.titles() == ["sale", "soon"]
    e.advance(3601_000)
    assert v.titles() == ["sale"] and v.counts() == counted(1)
    e.advance(3600_000)
    assert v.titles() == [] and u.titles() == ["g", "e", "d"]
    e.advance(30 * 86400_000)
    assert stored(e, "u-1") == []


def test_many_recipients_and_hostile_texts(engine, redis):
    e = engine(redis=redis, channels={"app": {"adapter": "inbox/hermod", "format": "html", "batch": 50}}, settings=settings())
    users = [f"user {i} \"'<>{{}}\\u" for i in range(120)]
    a = e.post("/v1/messages/batch", [{"channel": "app", "recipients": [{"addr": u} for u in users], "content": {"title": 'x"},{"a\\', "body": "<script>\u2028\r\n</script> ${x}"}, "campaign": "many"}])
    assert a.status == 202, a.body
    r = e.wait_final(120, "many")
    assert r["sent"] == 120
    for name in users[::20]:
        item, = User(e, name).list()["items"]
        assert item["title"] == 'x"},{"a\\' and "<script>" not in item["body"] and "&lt;script&gt;" in item["body"] and item["format"] == "html"
    id = e.send(channel="app", to="u" * 129, content={"title": "x"})
    assert "user id" in json.dumps(e.wait_state(id, "failed"))
    big = e.send(channel="app", to="u-9", content={"title": "big", "body": "x", "data": {"k": "v" * 17000}})
    assert e.wait_state(big, "failed", "sent")["state"] == "failed" and stored(e, "u-9") == []


def test_redis_away(engine, redis):
    e = engine(redis=redis, channels=CHANNEL, settings=settings())
    u = User(e, "u-1")
    put(e, "u-1", "before")
    redis.kill9()
    for a in (u.call("GET"), u.call("POST", "/read", {"all": True}), u.call("POST", "/ticket"), u.call("GET", "/stream")):
        assert a.status == 503 and a.headers["Retry-After"], a.body
    redis.restart()
    e.wait_ready()
    wait_for(lambda: all(u.call("GET").status == 200 for _ in range(6)), what="the inbox answers")
    assert u.do("read", {"all": True})["counts"]["read"] == 1


def test_slow_reader_is_cut_off(engine, redis):
    e = engine(redis=redis, channels=CHANNEL, settings=settings())
    u = User(e, "u-1")
    with socket.create_connection(("127.0.0.1", e.port)) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.sendall(f"GET /v1/inbox/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {u.token}\r\n\r\n".encode())
        wait_for(lambda: e.metric("hermod_inbox_streams") == 1, what="it listens")
        for i in range(900):
            e.send(channel="app", to="u-1", content={"title": f"n{i}", "body": "x" * 9000}, campaign="slow")
        e.wait_final(900, "slow")
        wait_for(lambda: e.metric("hermod_inbox_streams") == 0, what="it is cut off")
    assert len(stored(e, "u-1")) == 100


def test_reads_reach_the_ledger_of_another_node(engine, redis):
    e1, e2 = pair(engine, redis)
    ids = [put(e1, "u-1", f"m{i}") for i in range(10)]
    User(e2, "u-1").do("read", {"all": True})
    for id in ids:
        wait_for(lambda: any("read " in noted(e, id) for e in (e1, e2)), what="it is on record as read")
    assert redis.client.keys("*:ib:p:*") == [], "nothing is left to report"


@pytest.mark.alone
def test_cluster(engine, cluster):
    url = "redis+cluster://" + ",".join(f"127.0.0.1:{n.port}" for n in cluster[:3])
    e1, e2 = [engine(redis=url, channels={"app": {"adapter": "inbox/hermod"}}, settings=settings(), name=n) for n in ("one", "two")]
    users = [User(e1, f"u-{i}") for i in range(12)]
    streams = [Stream(u) for u in users]
    for s in streams:
        assert s.status == 200 and s.next("counts")["counts"] == counted()
    a = e2.post("/v1/messages/batch", [{"channel": "app", "recipients": [{"addr": u.name} for u in users], "content": {"title": "to all"}}])
    assert a.status == 202
    for u, s in zip(users, streams):
        assert s.next("item")["item"]["title"] == "to all" and u.titles() == ["to all"]
        assert u.do("read", {"all": True})["counts"] == counted(read=1) and s.next("changed")["action"] == "read"
        s.close()


def test_a_drain_ends_streams(engine, redis):
    e = engine(redis=redis, channels=CHANNEL, settings=settings())
    streams = [Stream(User(e, f"u-{i}")) for i in range(5)]
    for s in streams:
        s.next("counts")
    assert e.stop() == 0
    for s in streams:
        assert s.next() is None
    e.start()
    assert Stream(User(e, "u-1"), "?at=0.0").next("counts")["counts"] == counted()


# The page of examples/inbox.html in Node: its script as it is, over a document of three elements.
PAGE_JS = """
const elements = {}, element = (name) => (elements[name] ??= { name, children: [], dataset: {}, textContent: '',
  replaceChildren(...c) { this.children = c; say(); }, append(...c) { this.children.push(...c); } });
globalThis.document = { querySelector: element, createElement: (tag) => element(tag + Math.random()) };
globalThis.location = { search: process.argv[1] };
function say() {
  console.log(JSON.stringify({ unread: element('#unread').textContent, live: element('#state').textContent,
    items: element('#items').children.map((li) => [li.className, li.textContent, li.children[0].textContent]) }));
}
process.stdin.on('data', (d) => {
  for (const line of d.toString().trim().split('\\n'))
    if (line === 'all') element('#all').onclick();
    else element('#items').children.find((li) => li.textContent === line).onclick();
});
"""


def test_the_example_page(engine, redis, tmp_path):
    if shutil.which("node") is None:
        pytest.skip("no node")
    e1, e2 = pair(engine, redis)
    html = (ROOT / "examples/inbox.html").read_text()
    page = tmp_path / "page.mjs"
    page.write_text(html.split('<script type="module">')[1].split("</script>")[0])
    put(e2, "u-1", "before")
    p = subprocess.Popen(["node", "--input-type=module", "-e", PAGE_JS + f"await import({json.dumps(page.as_uri())});", "--", f"?hub={e1.url('')}&token={jwt('u-1')}"],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    lines = queue.Queue()
    threading.Thread(target=lambda: [lines.put(json.loads(x)) for x in p.stdout], daemon=True).start()

    def until(condition, what):
        seen = None
        while not (seen and condition(seen)):
            try:
                seen = lines.get(timeout=20 * SLOW)
            except queue.Empty:
                pytest.fail(f"{what}: last seen {seen}")
        return seen
    try:
        until(lambda s: s["live"] == "live" and s["items"] == [["unread", "before", "text of before"]], "the list")
        put(e2, "u-1", "<b>two</b>")
        until(lambda s: s["unread"] == 2 and s["items"][0][:2] == ["unread", "<b>two</b>"], "an item of the other node")
        p.stdin.write("before\n")
        p.stdin.flush()
        until(lambda s: s["unread"] == 1 and [i[0] for i in s["items"]] == ["unread", "read"], "a click reads")
        e1.stop()
        put(e2, "u-1", "three")
        User(e2, "u-1").do("delete", {"all": True, "state": "read"})
        e1.start()
        until(lambda s: [i[1] for i in s["items"]] == ["three", "<b>two</b>"], "back again, with what came and went meanwhile")
        p.stdin.write("all\n")
        p.stdin.flush()
        until(lambda s: s["unread"] == 0, "all are read")
    finally:
        p.kill()
        p.wait()
