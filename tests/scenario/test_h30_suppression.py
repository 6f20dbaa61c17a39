"""Who must not get what: the lists over HTTP and from the command line, what they hold back, what fills them by itself."""
import csv
import io
import json
import re
import time
from urllib.parse import quote

import pytest
from conftest import http, wait_for

GONE = "dead4100"  # the simulated APNs answers 410 with a timestamp
DAY = 86400_000


class Lists:
    """/v1/suppressions, or /v1/consents."""

    def __init__(self, engine, path="suppressions"):
        self.e, self.name = engine, path
        self.path = f"/v1/{path}"

    def call(self, method, path="", body=None, **headers):
        return http(method, self.e.url(self.path + path), body, {**self.e.headers(), **{k.replace("_", "-"): v for k, v in headers.items()}})

    def add(self, **entry):
        a = self.call("POST", "", entry)
        assert a.status == 200, a.body
        return a.json["changed"]

    def pages(self, query="", limit=1000):
        found, cursor = [], ""
        while True:
            a = self.call("GET", f"?limit={limit}{query}{'&cursor=' + cursor if cursor else ''}")
            assert a.status == 200, a.body
            assert len(a.json[self.name]) <= limit
            found += a.json[self.name]
            cursor = a.json.get("next")
            if not cursor:
                return found

    def of(self, address):
        return self.pages(f"&address={quote(address)}")


@pytest.fixture
def lists(engine, sink, redis):
    return Lists(engine(sink, redis))


def problem(answer, status, slug, field=None, text=None):
    assert answer.status == status, answer.body
    p = answer.json
    assert p["type"] == f"urn:hermod:problem:{slug}" and p["status"] == status, p
    if field is not None:
        assert p["field"] == field, p
    if text:
        assert text in p["detail"], p
    return p


def token(n, begin=""):
    return begin + f"{n:0{64 - len(begin)}x}"


def push(e, address, **more):
    return e.send(**{"channel": "apns-sink", "to": address, "content": {"body": "x"}, **more})


def why(e, id, state="suppressed"):
    return json.dumps(e.wait_state(id, state))


# -- the lists over HTTP ------------------------------------------------------------------------------


def test_an_entry_comes_and_goes(lists):
    assert lists.add(address="Ann@Example.com", medium="email", category="news", reason="complaint", proof="abuse report 17", by="desk",
                     at="2026-01-02T03:04:05Z", until="2036-01-02T03:04:05.000Z", since=1767323045000) == 1
    expected = {"address": "ann@example.com", "medium": "email", "category": "news", "reason": "complaint", "proof": "abuse report 17",
                "by": "desk", "at": "2026-01-02T03:04:05.000Z", "until": "2036-01-02T03:04:05.000Z", "since": "2026-01-02T03:04:05.000Z"}
    assert lists.pages() == [expected]
    assert lists.of("ANN@example.COM") == [expected]
    assert lists.add(**expected) == 0  # what is read can be written
    assert lists.add(user="u7") == 1
    assert lists.add(address="ann@example.com") == 1
    own = lists.pages("&user=u7")[0]
    assert own["reason"] == "manual" and own["medium"] == own["category"] == "*" and own["by"] == "http"
    assert len(lists.of("ann@example.com")) == 2
    assert lists.call("DELETE", "?address=ann%40example.com&medium=email").json == {"changed": 0}  # the one for all categories
    assert lists.call("DELETE", "?address=Ann%40example.com&medium=email&category=news").json == {"changed": 1}
    assert lists.call("DELETE", "?address=ann%40example.com&all=true").json == {"changed": 1}
    assert lists.of("ann@example.com") == []
    assert [x["user"] for x in lists.pages()] == ["u7"]
    assert Lists(lists.e, "consents").pages() == []


