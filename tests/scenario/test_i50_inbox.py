"""The in-app inbox: a channel like others, read by users with tokens of their backend's, against real Redis and processes."""
import base64
import hashlib
import hmac
import http.client
import json
import queue
import socket
import threading
import time

import pytest
from conftest import SLOW, http as call_http, wait_for
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
