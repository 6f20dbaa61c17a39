"""Managed templates: versions in Redis, changed over HTTP and from the command line, used by every running process."""
import json
import threading
import time
from urllib.parse import quote

import pytest
from conftest import ROOT, Redis, http, wait_for, xadd
from stage import problem
from test_d10_redis import cluster  # noqa: F401  a fixture

TOKEN = "3" * 64


class Templates:
    """/v1/templates of an engine."""

    def __init__(self, engine):
        self.e = engine

    def call(self, method, path, body=None, **headers):
        return http(method, self.e.url("/v1/templates" + path), body, {**self.e.headers(), **{k.replace("_", "-"): v for k, v in headers.items()}})

    def one(self, name):
        return "/" + quote(name, safe="")

    def create(self, name, document, publish=False):
        a = self.call("POST", "", {"name": name, "document": document, "publish": publish})
        assert a.status == 201, a.body
        return a

    def draft(self, name, document, **headers):
        return self.call("PUT", self.one(name) + "/draft", document.encode(), Content_Type="application/yaml", **headers)

    def publish(self, name, document):
        """A new version with this text; returns its number."""
        a = self.draft(name, document, **({"If_Match": "*"} if self.get(name).status == 200 else {}))
        assert a.status == 200, a.body
        a = self.call("POST", self.one(name) + "/publish")
        assert a.status == 200, a.body
        return a.json["version"]

    def get(self, name):
        return self.call("GET", self.one(name))

    def version(self, name, v, action=None):
        return self.call("POST" if action else "GET", f"{self.one(name)}/versions/{v}" + (f"/{action}" if action else ""))


def etag(answer):
    return answer.headers["ETag"]


def bodies(sink):
    alerts = [r.json["aps"]["alert"] for r in sink.requests() if r.accepted]
    return [a if isinstance(a, str) else a["body"] for a in alerts]


def send(e, campaign, template, **more):
    id = e.send(channel="apns-sink", to=TOKEN, template=template, campaign=campaign, **more)
    return e.wait_state(id, "sent", "failed")


# -- one template's life ----------------------------------------------------------


def test_draft_publish_archive_restore(engine, sink, redis):
    e = engine(sink, redis)
    t = Templates(e)
    a = t.create("order/shipped", {"body": "one ${n}", "fields": {"n": {"type": "integer", "required": True, "example": 5}}})
    assert a.headers["Location"] == "/v1/templates/order%2Fshipped"
    first = etag(a)
    g = t.get("order/shipped").json
    assert (g["state"], g["latest"], g["current"], g["document"], g["versions"]) == ("draft", 0, 0, None, [])
    assert g["draft"]["syntax"] == "json" and json.loads(g["draft"]["source"])["body"] == "one ${n}" and g["draft"]["by"] == "http"
    problem(e.post("/v1/messages", {"channel": "apns-sink", "to": TOKEN, "template": "order/shipped"}), 422, "invalid-message", "template")
    a = t.call("POST", "/order%2Fshipped/publish", {"note": "the first"}, If_Match=first)
    assert (a.status, a.json["version"], a.json["current"], a.json["changed"]) == (200, 1, 1, True)
    m = send(e, "life", "order/shipped", data={"n": 7})
    assert m["state"] == "sent" and bodies(sink) == ["one 7"]
    # version 2 from YAML, kept byte for byte
    text = "# a comment\nbody:   'two ${n}'   # and another\nfields: {n: {type: integer, required: true}}\n"
    assert t.draft("order/shipped", text).status == 200
    assert t.call("POST", "/order%2Fshipped/publish").json["version"] == 2
    g = t.get("order/shipped")
    assert g.json["document"] == {"version": 2, "syntax": "yaml", "source": text} and g.json["draft"] is None
    assert [(v["version"], v["state"]) for v in g.json["versions"]] == [(2, "published"), (1, "published")]
    assert g.json["versions"][1]["note"] == "the first"
    v = t.version("order/shipped", 2)
    assert v.json["current"] and v.json["fields"] == [{"name": "n", "type": "integer", "required": True}]
    raw = t.call("GET", "/order%2Fshipped/versions/2?as=source")
    assert raw.body == text.encode() and raw.headers["Content-Type"] == "application/yaml"
    assert t.version("order/shipped", "current").json["version"] == 2
    problem(t.version("order/shipped", "draft"), 404, "not-found", text="no draft")
    problem(t.version("order/shipped", 3), 404, "not-found", text="no version 3")
    problem(t.version("order/shipped", "x"), 400, "bad-request", "version")
    # back to 1, and forth
    assert t.version("order/shipped", 1, "current").json["current"] == 1
    assert send(e, "life", "order/shipped", data={"n": 8})["state"] == "sent" and bodies(sink)[-1] == "one 8"
    assert t.version("order/shipped", 1, "current").json["changed"] is False
    # archived: pinned jobs get it, others what is left
    assert t.version("order/shipped", 1, "archive").json["current"] == 2
    problem(t.version("order/shipped", 1, "current"), 409, "conflict", text="archived")
    for ref, body in (("order/shipped", "two 9"), ("order/shipped@1", "one 9"), ("order/shipped@2", "two 9")):
        assert send(e, "life", ref, data={"n": 9})["state"] == "sent" and bodies(sink)[-1] == body
    assert t.call("POST", "/order%2Fshipped/archive").json["current"] == 0
    assert t.get("order/shipped").json["state"] == "archived"
    problem(e.post("/v1/messages", {"channel": "apns-sink", "to": TOKEN, "template": "order/shipped", "data": {"n": 1}}), 422, "invalid-message", "template")
    assert send(e, "life", "order/shipped@2", data={"n": 10})["state"] == "sent" and bodies(sink)[-1] == "two 10"
    assert t.version("order/shipped", 1, "restore").json["current"] == 1
    problem(t.call("DELETE", "/order%2Fshipped"), 409, "conflict", text="archive it instead")
    problem(t.version("order/shipped", 9, "archive"), 404, "not-found")
    h = t.call("GET", "/order%2Fshipped/history").json["history"]
    assert [(x["change"], x.get("version")) for x in h] == [
        ("restore", 1), ("archive", None), ("archive", 1), ("current", 1), ("publish", 2), ("save", None), ("publish", 1), ("save", None)]
    e.assert_balanced("life")


