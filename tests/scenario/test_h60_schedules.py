"""Messages that wait: put aside in Redis, paused, cancelled, scheduled."""
import http.client
import time
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import msgpack
import pytest
from conftest import http as conftest_http, wait_for, xadd

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
    wait_for(lambda: not redis.client.keys("{hm:*}:paused*"), what="nothing is left of it")


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


@pytest.mark.parametrize("point", ["delay_resume_after", "delay_release_after"])
def test_kill_9_while_what_waits_comes_back(engine, sink, redis, point):
    e = engine(sink, redis, env={"HERMOD_FAULTS": f"{point}:kill"})
    resume = point == "delay_resume_after"
    if resume:
        assert e.post("/v1/pause", {"campaign": "back"}).status == 202
        load(redis, 300, "back", chunk=3)
    else:
        load(redis, 300, "back", chunk=3, at=int(time.time() * 1000) + 5 * HOUR)
    wait_for(lambda: e.report("back")["accepted"] == 300 and pending(redis) == 0 and in_memory(e) == 0, what="all of it waits in Redis")
    a = e.post("/v1/resume" if resume else "/v1/cancel", {"campaign": "back"})
    assert a.status == 202, a.body
    wait_for(lambda: not e.alive(), what="the engine dies at the point")
    e.env = {}
    e.start()
    r = e.wait_final(300, "back")
    assert (r["accepted"], r["sent" if resume else "cancelled"]) == (300, 300), r
    assert sink.ledger()["duplicates"] <= r["unknown_attempts"], r


def test_marks_that_are_none(engine, sink, redis, hermod):
    e = engine(sink, redis)
    for body in ({}, {"campaign": ""}, {"campaign": "x", "tag": "y"}, {"message": "abc"}, {"nothing": "x"}, {"tag": 5}, []):
        for path in ("/v1/pause", "/v1/resume", "/v1/cancel"):
            a = e.post(path, body)
            assert a.status == 422, (body, a.body)
    assert hermod("pause", "--config", e.config_file).returncode == 2
    assert hermod("cancel", "--campaign", "a", "--tag", "b", "--config", e.config_file).returncode == 2


# -- at a local time, over a span ------------------------------------------------------------------


def test_at_a_local_time_in_three_zones(engine, sink, redis):
    e = engine(sink, redis)
    zones = ["Asia/Shanghai", "Europe/London", "America/New_York"]
    day = time.gmtime(time.time() + 40 * 3600)  # ahead everywhere
    local = time.strftime("%Y-%m-%dT12:00", day)
    due = {z: int(datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(z)).timestamp() * 1000) for z in zones}
    rs = [{"addr": f"{i:064x}", "tz": z} for i, z in enumerate(zones)] + [{"addr": "f" * 64}]
    xadd(redis.client, {"channel": "apns-sink", "rs": rs, "content": {"body": "x"}, "campaign": "noon", "at_local": local})
    wait_for(lambda: len(waiting(redis)) == 4 and pending(redis) == 0, what="all wait, each for its own time")
    scores = sorted(int(s) for k in redis.client.keys("{hm:*}:delayed") for _, s in redis.client.zrange(k, 0, -1, withscores=True))
    utc = int(datetime.fromisoformat(local).replace(tzinfo=timezone.utc).timestamp() * 1000)
    assert scores == sorted([*due.values(), utc])
    ahead = 0
    for t in sorted(set(scores)):
        step = t + 1000 - int(time.time() * 1000) - ahead
        advance(e, step)
        ahead += step
        want = sum(s <= t for s in scores)
        wait_for(lambda: e.final("noon") == want, what=f"{want} are sent")
    r = e.assert_balanced("noon")
    assert (r["accepted"], r["sent"], r["repeats"]) == (4, 4, 0)