@pytest.mark.parametrize("entry, field, text", [
    ({}, "address", "needs an address or a user"),
    ({"address": "a", "user": "b"}, "user", "not both"),
    ({"address": ""}, "address", "needs"),
    ({"address": 7}, "address", "text"),
    ({"adress": "a"}, "adress", "did you mean address"),
    ({"address": "a", "medium": "fax"}, "medium", "must be push, sms"),
    ({"address": "a", "reason": "spite"}, "reason", "unsubscribe"),
    ({"address": "a", "until": "tomorrow"}, "until", "RFC 3339"),
    ({"address": "a", "until": 1}, "until", "after"),
    ({"address": "a", "proof": "x" * 501}, "proof", "500"),
    ({"address": "a\tb"}, "address", "control"),
    ([1], "", "object"),
])
def test_a_wrong_entry_is_told_by_field(lists, entry, field, text):
    problem(lists.call("POST", "", entry), 422, "invalid-entry", field or None, text)
    assert lists.pages() == []


def test_wrong_questions_and_bodies(lists):
    for query, field in (("?kind=person", "kind"), ("?address=a&user=b", "user"), ("?medium=fax", "medium"), ("?reason=x", "reason"),
                         ("?limit=0", "limit"), ("?limit=10001", "limit"), ("?cursor=7", "cursor"), ("?format=xml", "format"),
                         ("?address=", "address"), ("?address=a&kind=user", "kind")):
        problem(lists.call("GET", query), 400, "bad-request", field)
    problem(lists.call("DELETE"), 400, "bad-request", "address")
    problem(lists.call("DELETE", "?user=u&all=perhaps"), 400, "bad-request", "all")
    problem(Lists(lists.e, "consents").call("GET", "?reason=manual"), 400, "bad-request", "reason")
    problem(lists.call("POST", "", b"{", Content_Type="application/json"), 400, "bad-syntax")
    problem(lists.call("POST", "", b"a", Content_Type="text/plain"), 415, "unsupported-media-type", "Content-Type")
    problem(lists.call("POST", "/batch", {"address": "a"}), 422, "invalid-entry", text="array")
    problem(lists.call("POST", "/batch", []), 422, "invalid-entry", text="no entry")


def test_batches_stand_entry_by_entry(lists):
    good = [{"address": token(i), "medium": "push", "reason": "hard_bounce"} for i in range(2000)]
    a = lists.call("POST", "/batch", good + [{"address": "x", "medium": "fax"}, 7]).json
    assert (a["changed"], a["unchanged"], a["rejected"]) == (2000, 0, 2)
    assert [(x["index"], x.get("field")) for x in a["errors"]] == [(2000, "medium"), (2001, None)]
    a = lists.call("POST", "/batch", {"suppressions": good}).json
    assert (a["changed"], a["unchanged"], a["rejected"]) == (0, 2000, 0)
    lines = "\n".join(["", json.dumps({"user": "u1"}), "{", json.dumps({"user": "u2", "until": "x"}), ""])
    a = lists.call("POST", "/batch", lines.encode(), Content_Type="application/x-ndjson").json
    assert a["changed"] == 1 and [(x["line"], x.get("field")) for x in a["errors"]] == [(3, None), (4, "until")]
    p = problem(lists.call("POST", "/batch", [{}, {"user": 1}]), 422, "invalid-entry", "address")
    assert p["rejected"] == 2 and len(p["errors"]) == 2
    assert len(lists.pages(limit=77)) == 2001
    assert len(lists.pages("&kind=user")) == 1 and len(lists.pages("&medium=push&reason=hard_bounce&category=*")) == 2000
    assert lists.pages("&reason=complaint") == []
    a = lists.call("POST", "/remove", [{"address": x["address"], "medium": "push"} for x in good[:1500]] + [{"address": "nobody"}]).json
    assert (a["changed"], a["unchanged"]) == (1500, 1)
    assert len(lists.pages("&kind=address")) == 500
    e = lists.e
    limit = 10_000
    big = lists.call("POST", "/batch", [{"user": str(i)} for i in range(limit + 1)])
    problem(big, 413, "too-large", text="http.max_batch")
    assert e.metric("hermod_http_errors_total") >= 1