def test_drafts_only_go_with_their_draft(engine, redis):
    t = Templates(engine(redis=redis))
    t.create("a", {"body": "x"})
    t.create("b", {"body": "x"})
    assert t.call("DELETE", "/a/draft").status == 200 and t.get("a").status == 404
    assert t.call("DELETE", "/b").status == 200 and t.get("b").status == 404
    problem(t.call("DELETE", "/b"), 404, "not-found")
    problem(t.call("POST", "/b/publish"), 404, "not-found")
    problem(t.call("GET", "/b/history"), 404, "not-found")
    assert not [k for k in redis.client.keys("{hm:ctl}:template:*")]
    t.create("c", {"body": "x"}, publish=True)
    t.draft("c", "body: y\n")
    assert t.call("DELETE", "/c/draft").status == 200 and t.get("c").json["latest"] == 1
    problem(t.call("DELETE", "/c/draft"), 404, "not-found", text="no draft")


def test_two_editors(engine, redis):
    t = Templates(engine(redis=redis))
    first = etag(t.create("x", {"body": "0"}))
    problem(t.call("POST", "", {"name": "x", "document": {"body": "1"}}), 409, "conflict", "name")
    p = problem(t.draft("x", "body: a\n"), 428, "precondition-required", "If-Match")
    assert f'"{p["etag"]}"' == first
    second = etag(t.draft("x", "body: a\n", If_Match=first))
    p = problem(t.draft("x", "body: b\n", If_Match=first), 412, "precondition-failed")
    assert f'"{p["etag"]}"' == second
    problem(t.call("POST", "/x/publish", If_Match=first), 412, "precondition-failed")
    problem(t.call("DELETE", "/x", If_Match=first), 412, "precondition-failed")
    problem(t.call("DELETE", "/x", If_Match='"a", "b"'), 400, "bad-request", "If-Match")
    assert t.draft("x", "body: a\n", If_Match=second).json["changed"] is False
    # many at once, each on what it has seen: as many steps as there are successes, nothing lost
    won, lost = [], []

    def editor(n):
        for i in range(10):
            seen = t.get("x")
            a = t.draft("x", f"body: '{n} {i} after {json.loads(json.dumps(seen.json['draft']['source'])).split(chr(39))[1][:3] if chr(39) in seen.json['draft']['source'] else 0}'\n",
                        If_Match=etag(seen))
            (won if a.status == 200 else lost).append(a.status)
    threads = [threading.Thread(target=editor, args=(n,)) for n in range(6)]
    for th in threads:
        th.start()
    for th in threads:
        th.join()
    assert len(won) + len(lost) == 60 and set(lost) <= {412} and len(won) >= 10
    assert t.call("POST", "/x/publish").json["version"] == 1


def test_list_by_prefix_a_page_at_a_time(engine, redis):
    t = Templates(engine(redis=redis))
    names = [f"{f}/{i:02d}" for f in ("order", "orders", "用户") for i in range(12)]
    for n in names:
        t.create(n, {"body": "x", "description": f"about {n}"}, publish=n.endswith("0"))
    seen, after = [], ""
    while True:
        a = t.call("GET", f"?limit=10&after={quote(after)}")
        assert a.status == 200 and len(a.json["templates"]) <= 10
        seen += [x["name"] for x in a.json["templates"]]
        after = a.json.get("next")
        if not after:
            break
    assert seen == sorted(names)
    a = t.call("GET", "?prefix=order/")
    assert [x["name"] for x in a.json["templates"]] == sorted(n for n in names if n.startswith("order/"))
    assert a.json["templates"][0]["description"] == "about order/00" and a.json["templates"][0]["state"] == "published"
    assert len(t.call("GET", "?prefix=" + quote("用户/")).json["templates"]) == 12
    assert t.call("GET", "?prefix=nothing").json == {"templates": []}
    problem(t.call("GET", "?limit=501"), 400, "bad-request", "limit")