@pytest.mark.parametrize("past,state", [("now", "sent"), ("skip", "expired"), ("next_day", "held")])
def test_a_local_time_that_is_over(engine, sink, redis, past, state):
    e = engine(sink, redis)
    local = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(time.time() - 7200))
    id = e.send(channel="apns-sink", to={"addr": "1" * 64, "tz": "UTC"}, content={"body": "x"}, at_local=local, local_past=past)
    m = e.wait_state(id, state)
    if past == "next_day":
        advance(e, 23 * HOUR)
        e.wait_state(id, "sent")
    elif past == "skip":
        assert "at_local" in m["reason"]


def test_over_a_span_messages_leave_evenly(engine, sink, redis):
    e = engine(sink, redis)
    a = e.post("/v1/messages/batch", {"messages": [{"channel": "apns-sink", "to": f"{i:064x}", "content": {"body": "x"},
                                                    "campaign": "slow", "over": "100m"} for i in range(1000)]})
    assert a.status == 202, a.body
    wait_for(lambda: pending(redis) == 0 and in_memory(e) == 0, what="all wait or are sent")
    n = []
    for _ in range(10):
        advance(e, 600_000)
        wait_for(lambda: in_memory(e) == 0 and pending(redis) == 0 and (not waiting(redis) or e.final("slow") > sum(n)),
                 what="what was due is sent")
        time.sleep(0.7)
        wait_for(lambda: in_memory(e) == 0 and pending(redis) == 0, what="what was due is sent")
        n.append(e.final("slow") - sum(n))
    assert sum(n) == 1000 and all(60 <= k <= 140 for k in n), n
    assert e.assert_balanced("slow")["sent"] == 1000 and sink.ledger()["duplicates"] == 0


# -- recurring -------------------------------------------------------------------------------------


JOB = {"channel": "apns-sink", "to": "1" * 64, "content": {"body": "again"}, "campaign": "again"}


def test_a_recurring_schedule_of_two_engines_fires_once(engine, sink, redis):
    a, b = engine(sink, redis, name="a"), engine(sink, redis, name="b")
    r = a.post("/v1/schedules", {"name": "hourly", "every": "1h", "job": JOB})
    assert r.status == 201, r.body
    s = b.get("/v1/schedules/hourly").json
    assert s["every"] == "1h" and s["runs"] == 0 and s["next"] > s["created"] and s["job"]["to"] == JOB["to"]

    def sent():  # by the books: a request that was under way when the clock moved may have been made twice
        return sum(e.report("again").get("sent", 0) for e in (a, b))
    for i in range(1, 4):
        sink.advance(HOUR)  # first: it fires at once, with a token of that time
        for e in (a, b):
            try:
                e.post("/v1/admin/clock", {"advance_ms": HOUR})
            except (http.client.RemoteDisconnected, ConnectionResetError):
                pass
        wait_for(lambda: a.get("/v1/schedules/hourly").json["runs"] == i, what=f"it has run {i} times")
        wait_for(lambda: sent() == i, what=f"{i} messages are sent")
    time.sleep(1.2)
    assert sent() == 3
    assert a.post("/v1/schedules/hourly/run").status == 202
    wait_for(lambda: sent() == 4, what="it ran by hand")


def test_missed_times_and_pauses_of_a_schedule(engine, sink, redis):
    e = engine(sink, redis)
    for catch_up in ("none", "one", "all"):
        assert e.post("/v1/schedules", {"name": catch_up, "every": "1h", "catch_up": catch_up,
                                        "job": {**JOB, "campaign": catch_up}}).status == 201
    assert e.post("/v1/schedules", {"name": "held", "every": "1h", "job": {**JOB, "campaign": "held"}}).status == 201
    assert e.post("/v1/schedules/held/pause").json["state"] == "paused"
    advance(e, 5 * HOUR + 600_000)  # five times passed in one jump: four of them missed, and the last is late too
    wait_for(lambda: e.final("all") == 5 and e.final("one") == 1, what="caught up")
    time.sleep(1)
    assert [e.final(c) for c in ("none", "one", "all", "held")] == [0, 1, 5, 0]
    assert e.post("/v1/schedules/held/resume").json["state"] == "scheduled"
    time.sleep(1)
    assert e.final("held") == 0
    advance(e, HOUR)
    wait_for(lambda: all(e.final(c) == n for c, n in (("none", 0), ("one", 2), ("all", 6), ("held", 1))), what="all run again; none is late again")
    assert conftest_http("DELETE", e.url("/v1/schedules/held")).status == 200
    assert [s["name"] for s in e.get("/v1/schedules").json["schedules"]] != []
    assert e.get("/v1/schedules/held").status == 404