def test_pieces_of_files(lists):
    lists.call("POST", "/batch", [{"address": f"a{i},\"b\"@x.y", "medium": "email", "proof": "said, \"no\""} for i in range(300)])
    rows, cursor, pieces = [], "", 0
    while True:
        a = lists.call("GET", f"?format=csv&limit=128{'&cursor=' + cursor if cursor else ''}")
        assert a.status == 200 and a.headers["Content-Type"].startswith("text/csv")
        rows += list(csv.reader(io.StringIO(a.body.decode())))
        pieces += 1
        cursor = a.headers["Hermod-Next"]
        if not cursor:
            break
    assert rows[0] == "address,user,medium,category,reason,proof,by,at,until,since".split(",") and pieces >= 3
    assert len(rows) == 301 and len({r[0] for r in rows[1:]}) == 300 and {r[5] for r in rows[1:]} == {'said, "no"'}
    a = lists.call("GET", "?format=jsonl&limit=10000")
    assert a.headers["Content-Type"] == "application/x-ndjson" and len(a.body.splitlines()) == 300
    back = lists.call("POST", "/batch", a.body, Content_Type="application/x-ndjson").json
    assert (back["changed"], back["unchanged"], back["rejected"]) == (0, 300, 0)


def test_scopes(engine, sink, redis, hermod):
    e = engine(sink, redis, settings={"http": {"auth": "required"}})

    def key(scope):
        made = hermod("keys", "create", "--scope", scope, "--config", e.config_file)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()
    read, change, send = key("read"), key("suppressions"), key("send")
    entry = {"address": "a@b.c"}
    for k, status in ((send, 403), (read, 403), (change, 200)):
        e.key = k
        a = e.post("/v1/suppressions", entry)
        assert a.status == status, a.body
        if status == 403:
            assert '"suppressions\\"' in a.body.decode()
    assert e.get("/v1/suppressions").status == 403
    e.key = read
    by = e.get("/v1/suppressions").json["suppressions"][0]["by"]
    assert re.fullmatch(r"key:[0-9a-z]{10}", by)
    e.key = None
    assert e.get("/v1/suppressions").status == 401


# -- from the command line ----------------------------------------------------------------------------------


def test_the_command_line(redis, hermod, tmp_path):
    def run(*args, code=0, **kw):
        r = hermod("suppressions", *args, "--redis", redis.url, **kw)
        assert r.returncode == code, (args, r.stdout, r.stderr)
        return r
    assert run("add", "--address", "A@b.c", "--medium", "email", "--reason", "complaint", "--proof", "case 9").stdout == "added\n"
    assert "it is there" in run("add", "--address", "a@b.c", "--medium", "email", "--reason", "complaint", "--proof", "case 9").stdout
    assert run("add", "--user", "u1", "--until", "2036-01-01T00:00:00Z").stdout == "added\n"
    assert run("add", "--user", "u1", "--category", "news", "--consents").stdout == "added\n"
    shown = run("list").stdout
    assert "a@b.c" in shown and "complaint" in shown and "2036-01-01T00:00:00" in shown and len(shown.splitlines()) == 3
    one = json.loads(run("list", "--address", "a@B.c", "--json").stdout)
    assert one["proof"] == "case 9" and one["by"].startswith("cli:")
    assert json.loads(run("list", "--consents", "--json").stdout)["category"] == "news"
    assert json.loads(run("count", "--json").stdout)["total"] == 2 and run("count", "--total").stdout == "3\n"
    assert "may be more" in run("list", "--limit", "1").stderr
    assert run("remove", "--address", "a@b.c").stdout == "0 removed\n"
    assert run("remove", "--address", "a@b.c", "--all").stdout == "1 removed\n"
    assert run("remove", "--user", "u1").stdout == "1 removed\n"
    for args, text in ((("add",), "--address or --user"), (("lst",), 'did you mean "list"'), (("list", "--medum", "x"), "does not know"),
                       (("add", "--user", "u", "--medium", "fax"), "medium: must be push"), (("list", "--reason", "x"), "--reason must be"),
                       (("import",), "needs a file"), (("import", "-", "--format", "xml"), "--format must be"),
                       (("add", "--user", "u", "--until", "1"), "until"), (("list", "--address", "a", "--user", "u"), "not both")):
        assert text in run(*args, code=2).stderr