# -- what is refused ---------------------------------------------------------------


def test_mistakes_are_all_told_with_field_and_line(engine, redis):
    t = Templates(engine(redis=redis))
    text = "fields:\n  name: {type: string}\n  unused: {type: number, default: x}\ntitle: '${nmae}'\nbody: |\n  one\n  <#if name>\nmedia:\n  smoke: {body: x}\n"
    p = problem(t.draft("bad", text), 422, "invalid-template")
    assert {(x["field"], x["line"]) for x in p["errors"]} == {("fields.unused.default", 3), ("body", 7), ("media", 9)}, p
    assert p["line"] == p["errors"][0]["line"] and p["field"] == p["errors"][0]["field"] and "(and 2 more)" in p["detail"]
    p = problem(t.draft("bad", "fields:\n  name: {type: string}\n  unused: {type: number}\nbody: '${nmae}'\n"), 422, "invalid-template")
    assert {x["line"] for x in p["errors"]} >= {3, 4} and all(w in json.dumps(p) for w in ("nmae", "unused")), p
    assert t.get("bad").status == 404  # nothing was stored
    problem(t.call("POST", "/bad/validate", text.encode(), Content_Type="application/yaml"), 422, "invalid-template")
    a = t.call("POST", "/bad/validate", {"body": "${x}", "fields": {"x": {"type": "string", "example": "e"}}})
    assert a.json == {"valid": True, "kind": "message", "fields": [{"name": "x", "type": "string", "required": False, "example": "e"}]}
    assert t.get("bad").status == 404
    problem(t.call("PUT", "/bad/draft", b"body: x", Content_Type="text/plain"), 415, "unsupported-media-type")
    problem(t.call("PUT", "/bad/draft", b"[1]", Content_Type="application/json"), 400, "bad-syntax")
    problem(t.draft("bad", "body: '" + "x" * (1 << 20) + "'\n"), 413, "too-large")
    problem(t.call("POST", "", {"name": "a b", "document": {"body": "x"}}), 422, "invalid-message", "name")
    problem(t.call("POST", "", {"name": "a", "dokument": {"body": "x"}}), 422, "invalid-message", text="did you mean document?")
    for name in ("..", "a//b", "a/../b", ".a", "x.test", "a@1", "n" * 101, "a\u2028b"):
        problem(t.draft(name, "body: x\n"), 400, "bad-request", "name")
    problem(t.call("PUT", "/%zz/draft", b"{}", Content_Type="application/json"), 400, "bad-request", "name")


def test_fragments_hold_those_who_use_them(engine, sink, redis):
    e = engine(sink, redis)
    t = Templates(e)
    problem(t.draft("letter", "body: 'Dear ${name} <#include \"footer\">'\n"), 422, "invalid-template", text="footer")
    assert t.publish("footer", "kind: fragment\ntext: 'from ${shop}'\n") == 1
    assert t.publish("letter", "fields: {name: {type: string}, shop: {type: string}}\nbody: 'Dear ${name} <#include \"footer\">'\n") == 1
    assert send(e, "f", "letter", data={"name": "A", "shop": "S"})["state"] == "sent" and bodies(sink)[-1] == "Dear A from S"
    # a new version of the fragment serves the same letter
    assert t.publish("footer", "kind: fragment\ntext: 'kindly, ${shop}'\n") == 2
    assert send(e, "f", "letter", data={"name": "A", "shop": "S"})["state"] == "sent" and bodies(sink)[-1] == "Dear A kindly, S"
    # one that would break it is not published, however it comes
    assert t.draft("footer", "kind: fragment\ntext: '${shop} ${town}'\n").status == 200
    p = problem(t.call("POST", "/footer/publish"), 422, "invalid-template", text="letter")
    assert len(p["errors"]) == 1 and "town" in p["detail"]
    problem(t.call("POST", "/footer/archive"), 422, "invalid-template", text="letter")
    problem(t.draft("footer", "kind: fragment\ntext: '<#include \"footer\">'\n", If_Match="*"), 422, "invalid-template")
    assert t.get("footer").json["current"] == 2
    assert t.version("footer", 2, "archive").json["current"] == 1
    assert send(e, "f", "letter", data={"name": "A", "shop": "S"})["state"] == "sent" and bodies(sink)[-1] == "Dear A from S"