@pytest.mark.parametrize("point", ["schedule_entry", "schedule_fired", "schedule_moved"])
def test_kill_9_while_a_schedule_fires(engine, sink, redis, point):
    e = engine(sink, redis, env={"HERMOD_FAULTS": f"{point}:kill"})
    job = {k: v for k, v in JOB.items() if k != "to"} | {"recipients": [f"{i:064x}" for i in range(1500)]}
    assert e.post("/v1/schedules", {"name": "many", "every": "1h", "job": job}).status == 201
    advance(e, HOUR)
    wait_for(lambda: not e.alive(), what="the engine dies at the point")
    e.env = {}
    e.start()
    sink_clock, e.sink = e.sink, None  # the engine's clock began anew, the provider's did not
    advance(e, HOUR + 1000)
    e.sink = sink_clock
    # Until the clock is moved the provider finds the engine's tokens too old, which may open the breaker.
    wait_for(lambda: e.get("/v1/schedules/many").json["runs"] == 1 and e.final("again") == 1500, 90, "it fires once")
    wait_for(lambda: all(redis.client.xlen(k) == 0 for k in redis.client.scan_iter("{hm:*}:q:*")), what="nothing is queued")
    r, led = e.report("again"), sink.ledger()
    assert r["accepted"] == r["sent"] == led["unique"] == 1500, (r, led)
    assert led["duplicates"] <= r["unknown_attempts"], (r, led)


def test_schedules_that_are_none(engine, sink, redis):
    e = engine(sink, redis)
    good = {"name": "x", "cron": "0 9 * * mon-fri", "tz": "Asia/Shanghai", "job": JOB}
    for change, word in (({"cron": "0 25 * * *"}, "hour"), ({"every": "1h"}, "cron"), ({"cron": None}, "cron"), ({"tz": "Mars/X"}, "tz"),
                         ({"name": "a b"}, "name"), ({"job": None}, "job"), ({"job": {**JOB, "at": "2030-01-01T00:00:00Z"}}, "job"),
                         ({"job": {**JOB, "channel": "nope"}}, "channel"), ({"until": "2001-01-01T00:00:00Z"}, "until"),
                         ({"catch_up": "never"}, "catch_up"), ({"corn": "x"}, "cron")):
        a = e.post("/v1/schedules", {**good, **change})
        assert a.status == 422 and word in a.json["detail"], (change, a.body)
    assert e.post("/v1/schedules", good).status == 201
    assert e.post("/v1/schedules", good).status == 409
    assert e.get("/v1/schedules/nothing").status == 404


def test_schedules_from_the_command_line(engine, sink, redis, hermod, tmp_path):
    e = engine(sink, redis)

    def run(*args):
        return hermod("schedules", *args, "--config", e.config_file)
    doc = tmp_path / "s.json"
    doc.write_text('{"name": "daily", "cron": "0 9 * * *", "tz": "Asia/Shanghai", "job": {"channel": "apns-sink", "to": "%s", '
                   '"content": {"body": "x"}}}' % ("1" * 64))
    assert run("create", doc).returncode == 0
    assert run("create", doc).returncode == 1
    assert "daily" in run("list").stdout
    assert run("run", "daily").returncode == 0
    wait_for(lambda: sink.ledger()["accepted"] == 1, what="it ran")
    assert run("pause", "daily").returncode == 0 and "paused" in run("list").stdout
    assert run("resume", "daily").returncode == 0 and "paused" not in run("list").stdout
    assert '"cron":"0 9 * * *"' in run("show", "daily").stdout.replace(": ", ":")
    assert run("delete", "daily").returncode == 0 and run("list").stdout == ""
    assert run("delete", "daily").returncode == 1 and run("nonsense").returncode == 2