def test_files_in_and_out(redis, hermod, tmp_path):
    def run(*args, code=0, **kw):
        r = hermod("suppressions", *args, "--redis", redis.url, **kw)
        assert r.returncode == code, (args, r.stdout, r.stderr)
        return r
    source = tmp_path / "list.csv"
    source.write_text("﻿address,user,medium,reason,proof,at\r\n" + "".join(
        f"p{i}@x.y,,email,hard_bounce,\"550, no such \"\"user\"\"\",2026-01-02T03:04:05Z\r\n" for i in range(9000)) +
        ",u1,*,,,\r\n,,email,,,\r\nz@x.y,,fax,,,\r\nz@x.y,,email\r\nz@x.y,,email,manual,,1767323045000\r\n")
    rejects = tmp_path / "rejects.jsonl"
    r = run("import", source, "--rejects", rejects, code=1)
    assert re.match(r"9005 read, 9002 added, 0 unchanged, 3 refused, ", r.stdout), r.stdout
    assert f"{source}:9003: address: an entry needs an address or a user" in r.stderr and "9005: 3 fields" in r.stderr
    refused = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert [(x["line"], x["field"]) for x in refused] == [(9003, "address"), (9004, "medium"), (9005, "")]
    assert "9005 read, 0 added, 9002 unchanged" in run("import", source, code=1).stdout
    out = tmp_path / "out.csv"
    assert "9002 entries" in run("export", out).stderr
    rows = list(csv.DictReader(out.open(newline="")))
    assert len(rows) == 9002 and {x["proof"] for x in rows} == {'550, no such "user"', ""}
    assert "9002 read, 0 added, 9002 unchanged, 0 refused" in run("import", out).stdout
    lines = tmp_path / "out.jsonl"
    run("export", lines, "--medium", "email", "--reason", "hard_bounce")
    text = lines.read_text()
    assert len(text.splitlines()) == 9000
    assert "9000 read, 9000 removed, 0 unchanged" in run("import", lines, "--remove").stdout
    assert run("count", "--total").stdout == "2\n"
    assert "9000 read, 9000 added" in run("import", "-", stdin=text).stdout
    plain = tmp_path / "plain.txt"
    plain.write_text("Q1@x.y\n\n  q2@x.y \n")
    assert "2 read, 2 added" in run("import", plain, "--medium", "sms", "--reason", "unsubscribe", "--proof", "old system").stdout
    found = [json.loads(x) for x in run("list", "--medium", "sms", "--json").stdout.splitlines()]
    assert {x["address"] for x in found} == {"q1@x.y", "q2@x.y"} and {x["proof"] for x in found} == {"old system"}
    assert "1 read, 1 added" in run("import", "-", "--format", "txt", "--kind", "user", "--consents", stdin="u9\n").stdout
    assert json.loads(run("export", "--consents").stdout)["user"] == "u9"
    bad = tmp_path / "bad.csv"
    bad.write_text("adress\nx\n")
    assert 'did you mean "address"' in run("import", bad, code=1).stderr


# -- what they hold back ---------------------------------------------------------------------------------------