def test_scopes(engine, hermod, redis):
    e = engine(redis=redis, settings={"http": {"auth": "required"}})
    def key(scope):
        r = hermod("keys", "create", "--scope", scope, "--json", "--config", e.config_file, cwd=e.dir)
        assert r.returncode == 0, r.stderr
        return json.loads(r.stdout)
    t = Templates(e)
    reader, writer, sender = key("read"), key("templates"), key("send")
    e.key = writer["key"]
    t.create("a", {"body": "x"}, publish=True)
    problem(t.get("a"), 403, "forbidden", text='"read"')
    e.key = sender["key"]
    problem(t.draft("a", "body: y\n"), 403, "forbidden", text='"templates"')
    e.key = reader["key"]
    assert t.get("a").json["versions"][0]["by"] == "key:" + writer["id"]
    problem(t.draft("a", "body: y\n"), 403, "forbidden")
    e.key = None
    assert t.get("a").status == 401


# -- several processes ----------------------------------------------------------------


def test_all_processes_follow(engine, sink, redis):
    a = engine(sink, redis, name="a", settings={"templates": {"sync_interval": "1h"}})
    b = engine(sink, redis, name="b", settings={"templates": {"sync_interval": "1h"}})
    t = Templates(a)
    assert t.publish("news", "body: 'v1 ${i}'\n") == 1
    there = lambda e, ref: e.post("/v1/messages", {"channel": "apns-sink", "to": TOKEN, "template": ref, "data": {"i": 0}, "at": "2099-01-01T00:00:00Z"}).status == 202
    wait_for(lambda: there(b, "news"), what="b knows the template")
    jobs = lambda campaign, ref, n=40: [xadd(redis.client, {"channel": "apns-sink", "to": TOKEN, "template": ref, "data": {"i": i}, "campaign": campaign}, partition=i % 16)
                                        for i in range(n)]
    jobs("one", "news")
    wait_for(lambda: len(bodies(sink)) == 40, what="forty are sent")
    assert set(bodies(sink)) == {f"v1 {i}" for i in range(40)}
    sink.reset()
    assert t.publish("news", "body: 'v2 ${i}'\n") == 2
    wait_for(lambda: there(b, "news@2"), what="b knows version 2")
    jobs("two", "news")
    wait_for(lambda: len(bodies(sink)) == 40, what="forty more are sent")
    assert set(bodies(sink)) == {f"v2 {i}" for i in range(40)}
    sink.reset()
    jobs("pinned", "news@1")
    wait_for(lambda: len(bodies(sink)) == 40, what="pinned ones are sent")
    assert set(bodies(sink)) == {f"v1 {i}" for i in range(40)}
    # both had a share of it
    shares = [e.report("one")["sent"] + e.report("two")["sent"] + e.report("pinned")["sent"] for e in (a, b)]
    assert sum(shares) == 120 and min(shares) > 0, shares
    # what does not exist fails and says why
    jobs("unknown", "news@7", 2)
    jobs("unknown", "nothing", 2)
    wait_for(lambda: a.final("unknown") + b.final("unknown") == 4, what="they have failed")
    assert a.report("unknown")["failed"] + b.report("unknown")["failed"] == 4
    reasons = "".join(json.dumps(m) for e in (a, b) for m in e.get("/v1/messages?campaign=unknown").json["messages"])
    assert "version 7" in reasons and "nothing" in reasons


def test_killed_in_the_middle_of_it(engine, sink, redis):
    """A process killed while it publishes: what it stored, the other one uses; what it did not, nobody does."""
    b = engine(sink, redis, name="b", settings={"templates": {"sync_interval": "1h"}})
    texts, last = {}, None
    for round in range(3):
        a = engine(sink, redis, name=f"a{round}")
        t = Templates(a)

        def publish():
            i = 0
            try:
                while True:
                    i += 1
                    t.draft("x", f"body: 'round {round} change {i}'\n", If_Match="*") if i > 1 or round else t.create("x", {"body": "first"})
                    t.call("POST", "/x/publish")
            except (OSError, ValueError):
                pass  # it was killed
        th = threading.Thread(target=publish)
        th.start()
        wait_for(lambda: (Templates(b).get("x").json.get("latest") or 0) > (last or 0) + 3, what="some versions are there")
        a.kill9()
        th.join()
        g = Templates(b).get("x").json
        last = g["latest"]
        for v in range(1, last + 1):  # what was published stays what it was, whoever died since
            source = Templates(b).version("x", v).json["source"]
            assert texts.setdefault(v, source) == source
        assert g["current"] == last and len(g["versions"]) == last
        want = json.loads(texts[1])["body"] if last == 1 else g["document"]["source"].split("'")[1]

        def follows():
            send(b, "killed", "x")
            return bodies(sink)[-1] == want
        wait_for(follows, what="b uses the last version that was stored")


def test_redis_goes_and_comes_back(engine, sink, redis):
    e = engine(sink, redis)
    t = Templates(e)
    t.publish("x", "body: 'before'\n")
    redis.kill9()
    assert wait_for(lambda: t.get("x").status == 503, what="asking Redis fails")
    problem(t.draft("x", "body: y\n", If_Match="*"), 503, "queue-down")
    redis.restart()
    wait_for(lambda: e.get("/readyz").status == 200, what="ready again")
    assert send(e, "back", "x")["state"] == "sent" and bodies(sink)[-1] == "before"
    assert t.publish("x", "body: 'after'\n") == 2
    assert send(e, "back", "x")["state"] == "sent" and bodies(sink)[-1] == "after"


