"""Messages that wait: put aside in Redis, paused, cancelled, scheduled."""
import http.client
import json
import time

import msgpack
import pytest
from conftest import wait_for, xadd

HOUR = 3600_000


def advance(e, ms):
    """The clock is moved; connections whose idle time is over with that close, this one may be among them."""
    try:
        e.advance(ms)
    except (http.client.RemoteDisconnected, ConnectionResetError):
        pass


def waiting(redis, what="delayed"):
    """Members of the waiting room of every partition."""
    return [m.decode() for k in redis.client.keys("{hm:*}:" + what) for m in redis.client.zrange(k, 0, -1)]


def pending(redis):
    n = 0
    for k in redis.client.keys("{hm:*}:q:*"):
        n += redis.client.xlen(k)
    return n


def in_memory(e):
    return e.metric("hermod_messages_in_flight")


def test_a_long_retry_after_waits_in_redis_and_goes_on_where_it_was(engine, sink, redis):
    e = engine(sink, redis)
    sink.script({"profile": "webhook"}, [{"status": 503, "retry_after": 600}])
    id = e.send(channel="hook-sink", to="x", content={"body": "later"}, campaign="long")
    wait_for(lambda: waiting(redis) == [f"2:{id}"] and pending(redis) == 0, what="it waits in Redis, its entry is gone")
    m = e.message(id)
    assert m["state"] == "held" and [a["outcome"] for a in m["attempts"]] == ["provider_down"]
    assert in_memory(e) == 0
    e.kill9()
    e.start()
    assert e.assert_balanced("long")["pending"] == 1
    advance(e, 590_000)
    assert e.message(id)["state"] == "held"
    advance(e, 100_000)
    m = e.wait_state(id, "sent")
    assert [a["outcome"] for a in m["attempts"]] == ["provider_down", "ok"], m
    r = e.wait_final(1, "long")
    assert (r["accepted"], r["sent"], r["repeats"]) == (1, 1, 0)
    assert not redis.client.keys("{hm:*}:delayed*") and not redis.client.keys("{hm:*}:away")


def test_attempts_on_a_channel_count_over_the_wait(engine, sink, redis):
    e = engine(sink, redis, settings={"dispatch": {"max_attempts": 2}})
    sink.script({"profile": "webhook"}, [{"status": 503, "retry_after": 600, "repeat": 5}])
    id = e.send(channel="hook-sink", to="x", content={"body": "later"})
    wait_for(lambda: waiting(redis), what="it waits in Redis")
    advance(e, 700_000)
    m = e.wait_state(id, "failed")
    assert len(m["attempts"]) == 2


def test_who_waits_expires(engine, sink, redis):
    e = engine(sink, redis, settings={"dispatch": {"retry_base": "30s"}})
    sink.script({"profile": "webhook"}, [{"status": 503, "retry_after": 600, "repeat": 5}])
    now = int(time.time() * 1000)
    id = e.send(channel="hook-sink", to="x", content={"body": "later"}, expires=now + HOUR)
    wait_for(lambda: waiting(redis), what="it waits in Redis")
    advance(e, 2 * HOUR)
    assert e.wait_state(id, "expired")["reason"] == "past its expiry"


def test_of_a_chunk_only_who_must_wait_leaves_it(engine, sink, redis):
    e = engine(sink, redis)
    sink.script({"profile": "apns", "token": "a" * 64}, [{"status": 503, "retry_after": 600}])
    rs = [f"{i:064x}" for i in range(50)]
    rs[17] = "a" * 64
    xadd(redis.client, {"channel": "apns-sink", "rs": rs, "content": {"body": "hello"}, "campaign": "chunk"})
    e.wait_final(49, "chunk")
    wait_for(lambda: len(waiting(redis)) == 1 and pending(redis) == 0, what="one waits, the entry is acknowledged")
    wait_for(lambda: not redis.client.keys("{hm:*}:away"), what="the note of who is away is gone")
    advance(e, 700_000)
    r = e.wait_final(50, "chunk")
    assert (r["accepted"], r["sent"], r["repeats"]) == (50, 50, 0)
    assert sink.ledger()["duplicates"] == 0