def test_who_is_on_the_list_gets_nothing(lists, sink):
    e = lists.e
    lists.add(address=token(1), medium="push", reason="complaint", proof="case 9")
    lists.add(user="quiet")
    lists.add(address=token(2), medium="sms")
    lists.add(address=token(3), until="2020-01-02T00:00:00Z", at="2020-01-01T00:00:00Z")
    assert "complaint" in why(e, push(e, token(1)))
    assert "manual" in why(e, push(e, {"addr": token(4), "user": "quiet"}))
    e.wait_state(push(e, token(2)), "sent")  # another medium
    e.wait_state(push(e, token(3)), "sent")  # over
    e.wait_state(push(e, {"addr": token(4), "user": "Quiet"}), "sent")  # user ids are exact
    lists.call("DELETE", f"?address={token(1)}&medium=push")
    e.wait_state(push(e, token(1)), "sent")
    assert sink.ledger()["unique"] == 4
    r = e.assert_balanced()
    assert r["suppressed"] == 2 and r["sent"] == 4


def test_unsubscribed_from_a_category(lists):
    e = lists.e
    lists.add(user="u1", category="news", reason="unsubscribe")
    to = {"addr": token(1), "user": "u1"}
    assert "unsubscribe" in why(e, push(e, to, category="news"))
    e.wait_state(push(e, to, category="orders"), "sent")
    e.wait_state(push(e, to), "sent")


def test_only_who_agreed(engine, sink, redis):
    e = engine(sink, redis, settings={"categories": {"news": {"consent": "opt_in"}}})
    consents = Lists(e, "consents")
    to = {"addr": token(1), "user": "u1"}
    assert "consent" in why(e, push(e, to, category="news"))
    e.wait_state(push(e, to, category="orders"), "sent")
    assert consents.add(user="u1", category="news", proof="form 7 of 2026-05-01") == 1
    e.wait_state(push(e, to, category="news"), "sent")
    Lists(e).add(address=token(1), category="news", reason="unsubscribe")  # the later no wins over the yes
    assert "unsubscribe" in why(e, push(e, to, category="news"))
    assert consents.call("DELETE", "?user=u1&category=news").json == {"changed": 1}
    assert consents.pages() == []


# -- what fills them by itself -----------------------------------------------------------------------------------


def test_a_token_that_is_gone_is_not_used_again(lists):
    e = lists.e
    e.wait_state(push(e, token(1, GONE)), "failed")
    wait_for(lambda: lists.of(token(1, GONE)), what="it is on the list")
    (x,) = lists.of(token(1, GONE))
    assert x["reason"] == "invalid_token" and x["medium"] == "push" and x["by"] == "channel:apns-sink" and "Unregistered" in x["proof"]
    assert x["since"] <= x["at"]
    assert "invalid_token" in why(e, push(e, token(1, GONE)))
    # registered again, and then an older answer comes: it does not count
    assert lists.call("DELETE", f"?address={token(1, GONE)}&medium=push").json == {"changed": 1}
    assert lists.add(address=token(1, GONE), medium="push", reason="invalid_token", since=x["since"]) == 0
    assert lists.of(token(1, GONE)) == []