def test_a_change_nobody_told_is_found(engine, sink, redis):
    """The event is part of the script; a backup put back, or another program, brings none."""
    e = engine(sink, redis, settings={"templates": {"sync_interval": "200ms"}})
    t = Templates(e)
    t.publish("x", "body: 'one'\n")
    before = {k: redis.client.dump(k) for k in redis.client.keys("{hm:ctl}:template*")}
    t.publish("x", "body: 'two'\n")
    assert send(e, "poll", "x")["state"] == "sent" and bodies(sink)[-1] == "two"
    for k, v in before.items():
        redis.client.restore(k, 0, v, replace=True)

    def one_again():
        send(e, "poll", "x")
        return bodies(sink)[-1] == "one"
    wait_for(one_again, what="the look finds what was put back")
    problem(e.post("/v1/messages", {"channel": "apns-sink", "to": TOKEN, "template": "x@2"}), 422, "invalid-message", "template")
    redis.client.delete(*redis.client.keys("{hm:ctl}:template*"))
    wait_for(lambda: e.post("/v1/messages", {"channel": "apns-sink", "to": TOKEN, "template": "x"}).status == 422, what="the template is gone")


def test_documents_this_program_cannot_use_are_left_out(engine, sink, redis):
    e = engine(sink, redis, settings={"templates": {"sync_interval": "200ms"}})
    t = Templates(e)
    t.publish("x", "body: 'good'\n")
    t.publish("y", "body: 'fine'\n")
    c = redis.client
    index = json.loads(c.hget("{hm:ctl}:templates", "x"))
    index.update(latest=2, current=2, etag="01J0000000000000000000NEWR")
    c.hset("{hm:ctl}:template:x", mapping={"v2": "kind: hologram\nbody: 'newer'\n", "m:v2": json.dumps({"at": 1, "by": "z", "tok": "01J0000000000000000000NEWR"})})
    c.hset("{hm:ctl}:templates", mapping={"x": json.dumps(index), "broken": "{", "bad name": json.dumps(index), "hollow": json.dumps(index), "odd": "[1]"})
    c.set("{hm:ctl}:templates:token", "01J0000000000000000000NEWR")
    wait_for(lambda: "does not compile here" in e.log() and "not in Redis" in e.log() and e.log().count("cannot be read") >= 3, what="the log names them")
    assert send(e, "bad", "x")["state"] == "sent" and bodies(sink)[-1] == "good"  # the version used before stays
    assert t.publish("y", "body: 'still'\n") == 2
    assert send(e, "bad", "y")["state"] == "sent" and bodies(sink)[-1] == "still"
    a = t.call("GET", "")
    assert {"x", "y"} <= {r["name"] for r in a.json["templates"]} and "broken" not in {r["name"] for r in a.json["templates"]}
    # a process that starts now does the same
    other = engine(sink, redis, name="other")
    wait_for(lambda: other.post("/v1/messages", {"channel": "apns-sink", "to": TOKEN, "template": "x", "at": "2099-01-01T00:00:00Z"}).status == 202, what="it uses version 1")


def test_jobs_wait_until_the_templates_are_there(engine, sink, redis):
    """Redis holds both: a job must not fail because its template comes a moment later."""
    e = engine(sink, redis)
    t = Templates(e)
    for i in range(300):
        assert t.call("POST", "", {"name": f"t{i}", "document": {"body": f"text {i} ${{x}}"}, "publish": True}).status == 201
    assert e.stop() == 0
    for i in range(300):
        xadd(redis.client, {"channel": "apns-sink", "to": TOKEN, "template": f"t{i}", "data": {"x": "y"}, "campaign": "start"}, partition=i % 16)
    e.start()
    r = e.wait_final(300, "start")
    assert r["sent"] == 300 and set(bodies(sink)) == {f"text {i} y" for i in range(300)}


def test_a_thousand_load_fast(engine, hermod, redis, tmp_path):
    d = tmp_path / "many"
    for i in range(1000):
        f = d / f"f{i % 10}" / f"t{i}.yaml"
        f.parent.mkdir(parents=True, exist_ok=True)
        f.write_text(f"description: number {i}\nfields:\n  name: {{type: string, required: true}}\ntitle: Hello ${{name}}\n"
                     f"body: |\n  Dear ${{name}}, <#if name?length gt 3>a long name<#else>short</#if>\n  number {i}\nmedia:\n  sms: {{body: 'Hi ${{name}}'}}\n")
    r = hermod("templates", "push", d, "--publish", "--redis", redis.url, cwd=tmp_path, timeout=120)
    assert r.returncode == 0 and "1000 published" in r.stderr, r.stderr[-2000:]
    began = time.monotonic()
    e = engine(redis=redis)
    took = time.monotonic() - began
    assert "managed templates loaded" in e.log() and "1000" in e.log()
    assert e.post("/v1/messages/batch", [{"channel": "none", "to": "x", "template": "f9/t999"}]).status in (422, 400)
    began = time.monotonic()
    assert Templates(e).publish("f9/t999", "body: new\n") == 2
    assert took < 10 and time.monotonic() - began < 2, (took, time.monotonic() - began)


