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
