"""The in-app inbox: a channel like others, read by users with tokens of their backend's, against real Redis and processes."""
import base64
import hashlib
import hmac
import json
import time

import pytest
from conftest import http, wait_for

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
        return http(method, self.e.url("/v1/inbox" + path), body, {"Authorization": "Bearer " + self.token, **headers})

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
    if final:
        assert e.wait_state(id, "sent", "failed")["state"] == "sent"
    return id


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