@pytest.mark.parametrize("point", ["aside_before", "aside_put", "aside_after"])
def test_kill_9_while_messages_are_put_aside(engine, sink, redis, point):
    e = engine(sink, redis, env={"HERMOD_FAULTS": f"{point}:kill"})
    sink.script({"profile": "apns"}, [{"status": 503, "retry_after": 600, "repeat": 20}])
    xadd(redis.client, {"channel": "apns-sink", "rs": [f"{i:064x}" for i in range(20)], "content": {"body": "hello"},
                        "campaign": "crash"})
    wait_for(lambda: not e.alive(), what="the engine dies at the point")
    e.env = {}
    e.start()
    wait_for(lambda: e.report("crash")["accepted"] == 20, what="all are known again")
    for _ in range(4):
        wait_for(lambda: e.final("crash") + len(waiting(redis)) == 20 and in_memory(e) == 0 and pending(redis) == 0,
                 what="who is not final waits in Redis")
        advance(e, 700_000)
    e.wait_final(20, "crash")
    r = e.assert_balanced("crash")
    led = sink.ledger()
    assert r["sent"] == 20 and r["accepted"] == 20 and led["unique"] == 20, (r, led)
    assert led["duplicates"] <= r["unknown_attempts"], (r, led)


# -- pause, resume, cancel ------------------------------------------------------------------------