def test_on_a_cluster(engine, sink, cluster):  # noqa: F811
    url = "redis+cluster://" + ",".join(f"127.0.0.1:{n.port}" for n in cluster[:3])
    a, b = engine(sink, url, name="a"), engine(sink, url, name="b")
    t = Templates(a)
    assert t.publish("x/y", "body: 'v1'\n") == 1 and t.publish("x/y", "body: 'v2'\n") == 2
    wait_for(lambda: b.post("/v1/messages", {"channel": "apns-sink", "to": TOKEN, "template": "x/y@2", "at": "2099-01-01T00:00:00Z"}).status == 202, what="b follows")
    assert send(a, "cluster", "x/y")["state"] == "sent" and bodies(sink)[-1] == "v2"
    assert [x["name"] for x in t.call("GET", "?prefix=x/").json["templates"]] == ["x/y"]
    assert Templates(b).version("x/y", 1, "current").json["current"] == 1
    wait_for(lambda: send(a, "cluster", "x/y") and bodies(sink)[-1] == "v1", what="a follows")


def test_with_an_acl_user(engine, sink, tmp_path):
    (tmp_path / "acl").mkdir()
    (tmp_path / "acl" / "users").write_text("user hermod on >geheim ~{hm* &* +@all -@dangerous\nuser default off\n")
    r = Redis(tmp_path / "acl", "--aclfile", tmp_path / "acl" / "users")
    try:
        e = engine(sink, f"redis://127.0.0.1:{r.port}", settings={"redis": {"username": "hermod", "password": "geheim"}})
        t = Templates(e)
        assert t.publish("x", "body: 'v1'\n") == 1
        assert send(e, "acl", "x")["state"] == "sent" and bodies(sink) == ["v1"]
        assert e.stop() == 0
        e.start()
        assert send(e, "acl", "x@1")["state"] == "sent"
    finally:
        r.stop()


# -- files and the command line ----------------------------------------------------------


def test_managed_ones_come_before_files(engine, sink, redis):
    e = engine(sink, redis, templates={"x": "body: 'file'\n", "y": "body: 'file y'\n"})
    t = Templates(e)
    assert send(e, "files", "x")["state"] == "sent" and bodies(sink)[-1] == "file"
    t.create("x", {"body": "draft"})
    assert send(e, "files", "x")["state"] == "sent" and bodies(sink)[-1] == "file"  # a draft is nothing to jobs
    t.call("POST", "/x/publish")
    assert send(e, "files", "x")["state"] == "sent" and bodies(sink)[-1] == "draft"
    assert send(e, "files", "y")["state"] == "sent" and bodies(sink)[-1] == "file y"
    e.post("/v1/admin/reload")
    wait_for(lambda: "configuration reloaded" in e.log(), what="reloaded")
    assert send(e, "files", "x@1")["state"] == "sent" and bodies(sink)[-1] == "draft"


@pytest.fixture
def shop(tmp_path, redis, hermod):
    """A folder and the command that works on it."""
    d = tmp_path / "shop"
    (d / "order").mkdir(parents=True)
    (d / "order" / "shipped.yaml").write_text("body: 'Parcel ${n} <#include \"/parts/footer\">'\nfields: {n: {type: string}}\n")
    (d / "parts").mkdir()
    (d / "parts" / "footer.yaml").write_text("kind: fragment\ntext: 'bye'\n")

    def run(*args, **kw):
        return hermod("templates", *args, "--redis", redis.url, cwd=tmp_path, **kw)
    run.dir = d
    return run


