"""Several engines on one Redis, each with a ledger of its own: every message counts once, nothing stays pending anywhere."""
import http.client
import json
import os
import signal
import threading

import pytest
from conftest import FINAL, wait_for, xadd
from test_c20_life import load


def pair(engine, sink, redis, settings=None, **kw):
    def one(name):
        s = {k: dict(v) for k, v in (settings or {}).items()}
        s.setdefault("node", {})["name"] = name
        return engine(sink, redis, name=name, settings=s, **kw)
    return one("a"), one("b")


def submit(e, n, campaign, start=0):
    """n messages over HTTP, on some connections at once; returns how many were answered with 202."""
    accepted = []

    def some(part):
        c = http.client.HTTPConnection("127.0.0.1", e.port, timeout=60)
        for i in range(start + part, start + n, 4):
            c.request("POST", "/v1/messages", json.dumps({"channel": "apns-sink", "to": f"{i:064x}", "content": {"body": "x"}, "campaign": campaign}),
                      {"Content-Type": "application/json"})
            a = c.getresponse()
            body = a.read()
            assert a.status == 202, body
            accepted.append(json.loads(body)["id"])
        c.close()
    threads = [threading.Thread(target=some, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return accepted


def sums(engines, campaign):
    rows = [e.report(campaign) for e in engines]
    for r in rows:
        assert r["accepted"] == sum(r[s] for s in FINAL) + r["pending"], r
    return {k: sum(r.get(k, 0) for r in rows) for k in ("accepted", "pending", "unknown_attempts", "moved", "repeats", *FINAL)}


def settled(engines, campaign, n, seconds=60):
    def whole():
        s = sums(engines, campaign)
        return s["pending"] == 0 and sum(s[k] for k in FINAL) == s["accepted"] == n and s
    return wait_for(whole, seconds, f"{n} messages, none pending (now: {sums(engines, campaign)}, {[e.report(campaign) for e in engines]})")


def nothing_waits(client):
    """No entry in a lane, nobody left to be told anything."""
    return not client.keys("{hm:*}:taken") and all(client.xlen(k) == 0 for k in client.keys("{hm:*}:q:*") + client.keys("{hm:*}:moved:*"))


def test_accepted_by_one_and_sent_by_the_other(engine, sink, redis, hermod):
    a, b = pair(engine, sink, redis)
    ids = submit(a, 5000, "both")
    assert len(ids) == 5000
    s = settled([a, b], "both", 5000)
    assert (s["sent"], s["repeats"]) == (5000, 0)
    ra, rb = a.report("both"), b.report("both")
    assert ra["sent"] + rb["sent"] == 5000 and ra["sent"] > 0 and rb["sent"] > 0, "both have worked"
    # what b was faster with than the answer to a never counted at a
    assert 0 < ra["moved"] <= rb["accepted"] and rb["moved"] == 0
    led = sink.ledger()
    assert led["unique"] == 5000 and led["duplicates"] == 0
    wait_for(lambda: nothing_waits(redis.client), what="everybody has been told")
    # where a message is: its node answers, the other one says who
    own = other = 0
    for id in ids[:200]:
        r = a.get(f"/v1/messages/{id}")  # follows the redirection
        assert r.status == 200 and r.json["state"] == "sent", r.body
        c = http.client.HTTPConnection("127.0.0.1", a.port, timeout=30)
        c.request("GET", f"/v1/messages/{id}")
        raw = c.getresponse()
        body = json.loads(raw.read())
        c.close()
        if raw.status == 307:
            other += 1
            assert body["node"] == "b" and raw.getheader("Location") == f"http://127.0.0.1:{b.port}/v1/messages/{id}" == body["see"]
        else:
            own += 1
            assert raw.status == 200 and body["state"] == "sent"
    assert own and other
    for e in (a, b):
        out = hermod("report", "--verify", "--config", e.config_file)
        assert out.returncode == 0 and "verified" in out.stdout, out
    # the sum over all nodes, asked through their APIs or read from their folders
    for args in (("--all", "--config", a.config_file), ("--ledger", a.dir / "data/ledger", "--ledger", b.dir / "data/ledger")):
        out = hermod("report", "--campaign", "both", "--json", *args)
        assert out.returncode == 0, out
        r = json.loads(out.stdout)
        assert (r["total"]["accepted"], r["total"]["sent"], r["total"]["pending"], r["total"]["balanced"]) == (5000, 5000, 0, True), r
        assert len(r["nodes"]) == 2 and sum(n["sent"] for n in r["nodes"]) == 5000
    table = hermod("report", "--all", "--config", b.config_file)
    assert table.returncode == 0 and "a" in table.stdout and "5,000" in table.stdout, table


def test_restarts_in_between_change_nothing(engine, sink, redis):
    a, b = pair(engine, sink, redis)
    ids = submit(a, 1000, "again")
    b.kill9()
    ids += submit(a, 1000, "again", 1000)
    a.kill9()
    b.start()
    a.start()
    ids += submit(b, 1000, "again", 2000)
    assert b.stop() == 0
    ids += submit(a, 1000, "again", 3000)
    b.start()
    s = settled([a, b], "again", 4000, 90)
    assert s["sent"] + s["failed"] == 4000
    led = sink.ledger()
    assert led["unique"] >= s["sent"] - s["unknown_attempts"] and led["duplicates"] <= s["unknown_attempts"], (led, s)
    wait_for(lambda: nothing_waits(redis.client), what="everybody has been told")
    for e in (a, b):
        assert e.stop() == 0
        e.start()
        e.assert_balanced("again")


POINTS = ["moved_tell", "moved_told", "moved_written"]


@pytest.mark.parametrize("point", POINTS)
def test_killed_while_telling(point, engine, sink, redis):
    """moved_tell, moved_told: the one that tells dies; moved_written: the one that is told."""
    a, b = pair(engine, sink, redis)
    victim = a if point == "moved_written" else b
    victim.kill9()
    victim.env = {"HERMOD_FAULTS": f"{point}:kill@3"}
    n = 0
    if victim is b:
        b.start()
        n = len(submit(a, 2000, "told"))
    else:
        a.start()
        try:
            submit(a, 2000, "told")
        except (OSError, http.client.HTTPException):
            pass  # it died in between; what it had accepted is in the queue
    wait_for(lambda: not victim.alive(), 30, f"it dies at {point}")
    victim.env = {}
    victim.start()

    def whole():
        s = sums([a, b], "told")
        return s["pending"] == 0 and s["accepted"] and nothing_waits(redis.client) and s
    s = wait_for(whole, 90, f"nothing is pending (now: {[e.report('told') for e in (a, b)]})")
    if n:
        assert s["accepted"] == n
    assert s["accepted"] == s["sent"] + s["failed"]
    led = sink.ledger()
    assert s["accepted"] >= led["unique"] >= s["sent"] - s["unknown_attempts"] and led["duplicates"] <= s["unknown_attempts"], (led, s)


def test_taken_over_from_a_dead_node_it_counts_there(engine, sink, redis):
    """XADD entries, half worked on by a: they count at b, and at a no more, also when it is back."""
    sink.knobs({"apns": {"latency": 50}})
    a = engine(sink, redis, name="a", settings={"node": {"name": "a"}})
    load(redis, 3000, "over", chunk=100)
    wait_for(lambda: a.report("over")["sent"] > 300, what="a is in the middle")
    a.kill9()
    sink.knobs({"apns": {"latency": 0}})
    b = engine(sink, redis, name="b", settings={"node": {"name": "b"}})
    wait_for(lambda: b.report("over")["accepted"] > 0 and b.report("over")["pending"] == 0 and all(
        redis.client.xlen(k) == 0 for k in redis.client.keys("{hm:*}:q:*")), 60, "b has finished it")
    a.start()
    s = settled([a, b], "over", 3000)
    led = sink.ledger()
    assert led["unique"] == 3000 and led["duplicates"] <= s["unknown_attempts"], (led, s)
    wait_for(lambda: nothing_waits(redis.client), what="everybody has been told")
    # b hands back, a takes over what it had: the same rule the other way round
    sink.knobs({"apns": {"latency": 50}})
    load(redis, 1000, "back", chunk=100)
    wait_for(lambda: b.report("back")["accepted"] + a.report("back")["accepted"] > 0, what="both are at it")
    b.kill9()
    sink.knobs({"apns": {"latency": 0}})
    wait_for(lambda: all(redis.client.xlen(k) == 0 for k in redis.client.keys("{hm:*}:q:*")), 60, "a has finished it")
    b.start()
    s = settled([a, b], "back", 1000)
    led = sink.ledger()
    assert led["unique"] == 4000 and led["duplicates"] <= s["unknown_attempts"] + sums([a, b], "over")["unknown_attempts"], (led, s)
    wait_for(lambda: nothing_waits(redis.client), what="everybody has been told")


def test_killed_while_taking_over(engine, sink, redis):
    """a dies with entries, b dies having claimed them and nothing more: they are b's when it is back."""
    sink.knobs({"apns": {"latency": 50}})
    quick = {"heartbeat": "100ms", "claim_after": "500ms"}
    a = engine(sink, redis, name="a", settings={"node": {"name": "a"}, "queue": quick})
    load(redis, 3000, "heir", chunk=100)
    wait_for(lambda: a.report("heir")["sent"] > 100, what="a is in the middle")
    a.kill9()
    sink.knobs({"apns": {"latency": 0}})
    b = engine(sink, redis, name="b", settings={"node": {"name": "b"}, "queue": quick}, env={"HERMOD_FAULTS": "takeover_after:kill"}, wait=False)
    wait_for(lambda: not b.alive(), 30, "it dies with what it took over")
    b.env = {}
    b.start()
    wait_for(lambda: b.report("heir")["pending"] == 0 and all(redis.client.xlen(k) == 0 for k in redis.client.keys("{hm:*}:q:*")), 60, "b has finished it")
    a.start()
    s = settled([a, b], "heir", 3000)
    led = sink.ledger()
    assert led["unique"] == 3000 and led["duplicates"] <= s["unknown_attempts"], (led, s)
    wait_for(lambda: nothing_waits(redis.client), what="everybody has been told")


def test_dead_to_the_millisecond(engine, sink, redis):
    """Consumers that died one after the other, a millisecond apart: whenever somebody looks, one of them has been silent for exactly so long."""
    n, key, c = 800, "{hm:0}:q:normal", redis.client
    c.xgroup_create(key, "hermod", "0", mkstream=True)
    for i in range(n):
        xadd(c, {"channel": "apns-sink", "to": f"{i:064x}", "content": {"body": "x"}, "campaign": "ghosts"}, partition=0)
        assert c.xreadgroup("hermod", f"ghost{i}.0", {key: ">"}, count=1)
    e = engine(sink, redis, settings={"node": {"shards": 1}, "queue": {"heartbeat": "100ms", "claim_after": "1s"}})
    t = c.time()
    c.zadd("{hm:0}:consumers", {f"ghost{i}.0": t[0] * 1000 + t[1] // 1000 + i for i in range(n)})
    r = e.wait_final(n, "ghosts", seconds=30)
    assert r["accepted"] == n, r
    wait_for(lambda: c.xlen(key) == 0 and not c.keys("{hm:*}:taken"), what="nothing is left")
    assert sink.ledger()["unique"] == n


def test_a_node_that_only_seemed_dead(engine, sink, redis):
    a, b = pair(engine, sink, redis, settings={"queue": {"heartbeat": "100ms", "claim_after": "500ms"}})
    sink.knobs({"apns": {"latency": 300}})
    load(redis, 400, "slept", chunk=50)
    wait_for(lambda: a.report("slept")["accepted"] > 0, what="a has some")
    os.kill(a.pid, signal.SIGSTOP)
    try:
        wait_for(lambda: b.metric("hermod_queue_entries_claimed_total"), 30, "b takes over")
    finally:
        os.kill(a.pid, signal.SIGCONT)
    sink.knobs({"apns": {"latency": 0}})
    s = settled([a, b], "slept", 400, 60)
    led = sink.ledger()
    assert led["unique"] == 400
    wait_for(lambda: nothing_waits(redis.client), what="everybody has been told")
    assert s["sent"] + s["failed"] == 400