def load(redis, n, campaign, chunk=1, partitions=16, **more):
    pipe = redis.client.pipeline(transaction=False)
    for i in range(0, n, chunk):
        rs = [f"{k:064x}" for k in range(i, min(i + chunk, n))]
        job = {"channel": "apns-sink", "rs": rs, "content": {"body": "hello"}, "campaign": campaign, **more}
        pipe.xadd("{hm:%d}:q:normal" % (i // chunk % partitions), {"j": msgpack.packb(job)})
    pipe.execute()


def test_a_paused_campaign_waits_and_others_do_not(engine, sink, redis):
    n = 50_000
    e = engine(sink, redis)
    sink.knobs({"apns": {"latency": 1}})
    load(redis, n, "spring", chunk=5)
    wait_for(lambda: e.final("spring") > 100, what="it has begun")
    a = e.post("/v1/pause", {"campaign": "spring"})
    assert a.status == 202 and a.json == {"campaign": "spring", "state": "pausing", "changed": True}
    time.sleep(1)
    sent = sink.ledger()["accepted"]
    load(redis, 2000, "other", chunk=5)
    e.wait_final(2000, "other")
    wait_for(lambda: pending(redis) == 0 and in_memory(e) == 0, 60, "all of it waits in Redis")
    assert sink.ledger()["accepted"] == sent + 2000, "nothing of it left"
    assert e.get("/v1/pauses").json["pauses"][0]["campaign"] == "spring"
    assert e.post("/v1/pause", {"campaign": "spring"}).json["changed"] is False
    e.kill9()
    e.start()
    wait_for(lambda: in_memory(e) == 0, what="a new process knows the pause")
    assert sink.ledger()["accepted"] == sent + 2000
    assert e.post("/v1/resume", {"campaign": "spring"}).json["changed"] is True
    r = e.wait_final(n, "spring", 120)
    assert (r["accepted"], r["sent"], r["repeats"]) == (n, n, 0)
    led = sink.ledger()
    assert led["duplicates"] <= r["unknown_attempts"], (r, led)
    assert not redis.client.keys("{hm:*}:paused*")


@pytest.mark.parametrize("kind", ["tag", "tenant", "message"])
def test_pause_by_other_names(engine, sink, redis, hermod, kind):
    e = engine(sink, redis)
    body = {"channel": "apns-sink", "to": "1" * 64, "content": {"body": "x"}, "tags": ["a", "b"], "tenant": "acme",
            "at": int(time.time() * 1000) + 3000}
    id = e.send(**body)
    name = {"tag": "b", "tenant": "acme", "message": id}[kind]
    run = hermod("pause", f"--{kind}", name, "--config", e.config_file)
    assert run.returncode == 0, run.stderr
    assert name in hermod("pauses", "--config", e.config_file).stdout
    advance(e, 5000)
    wait_for(lambda: redis.client.keys("{hm:*}:paused"), what="due, it waits for the end of the pause")
    assert e.message(id)["state"] in ("queued", "held")
    other = e.send(**{**body, "tags": ["c"], "tenant": "other", "at": 0})
    e.wait_state(other, "sent")
    run = hermod("resume", f"--{kind}", name, "--config", e.config_file)
    assert run.returncode == 0, run.stderr
    e.wait_state(id, "sent")
    assert e.assert_balanced()["accepted"] == 2
    assert hermod("pauses", "--config", e.config_file).stdout == ""


def test_what_is_paused_expires(engine, sink, redis):
    e = engine(sink, redis)
    assert e.post("/v1/pause", {"campaign": "c"}).status == 202
    wait_for(lambda: e.get("/v1/pauses").json["pauses"], what="the pause is there")
    time.sleep(0.5)
    id = e.send(channel="apns-sink", to="1" * 64, content={"body": "x"}, campaign="c",
                expires=int(time.time() * 1000) + HOUR)
    wait_for(lambda: waiting(redis) == [f"2:{id}"], what="it waits")
    advance(e, 2 * HOUR)
    e.wait_state(id, "expired")


@pytest.mark.parametrize("kind", ["tag", "campaign", "tenant", "message", "job"])
def test_what_is_scheduled_is_cancelled_at_once(engine, sink, redis, kind):
    e = engine(sink, redis)
    at = int(time.time() * 1000) + 24 * HOUR
    load(redis, 300, "spring", chunk=100, tags=["x", "promo"], tenant="acme", at=at)
    load(redis, 100, "summer", chunk=100, tags=["x"], tenant="other", at=at)
    wait_for(lambda: len(waiting(redis)) == 4 and pending(redis) == 0, what="all wait")
    job = sorted(waiting(redis))[0].split(":")[1]
    body, n = {"tag": ({"tag": "promo"}, 300), "campaign": ({"campaign": "spring"}, 300), "tenant": ({"tenant": "acme"}, 300),
               "message": ({"message": job}, 1), "job": ({"job": job}, 1)}[kind]
    assert e.post("/v1/cancel", body).status == 202
    done = wait_for(lambda: (r := e.report())["cancelled"] >= n and r, 10, "the books show it")
    if kind in ("tag", "campaign", "tenant"):
        assert (done["cancelled"], done["pending"]) == (300, 100)
    wait_for(lambda: pending(redis) == 0 and in_memory(e) == 0, what="the others wait again")
    assert sink.ledger()["accepted"] == 0
    left = 400 - e.report()["cancelled"]
    advance(e, 25 * HOUR)
    wait_for(lambda: e.report()["sent"] == left, what="the others are sent when it is time")
    assert e.assert_balanced()["repeats"] == 0 and sink.ledger()["duplicates"] == 0


def test_marks_that_are_none(engine, sink, redis, hermod):
    e = engine(sink, redis)
    for body in ({}, {"campaign": ""}, {"campaign": "x", "tag": "y"}, {"message": "abc"}, {"nothing": "x"}, {"tag": 5}, []):
        for path in ("/v1/pause", "/v1/resume", "/v1/cancel"):
            a = e.post(path, body)
            assert a.status == 422, (body, a.body)
    assert hermod("pause", "--config", e.config_file).returncode == 2
    assert hermod("cancel", "--campaign", "a", "--tag", "b", "--config", e.config_file).returncode == 2