def test_push_publish_and_the_engine_uses_it(engine, sink, redis, shop):
    e = engine(sink, redis)
    r = shop("push", shop.dir, "--dry-run")
    assert r.returncode == 0 and r.stdout == "order/shipped: would be saved as a draft\nparts/footer: would be saved as a draft\n", r
    assert redis.client.exists("{hm:ctl}:templates") == 0
    r = shop("push", shop.dir, "--publish", "--note", "first push")
    assert r.returncode == 0 and r.stdout == "parts/footer@1: published\norder/shipped@1: published\n", r
    assert r.stderr == "2 templates, 2 published, 0 unchanged\n"
    wait_for(lambda: e.post("/v1/messages", {"channel": "apns-sink", "to": TOKEN, "template": "order/shipped", "data": {"n": "7"}, "campaign": "push"}).status == 202, what="the engine knows it")
    wait_for(lambda: bodies(sink) == ["Parcel 7 bye"], what="it is sent")
    assert shop("push", shop.dir, "--publish").stderr == "2 templates, 0 published, 2 unchanged\n"
    g = Templates(e).get("order/shipped").json
    assert g["by"].startswith("cli:") and g["versions"][0]["note"] == "first push"
    # one mistake anywhere: nothing is stored
    (shop.dir / "a.yaml").write_text("body: fine\n")
    (shop.dir / "order" / "shipped.yaml").write_text("body: 'Parcel ${n} <#include \"/parts/foter\">'\nfields: {n: {type: string}}\n")
    (shop.dir / "z.yaml").write_text("body: fine\nbdoy: x\n")
    r = shop("push", shop.dir, "--publish")
    assert r.returncode == 1 and "z.yaml:2:" in r.stderr and "nothing was stored" in r.stderr, r
    (shop.dir / "z.yaml").unlink()
    r = shop("push", shop.dir)
    assert r.returncode == 1 and "order/shipped.yaml:1" in r.stderr and "foter" in r.stderr, r
    assert Templates(e).get("a").status == 404
    # a fragment pushed alone must not break what is published
    (shop.dir / "order" / "shipped.yaml").unlink()
    (shop.dir / "parts" / "footer.yaml").write_text("kind: fragment\ntext: 'bye ${who}'\n")
    r = shop("push", shop.dir, "--publish")
    assert r.returncode == 1 and "order/shipped" in r.stderr and "who" in r.stderr, r


def test_pull_diff_and_the_words_of_one(engine, redis, shop, tmp_path):
    text = "# kept\nbody:   'one'  # as it is\n"
    (shop.dir / "order" / "shipped.yaml").write_text(text)
    assert shop("push", shop.dir).returncode == 0
    assert shop("show", "order/shipped").stdout == text  # nothing but a draft
    assert shop("diff", shop.dir).returncode == 0
    r = shop("diff", shop.dir, "--published")
    assert r.returncode == 1 and "--- /dev/null" in r.stdout
    r = shop("publish", "order/shipped")
    assert r.returncode == 0 and "order/shipped@1 is published" in r.stderr, r
    assert shop("publish", "parts/footer").returncode == 0
    out = tmp_path / "out"
    r = shop("pull", out)
    assert r.returncode == 0 and (out / "order/shipped.yaml").read_text() == text and (out / "parts/footer.yaml").exists(), r
    assert shop("pull", out).stderr == "0 files written, 2 unchanged\n"
    (out / "order" / "shipped.yaml").write_text("body: 'two'\n")
    r = shop("diff", out)
    assert r.returncode == 1 and "-body:   'one'  # as it is\n+body: 'two'\n" in r.stdout and r.stdout.startswith("--- order/shipped@1\n"), r
    r = shop("pull", out)
    assert r.returncode == 1 and "--force" in r.stderr and (out / "order/shipped.yaml").read_text() == "body: 'two'\n"
    assert shop("pull", out, "--force").returncode == 0 and (out / "order/shipped.yaml").read_text() == text
    # a draft of somebody else is not replaced
    e = engine(redis=redis)
    assert Templates(e).draft("order/shipped", "body: theirs\n").status == 200
    (out / "order" / "shipped.yaml").write_text("body: ours\n")
    r = shop("push", out, "--publish")
    assert r.returncode == 1 and "draft of http" in r.stderr, r
    assert shop("show", "order/shipped@draft").stdout == "body: theirs\n"
    assert shop("push", out, "--publish", "--force").returncode == 0
    assert shop("show", "order/shipped").stdout == "body: ours\n"
    assert shop("show", "order/shipped@1").stdout == text
    r = shop("use", "order/shipped@1")
    assert r.returncode == 0 and "jobs get order/shipped@1" in r.stderr, r
    r = shop("archive", "order/shipped@1")
    assert r.returncode == 0 and "jobs get order/shipped@2" in r.stderr, r
    assert shop("restore", "order/shipped@1").returncode == 0
    r = shop("archive", "order/shipped")
    assert r.returncode == 0 and "fail" in r.stderr, r
    rows = json.loads(shop("list", "--json").stdout)
    assert [(x["name"], x["state"], x["latest"]) for x in rows] == [("order/shipped", "archived", 2), ("parts/footer", "published", 1)]
    assert "parts/footer" in shop("list", "parts/").stdout and "order" not in shop("list", "parts/").stdout
    j = json.loads(shop("show", "order/shipped@2", "--json").stdout)
    assert (j["version"], j["state"], j["source"]) == (2, "archived", "body: ours\n")


