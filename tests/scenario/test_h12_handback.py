"""A drain gives back what is left: nothing stays pending, nothing is unknown, others go on at once. And: what waits for a channel expires in time."""
import threading
import time

import msgpack
import pytest
from conftest import channels_to, wait_for, xadd
from test_c20_life import load
from test_h40_shaping import state
from test_h75_nodes import nothing_waits, pair, settled, sums

LONG = {"queue": {"claim_after": "10m", "heartbeat": "200ms"}}  # nobody waits for that


def pending(client):
    return sum(client.xpending(k, "hermod")["pending"] for k in client.keys("{hm:*}:q:*"))


def entries(client):
    return [msgpack.unpackb(f[b"j"]) for k in sorted(client.keys("{hm:*}:q:*")) for _, f in client.xrange(k)]


def test_a_rolling_restart_sends_everything_once(engine, sink, redis, keys, hermod):
    c = channels_to(sink, keys)
    c["fcm-sink"]["resend_unknown"] = False
    sink.knobs({"fcm": {"latency": 20, "mix": [{"percent": 10, "status": 503}]}, "apns": {"latency": 10}})
    # A tenth of it fails: without a wider budget the last retries would trickle.
    a, b = pair(engine, sink, redis, channels=c, settings={**LONG, "shape": {"retry_floor": 1000},
                                                           "dispatch": {"retry_base": "50ms", "retry_max": "3s", "max_attempts": 30,
                                                                        "request_timeout": "2m"}})  # no answer is lost, however slow it is
    made, over = [0], threading.Event()

    def feed():
        while not over.is_set():
            for channel in ("fcm-sink", "apns-sink"):
                n = 1 if made[0] % 3 else 30
                job = {"channel": channel, "content": {"body": "x"}, "campaign": "roll",
                       "rs": [{"addr": f"{made[0] + i:064x}"} for i in range(n)]}
                if made[0] % 5 == 0:
                    job["over"] = 1500
                xadd(redis.client, job, partition=made[0] % 16, lane=("normal", "critical")[made[0] % 2])
                made[0] += n
            over.wait(0.003)
    t = threading.Thread(target=feed)
    t.start()
    try:
        for i in range(6):
            time.sleep(0.3)  # of load
            e = (a, b)[i % 2]
            assert e.stop() == 0
            e.start()
    finally:
        over.set()
        t.join()
    wait_for(lambda: sink.ledger()["unique"] >= made[0], 180, f"all {made[0]} are sent")
    wait_for(lambda: nothing_waits(redis.client) and not redis.client.keys("{hm:*}:delayed"), 20, "nothing is left in the queue")
    led, s = sink.ledger(), settled((a, b), "roll", made[0], 20)  # and in the books of the two it counts once
    assert (led["unique"], led["duplicates"]) == (made[0], 0), led
    assert (s["sent"], s["failed"], s["unknown_attempts"], s["repeats"]) == (made[0], 0, 0, 0), s
    for e in (a, b):
        out = hermod("report", "--verify", "--config", e.config_file)
        assert out.returncode == 0 and "verified" in out.stdout, out


def test_nothing_stays_pending_and_another_node_goes_on_at_once(engine, sink, redis):
    a = engine(sink, redis, name="a", settings={"node": {"name": "a", "shards": 2}, **LONG, "dispatch": {"max_in_flight": 100}})
    sink.knobs({"apns": {"latency": 30}})
    load(redis, 3000, "left")
    wait_for(lambda: sink.ledger()["accepted"] > 300, what="sending has begun")
    assert a.stop() == 0
    had = sink.ledger()["accepted"]
    assert 300 < had < 3000 and pending(redis.client) == 0
    back = entries(redis.client)
    assert sum(len(j.get("rs", ["to"])) for j in back) == 3000 - had
    ids = [j["id"] for j in back if "res" in j]
    assert ids and len(set(ids)) == len(ids)
    b = engine(sink, redis, name="b", settings={"node": {"name": "b", "shards": 2}, **LONG})
    wait_for(lambda: b.final("left") >= 3000 - had, 20, "the other node has done the rest")
    a.start()
    s = settled((a, b), "left", 3000)
    assert (s["sent"], s["unknown_attempts"], s["repeats"]) == (3000, 0, 0)
    assert (sink.ledger()["unique"], sink.ledger()["duplicates"]) == (3000, 0)


def test_attempts_go_along(engine, sink, redis):
    """Held for another try: whoever gets it goes on counting."""
    s = {**LONG, "dispatch": {"max_attempts": 2, "retry_base": "400ms", "retry_max": "500ms"}}
    a, b = pair(engine, sink, redis, settings=s)
    assert b.stop() == 0
    sink.knobs({"apns": {"mix": [{"percent": 100, "status": 503}]}})
    load(redis, 20, "tries", chunk=20)
    wait_for(lambda: len(sink.requests(profile="apns")) >= 20, what="all have been tried")
    assert a.stop() == 0
    before = len(sink.requests(profile="apns"))
    assert pending(redis.client) == 0
    b.start()
    wait_for(lambda: b.final("tries") >= 20 - (before - 20), 20, "they fail at the other node")
    a.start()
    assert settled((a, b), "tries", 20)["failed"] == 20
    assert len(sink.requests(profile="apns")) == 40