def test_too_many_at_once_are_not_believed(engine, sink, redis):
    e = engine(sink, redis, settings={"node": {"shards": 1}})
    lists = Lists(e)
    gone = [token(i, GONE) for i in range(600)]
    rs = [gone[i // 5 * 3 + i % 5] if i % 5 < 3 else token(i) for i in range(1000)]
    a = e.post("/v1/messages/batch", [{"recipients": rs, "channel": "apns-sink", "content": {"body": "x"}, "campaign": "old-list"}])
    assert a.status == 202 and a.json["accepted"] == 1000, a.body
    r = e.wait_final(1000, "old-list")
    assert r["sent"] == 400 and r["failed"] == 600

    def metric(name):
        found = re.search(r'^%s\{channel="apns-sink"\} (\d+)$' % name, e.get("/metrics").body.decode(), re.M)
        return int(found[1])
    assert metric("hermod_invalid_guard") == 1
    added, held = metric("hermod_invalid_recipients_added_total"), metric("hermod_invalid_recipients_held_total")
    assert added + held == 600 and added <= 60, (added, held)  # what came before it tripped
    assert len(lists.pages()) == added
    alarms = [line for line in e.log().splitlines() if "too many invalid recipients" in line]
    assert len(alarms) == 1 and "apns-sink" in alarms[0] and " error " in alarms[0]
    told = e.get("/v1/admin/shard").json["invalid_guard"]["apns-sink"]
    assert told["tripped"] and told["answers"] == 1000 and told["invalid"] == 600
    # every later answer is good: after a window it is believed again
    good = iter(range(10_000, 20_000))

    def send_good():
        for _ in range(20):
            e.wait_state(push(e, token(next(good))), "sent")
    for _ in range(4):
        e.advance(61_000)
        send_good()
    wait_for(lambda: metric("hermod_invalid_guard") == 0 or send_good(), 60, "the guard is calm")
    assert "are put on the list again" in e.log()
    before = len(lists.pages())
    e.wait_state(push(e, token(9999, GONE)), "failed")
    wait_for(lambda: len(lists.pages()) == before + 1, what="it is added again")


def test_redis_comes_back_and_gets_what_was_found(engine, sink, redis, hermod):
    e = engine(sink, redis)
    lists = Lists(e)
    e.wait_state(push(e, token(7, GONE)), "failed")
    wait_for(lambda: lists.of(token(7, GONE)), what="it is on the list")
    redis.kill9()
    wait_for(lambda: e.get("/readyz").status == 503, what="the engine notices")
    problem(lists.call("GET"), 503, "queue-down")
    assert lists.call("POST", "", {"address": "a"}).status == 503
    redis.restart()
    wait_for(lambda: e.get("/readyz").status == 200, what="the engine is back")
    assert "invalid_token" in why(e, push(e, token(7, GONE)))


# -- lists that are empty ---------------------------------------------------------------------------------


def asked(e):
    return int(e.metric("hermod_gates_asked_total"))


def knows_empty(e):
    """A message of which Redis was not asked."""
    before = asked(e)
    id = push(e, token(asked(e), "e"))
    e.wait_state(id, "sent")
    return asked(e) == before


def test_the_first_entry_ever_counts_in_every_process(engine, sink, redis):
    a, b = engine(sink, redis, name="a"), engine(sink, redis, name="b")
    wait_for(lambda: knows_empty(a) and knows_empty(b), 10, "both know that the lists are empty")
    held, begun = token(7), time.monotonic()
    assert Lists(a).add(address=held, medium="push", reason="manual") == 1
    assert "on the list" in why(a, push(a, held))  # the one that was told, at once
    said = []

    def b_holds_it():
        id = push(b, held)
        said.append(b.wait_state(id, "sent", "suppressed"))
        return "suppressed" in json.dumps(said[-1])

    wait_for(b_holds_it, 5, "the other one looks at the lists")
    assert time.monotonic() - begun < 3 and len(said) < 5, said
    assert redis.client.get("{hm:ctl}:lists") == b"1"

    # What says that there are entries outlives both processes and Redis ...
    a.stop()
    b.stop()
    redis.stop()
    redis.restart()
    a.start()
    assert "on the list" in why(a, push(a, held))
    assert not knows_empty(a)

    # ... and where it is lost, as in a backup of the lists alone, they are found without it.
    a.stop()
    kept = {k: redis.client.dump(k) for k in redis.client.keys("{hm:u*}:supp*")}
    redis.client.flushall()
    a.start()
    wait_for(lambda: knows_empty(a), 10, "the lists are empty")
    for k, v in kept.items():
        redis.client.restore(k, 0, v)
    wait_for(lambda: redis.client.get("{hm:ctl}:lists") == b"1", 5, "a look finds what was restored")
    assert "on the list" in why(a, push(a, held))