def test_wrong_use_says_what_is_right(hermod, tmp_path, redis):
    for args, code, says in [
        ([], 2, "usage"),
        (["lst"], 2, 'did you mean "list"'),
        (["push"], 2, "needs DIR"),
        (["push", "d", "--fast"], 2, "--fast"),
        (["show", "a@x"], 2, "number of a version"),
        (["restore", "a"], 2, "say which version"),
        (["publish", "a@1"], 2, "hermod templates use a@1"),
        (["show", "a b"], 2, "letters, digits"),
        (["show", "nothing"], 1, 'no template "nothing"'),
        (["archive", "nothing"], 1, 'no template "nothing"'),
        (["publish", "nothing"], 1, 'no template "nothing"'),
        (["push", "nowhere"], 1, "nowhere"),
        (["push", "."], 1, "no *.yaml files"),
        (["diff", "nowhere"], 1, "nowhere"),
        (["test", "nowhere"], 1, "nowhere"),
        (["list", "--note", "x"], 2, "--note"),
        (["publish", "a", "--note", "x" * 501], 2, "500 bytes"),
    ]:
        r = hermod("templates", *args, *(["--redis", redis.url] if code == 1 and args[0] != "test" else []), cwd=tmp_path)
        assert r.returncode == code and says in r.stderr, (args, r)
    r = hermod("templates", "list", cwd=tmp_path)
    assert r.returncode == 1 and "start hermod run first" in r.stderr


def test_fixtures_fail_with_a_diff_and_update(hermod, tmp_path):
    d = tmp_path / "t"
    (d / "tests").mkdir(parents=True)
    (d / "hello.yaml").write_text(
        "fields: {name: {type: string, required: true}}\nfacts: {left: {fact: stock, key: '${name}', fallback: 'few'}}\ntitle: Hi\n"
        "body: |\n  Dear ${name}\n  only ${facts.left} left\nmedia: {sms: {body: 'Hi ${name}, {name}'}}\n"
        "locales: {de: {title: 'Hallo'}}\n")
    (d / "other.yaml").write_text("body: x\n")
    test = d / "tests" / "hello.test.yaml"
    conf = tmp_path / "hermod.yaml"
    conf.write_text("facts:\n  stock: {from: redis, key: 'stock:{key}'}\nchannels:\n  text-1: {adapter: sms/twilio}\n")
    run = lambda *a: hermod("templates", "test", d, *a, cwd=tmp_path)
    test.write_text("cases:\n  - name: all\n    data: {name: Lin}\n    expect:\n      sms: {body: 'Hi Lin, Lin'}\n      push: {title: Hi, url: null}\n"
                    "  - name: german\n    locale: de-AT\n    facts: {left: 3}\n    data: {name: Lin}\n    expect: {push: {title: Hallo, body: \"Dear Lin\\nonly 3 left\\n\"}}\n"
                    "  - name: none\n    data: {}\n    error: name\n")
    r = run()
    assert r.returncode == 0 and "3 passed, 0 failed in 1 file; 1 template without tests" in r.stdout, r
    test.write_text("# kept\ncases:\n  - name: wrong\n    data: {name: Lin}   # and this\n    expect:\n      push:\n        body: |\n          Dear Lin\n          only 5 left\n\n"
                    "  - name: should fail\n    media: [push]\n    data: {name: Lin}\n    error: nope\n\n  - data: {name: A}\n    media: [sms]\n# the end\n")
    r = run()
    assert r.returncode == 1 and "0 passed, 3 failed" in r.stdout, r
    assert "hello.test.yaml:6: push \"wrong\" is not what was expected\n--- expected push\n+++ actual push\n" in r.stdout
    assert "-  only 5 left\n+  only few left\n" in r.stdout and "was expected to fail: nope" in r.stdout
    r = run("--update")
    assert r.returncode == 1 and "0 passed, 1 failed, 2 updated" in r.stdout, r
    now = test.read_text()
    assert now.startswith("# kept\ncases:\n  - name: wrong\n    data: {name: Lin}   # and this\n") and now.endswith("# the end\n")
    assert "only few left" in now and 'body: "Hi A, A"' in now and "error: nope" in now
    r = run()
    assert r.returncode == 1 and "2 passed, 1 failed" in r.stdout, r
    for text, says in [("cases: []\n", "cases must be a list"), ("cases:\n  - {data: {}, expct: {}}\n", "expct"), ("template: gone\ncases:\n  - {}\n", 'no template "gone"'),
                       ("cases:\n  - {data: {name: x}, expect: {fax: {body: x}}}\n", '"fax" is neither a medium'), ("cases:\n  - {data: {name: x}, expect: {sms: {bdy: x}}}\n", "bdy"),
                       ("cases: {\n", "hello.test.yaml:")]:
        test.write_text(text)
        r = run()
        assert r.returncode == 1 and says in r.stdout, (text, r)


def test_the_samples_pass_their_tests(engine, hermod, redis):
    r = hermod("templates", "test", ROOT / "config" / "templates")
    assert r.returncode == 0 and "11 passed, 0 failed in 3 files\n" in r.stdout, r
    r = hermod("templates", "push", ROOT / "config" / "templates", "--publish", "--redis", redis.url)
    assert r.returncode == 0, r
    g = Templates(engine(redis=redis)).call("GET", "").json["templates"]
    assert [(x["name"], x["kind"], x["state"]) for x in g] == [
        ("login-code", "message", "published"), ("order/shipped", "message", "published"), ("parts/footer", "fragment", "published"),
        ("price-drop", "message", "published")]