@pytest.mark.parametrize("end", ["stop", "kill9"])
def test_there_and_back_again(engine, sink, redis, hermod, end):
    """Messages go from a to b, back to a, and again: each comes back before its node has heard that it had left."""
    s = {"queue": {"claim_after": "10m" if end == "stop" else "1s", "heartbeat": "200ms"},
         "dispatch": {"max_attempts": 100, "retry_base": "200ms", "retry_max": "400ms"}}
    a, b = pair(engine, sink, redis, settings=s)
    assert b.stop() == 0
    sink.knobs({"apns": {"mix": [{"percent": 100, "status": 503}]}})
    load(redis, 60, "ball", chunk=20)
    tried = lambda: len(sink.requests(profile="apns"))
    wait_for(lambda: tried() >= 60, what="a has tried all")
    for e, other in ((a, b), (b, a)) * 2:
        e.stop() if end == "stop" else e.kill9()
        before = tried()
        other.start()
        wait_for(lambda: tried() >= before + 60, 30, "the other goes on with them")
    sink.knobs({"apns": {"mix": []}})
    b.start()
    r = settled((a, b), "ball", 60)
    wait_for(lambda: nothing_waits(redis.client), what="everybody has been told")
    assert (r["sent"], r["repeats"]) == (60, 0) or (end == "kill9" and r["sent"] + r["failed"] == 60), r
    for e in (a, b):  # in their ledgers too, and after another start
        assert e.stop() == 0
        out = hermod("report", "--verify", "--config", e.config_file)
        assert out.returncode == 0 and "verified" in out.stdout, out
        e.start()
    assert settled((a, b), "ball", 60) == r


@pytest.mark.parametrize("point", ["handback_before", "handback_after"])
def test_killed_while_handing_back(engine, sink, redis, point):
    """Either the old entry is there or the new ones, never both, never none."""
    s = {"dispatch": {"max_in_flight": 100}, **LONG}
    a = engine(sink, redis, name="a", settings={"node": {"name": "a", "shards": 1}, **s}, env={"HERMOD_FAULTS": f"{point}:kill@3"})
    sink.knobs({"apns": {"latency": 30}})
    load(redis, 3000, "half")
    wait_for(lambda: sink.ledger()["accepted"] > 300, what="sending has begun")
    assert a.stop() == -9
    a.env = {}
    a.start()
    b = engine(sink, redis, name="b", settings={"node": {"name": "b", "shards": 2}, **s})
    r = settled((a, b), "half", 3000)
    assert (r["sent"], r["unknown_attempts"]) == (3000, 0)
    assert (sink.ledger()["unique"], sink.ledger()["duplicates"]) == (3000, 0)


# -- waiting beyond the expiry ---------------------------------------------------------------------------

def send_many(redis, n, campaign, seconds, chunk=20):
    for i in range(0, n, chunk):
        xadd(redis.client, {"channel": "apns-sink", "content": {"body": "x"}, "campaign": campaign, "expires": int((time.time() + seconds) * 1000),
                            "rs": [{"addr": f"{i + k:064x}"} for k in range(chunk)]}, partition=i // chunk % 16)


def test_who_waits_for_a_breaker_expires_in_time(engine, sink, redis, keys):
    c = channels_to(sink, keys)
    c["apns-sink"].update(breaker={"min": 10, "open": "10m"}, max_attempts=50)
    e = engine(sink, redis, channels=c, settings={"dispatch": {"retry_base": "50ms", "retry_max": "200ms"}})
    sink.knobs({"apns": {"mix": [{"percent": 100, "status": 503}]}})
    send_many(redis, 60, "open", 2)
    wait_for(lambda: (e.metric("hermod_channel_breaker_opened_total") or 0) >= 1 or len(sink.requests(profile="apns")) >= 10, what="it opens")
    send_many(redis, 2000, "open", 2, chunk=100)  # parked before they are expanded
    r = e.wait_final(2060, "open", seconds=8)
    assert r["sent"] == 0 and r["expired"] >= 2000, r
    assert len(sink.requests(profile="apns")) < 200


def test_who_finds_no_room_expires_in_time(engine, sink, redis, keys):
    c = channels_to(sink, keys)
    c["apns-sink"].update(concurrency=2)
    e = engine(sink, redis, channels=c, settings={"dispatch": {"request_timeout": "30s"}})
    sink.knobs({"apns": {"fault": "stall"}})
    send_many(redis, 500, "full", 2, chunk=50)
    wait_for(lambda: e.final("full") >= 490, 8, "all but those that have left are expired")
    assert e.report("full")["expired"] == e.final("full")
    sink.knobs({"apns": {"fault": None}})


def test_who_waits_for_a_paused_channel_expires_in_time(engine, sink, redis):
    e = engine(sink, redis)
    assert e.post("/v1/channels/apns-sink/pause", {"reason": "r"}).status == 200
    wait_for(lambda: state(e)["state"] == "paused", what="the engine has heard of it")
    send_many(redis, 300, "paused", 3, chunk=30)
    r = e.wait_final(300, "paused", seconds=9)
    assert r["expired"] == 300
