"""Shaping: rates and permits that all processes share, adaptive rates, the breaker, pauses by hand, the retry budget."""
import time

from conftest import channels_to, wait_for, xadd
from sink_client import Sink
from test_c20_life import load

import pytest

pytestmark = pytest.mark.alone

TOKEN = "%064x"
OFF = {"breaker": "off"}


@pytest.fixture
def sink(keys):
    s = Sink("--apns-key", keys.apns, "--fcm-key", keys.fcm_key, "--webhook-secret", keys.webhook_secret, keep_requests=20000)
    yield s
    s.stop()


@pytest.fixture
def channels(sink, keys):
    """channels(push={...}, fcm={...}): three channels with further settings."""
    def make(push=None, fcm=None):
        c = channels_to(sink, keys)
        return {"apns-sink": {**c["apns-sink"], **(push or {})}, "fcm-sink": {**c["fcm-sink"], **(fcm or {})}, "hook-sink": c["hook-sink"]}
    return make


def times(sink, **which):
    """When requests arrived, in seconds, in order."""
    return sorted(r.raw["mono_us"] / 1e6 for r in sink.requests(20000, **which))


def most_in(at, window):
    """The most in any window of that length, wherever it begins."""
    most = first = 0
    for i, t in enumerate(at):
        while t - at[first] >= window:
            first += 1
        most = max(most, i - first + 1)
    return most


def state(e, channel="apns-sink"):
    a = e.get("/v1/channels")
    assert a.status == 200, a.body
    return next(c for c in a.json["channels"] if c["name"] == channel)


def number(e, name, channel="apns-sink"):
    for line in e.get("/metrics").body.decode().splitlines():
        if line.startswith(f'{name}{{channel="{channel}"}} '):
            return float(line.rsplit(" ", 1)[1])
    return None


def move(ms, *engines):
    """The clock, in steps that no connection takes for a silence."""
    while ms > 0:
        for e in engines:
            try:
                e.advance(min(ms, 4000))
            except OSError:  # a step before made this connection look idle
                e.advance(min(ms, 4000))
        ms -= 4000


def both(k):
    """A recipient that either channel of the route can reach."""
    return {"addr": {"apns-sink": TOKEN % k, "hook-sink": "x"}}


def test_two_engines_keep_a_rate_together(engine, sink, redis, channels):
    c = channels(push={"rate": "200/s"})
    a, b = (engine(sink, redis, channels=c, name=n) for n in ("one", "two"))
    load(redis, 1400, "rate", chunk=20)
    wait_for(lambda: a.final("rate") + b.final("rate") >= 1400, 40, "all of it is sent")
    at = times(sink, profile="apns")
    assert len(at) == 1400 and sink.ledger()["duplicates"] == 0
    # 200 a second and what may be saved up, a tenth of it; a busy machine lets some arrive together
    assert most_in(at, 1.0) <= 300 and most_in(at, 4.0) <= 800 + 20 + 60, (most_in(at, 1.0), most_in(at, 4.0))
    assert 6.5 <= at[-1] - at[0] <= 14, at[-1] - at[0]
    assert number(a, "hermod_channel_requests_total") > 250 and number(b, "hermod_channel_requests_total") > 250
    # leased in batches, not per message
    assert number(a, "hermod_channel_leases_total") + number(b, "hermod_channel_leases_total") < 900


def test_twenty_in_a_window_and_not_one_more(engine, sink, redis, channels):
    e = engine(sink, redis, channels=channels(push={"rate": ["20/min", "1000/day"]}))
    load(redis, 50, "window", chunk=10)
    wait_for(lambda: sink.ledger()["accepted"] >= 20, what="the first twenty")
    wait_for(lambda: "quota of 20 in 1m used up" in state(e)["why"], what="the reason is visible")
    assert state(e)["state"] == "waiting"
    assert state(e)["rate"] == [{"max": 20, "window_ms": 60000}, {"max": 1000, "window_ms": 86400000}]
    move(40000, e)
    e.send(channel="apns-sink", to=TOKEN % 999, content={"body": "late"}, campaign="other")  # the engine is alive
    assert sink.ledger()["accepted"] == 20
    move(25000, e)
    for last in (False, False, True):  # tokens whose answer got lost in the jump are gone with their window
        try:
            wait_for(lambda: sink.ledger()["accepted"] >= 40, 5, what="the next twenty")
            break
        except pytest.fail.Exception:
            if last:
                raise
            assert sink.ledger()["accepted"] <= 40
            move(61000, e)
    move(70000, e)
    e.wait_final(50, "window")
    assert sink.ledger()["duplicates"] == 0


def test_permits_hold_at_the_sink(engine, sink, redis, channels):
    c = channels(push={"concurrency": 6})
    sink.knobs({"apns": {"latency": 200}})
    a, b = (engine(sink, redis, channels=c, name=n) for n in ("one", "two"))
    load(redis, 150, "permits", chunk=5)
    seen = 0

    def done():
        nonlocal seen
        on = [number(e, "hermod_channel_on_wire") or 0 for e in (a, b)]
        seen = max(seen, sum(on))
        return a.final("permits") + b.final("permits") >= 150
    wait_for(done, 60, "all of it is sent")
    # Whoever arrives within one latency is there at the same time.
    assert most_in(times(sink, profile="apns"), 0.190) <= 6
    assert sink.ledger()["duplicates"] == 0


def test_the_rate_falls_and_recovers(engine, sink, redis, channels):
    e = engine(sink, redis, channels=channels(fcm={**OFF, "max_attempts": 100}),
               settings={"node": {"shards": 1}, "shape": {"retry_floor": 1000}})
    sink.knobs({"fcm": {"rate_limit": {"per_second": 200, "burst": 40, "retry_after": 1}, "latency": 20}})
    load(redis, 900, "adaptive", chunk=50, channel="fcm-sink")
    wait_for(lambda: number(e, "hermod_channel_allowed_per_second", "fcm-sink") > 0, what="it slows down")
    assert state(e, "fcm-sink")["state"] in ("slowed", "waiting")
    assert e.wait_final(900, "adaptive", seconds=90)["sent"] == 900
    # About a refusal a message at most: it does not try everything again and again.
    assert 0 < number(e, "hermod_channel_rate_limited_total", "fcm-sink") < 1800
    sink.knobs({"fcm": {"rate_limit": None}})
    for _ in range(40):  # it recovers by itself
        e.advance(1000)
    wait_for(lambda: state(e, "fcm-sink")["state"] == "ok", what="it is as before")


def test_retry_after_stops_the_channel_in_every_process(engine, sink, redis, channels):
    c = channels(fcm=OFF)
    a, b = (engine(sink, redis, channels=c, name=n, settings={"node": {"shards": 1}}) for n in ("one", "two"))
    sink.script({"profile": "fcm", "token": "first"}, [{"status": 429, "retry_after": 8}])
    a.send(channel="fcm-sink", to="first", content={"body": "x"}, campaign="wait")
    for e in (a, b):
        wait_for(lambda e=e: "the provider asked to wait" in state(e, "fcm-sink")["why"], 10, "both know")
    ids = [e.send(channel="fcm-sink", to="second", content={"body": "y"}) for e in (a, b)]
    other = b.send(channel="apns-sink", to=TOKEN % 1, content={"body": "y"})
    wait_for(lambda: any((x.message(other) or {}).get("state") == "sent" for x in (a, b)), what="another channel goes on")
    assert len(sink.requests(profile="fcm", path="/v1/projects")) == 1
    for id in ids:
        wait_for(lambda id=id: any((x.message(id) or {}).get("state") == "sent" for x in (a, b)), 40, "it goes on")


def test_one_recipient_waits_alone(engine, sink, redis, channels):
    e = engine(sink, redis, channels=channels(push={"per_recipient": ["1/s"]}))
    xadd(redis.client, {"channel": "apns-sink", "rs": [{"addr": TOKEN % 7} for _ in range(5)], "content": {"body": "x"}, "campaign": "one"})
    xadd(redis.client, {"channel": "apns-sink", "rs": [{"addr": TOKEN % k} for k in range(100, 300)], "content": {"body": "x"},
                        "campaign": "many"}, partition=1)
    e.wait_final(200, "many")
    assert e.final("one") < 5  # those to one address did not hold up the others, and are not through
    wait_for(lambda: number(e, "hermod_channel_recipient_waits_total") > 0, what="it is counted")
    e.wait_final(5, "one")
    at = times(sink, profile="apns", path="/3/device/" + TOKEN % 7)
    assert len(at) == 5
    assert most_in(at, 0.9) == 1 and at[-1] - at[0] >= 3.9


def test_breaker_opens_traffic_moves_and_comes_back(engine, sink, redis, channels):
    push = {"breaker": {"min": 10, "open": "1s", "window": "2s"}, "max_attempts": 50}
    e = engine(sink, redis, channels=channels(push=push), routes={"r": ["apns-sink", "hook-sink"]},
               settings={"node": {"shards": 1}, "dispatch": {"retry_base": "100ms", "retry_max": "500ms"}})
    sink.knobs({"apns": {"mix": [{"percent": 100, "status": 503}]}})
    ids = [e.send(route="r", to=both(k), content={"body": "x"}, campaign="moves") for k in range(40)]
    wait_for(lambda: state(e)["state"] in ("open", "half_open"), 5, "it opens")
    begun = time.monotonic()
    late = e.send(route="r", to=both(999), content={"body": "x"})
    m = e.wait_state(late, "sent", seconds=5)
    assert m["channel"] == "hook-sink" and time.monotonic() - begun < 5
    e.wait_final(40, "moves", seconds=20)
    assert all(e.message(i)["state"] == "sent" for i in ids)
    assert "circuit" in state(e)["why"]
    assert number(e, "hermod_channel_breaker_opened_total") >= 1
    # The provider is well again: probes find out.
    sink.knobs({"apns": {"mix": None}})
    def back():
        e.send(route="r", to=both(5), content={"body": "x"})
        return state(e)["state"] == "ok"
    wait_for(back, 40, "it closes")
    id = e.send(route="r", to=both(6), content={"body": "x"})
    assert e.wait_state(id, "sent")["channel"] == "apns-sink"


def test_a_fixed_channel_waits_for_its_breaker(engine, sink, redis, channels):
    e = engine(sink, redis, channels=channels(push={"breaker": {"min": 10, "open": "500ms"}, "max_attempts": 50}),
               settings={"node": {"shards": 1}, "dispatch": {"retry_base": "50ms", "retry_max": "200ms"}})
    sink.knobs({"apns": {"mix": [{"percent": 100, "status": 503}]}})
    load(redis, 60, "fixed", chunk=20)
    wait_for(lambda: number(e, "hermod_channel_breaker_opened_total") >= 2, 20, "it opens, and a probe fails")
    assert len(sink.requests(profile="apns")) < 60 + 40  # all of them left once at most, then only probes
    sink.knobs({"apns": {"mix": None}})
    assert e.wait_final(60, "fixed", seconds=60)["sent"] == 60


def test_paused_by_hand_while_loaded(engine, sink, redis, channels, hermod):
    c = channels()
    sink.knobs({"apns": {"latency": 20}})
    a, b = (engine(sink, redis, channels=c, name=n, settings={"dispatch": {"max_in_flight": 20}}) for n in ("one", "two"))
    load(redis, 6000, "paused", chunk=100)
    wait_for(lambda: sink.ledger()["accepted"] > 200, what="sending has begun")
    r = a.post("/v1/channels/apns-sink/pause", {"reason": "the provider's maintenance"})
    assert (r.status, r.json) == (200, {"name": "apns-sink", "paused": True, "changed": True})
    for e in (a, b):
        wait_for(lambda e=e: state(e)["state"] == "paused", 1, "both have stopped within a second")
    wait_for(lambda: sum(number(e, "hermod_channel_on_wire") or 0 for e in (a, b)) == 0, 5, "what was on the wire is answered")
    n = sink.ledger()["accepted"]
    assert n < 6000
    said = hermod("channels", "list", "--config", a.config_file)
    assert said.returncode == 0 and "paused" in said.stdout and "the provider's maintenance" in said.stdout, said
    assert state(b)["paused"]["reason"] == "the provider's maintenance"
    other = b.send(channel="hook-sink", to="x", content={"body": "y"})
    b.wait_state(other, "sent")
    # It survives a restart: nothing leaves before it is known.
    assert b.stop() == 0
    b.start()
    id = b.send(channel="hook-sink", to="x", content={"body": "y"})
    b.wait_state(id, "sent")
    assert sink.ledger("apns")["accepted"] == n - (sink.ledger("webhook")["accepted"] - 2)
    said = hermod("channels", "resume", "apns-sink", "--config", a.config_file)
    assert said.returncode == 0 and "is resumed" in said.stderr, said
    for e in (a, b):
        wait_for(lambda e=e: state(e)["state"] != "paused", 1, "both go on within a second")
    wait_for(lambda: sink.ledger("apns")["unique"] >= 6000, 60, "the rest is sent")
    # What b handed back when it stopped went on at a, which cannot know what b had sent: marked as unknown, each of them.
    assert sink.ledger("apns")["duplicates"] <= sum(e.report("paused")["unknown_attempts"] for e in (a, b))


def test_wrong_names_and_reasons(engine, sink, redis, channels, hermod):
    e = engine(sink, redis, channels=channels())
    assert e.post("/v1/channels/nobody/pause").status == 404
    for body in ({"reason": 5}, {"why": "x"}, {"reason": "x" * 201}, ["x"]):
        assert e.post("/v1/channels/apns-sink/pause", body).status == 422 or e.post("/v1/channels/apns-sink/pause", body).status == 400
    assert e.post("/v1/channels/apns-sink/resume").json["changed"] is False
    assert hermod("channels", "pause", "nobody", "--config", e.config_file).returncode == 1
    assert hermod("channels", "pause").returncode == 2
    assert hermod("channels", "shout").returncode == 2


def test_a_used_up_day_goes_to_the_next_channel(engine, sink, redis, channels):
    e = engine(sink, redis, channels=channels(push={"rate": "10/day"}), routes={"r": ["apns-sink", "hook-sink"]},
               settings={"node": {"shards": 1}})
    rs = [both(k) for k in range(30)]
    xadd(redis.client, {"route": "r", "rs": rs, "content": {"body": "x"}, "campaign": "day"})
    e.wait_final(30, "day")
    assert (sink.ledger("apns")["accepted"], sink.ledger("webhook")["accepted"]) == (10, 20)
    assert "quota of 10 in 1d used up" in state(e)["why"]
    # Without a route they wait.
    id = e.send(channel="apns-sink", to=TOKEN % 77, content={"body": "x"})
    again = e.send(route="r", to=both(78), content={"body": "x"})
    assert e.wait_state(again, "sent")["channel"] == "hook-sink"
    assert e.message(id)["state"] not in ("sent", "failed", "expired")


def test_retry_storms_are_impossible(engine, sink, redis, channels):
    e = engine(sink, redis, channels=channels(push={**OFF, "max_attempts": 100}),
               settings={"node": {"shards": 1}, "dispatch": {"retry_base": "10ms", "retry_max": "20ms"}, "shape": {"retry_floor": 5}})
    sink.knobs({"apns": {"mix": [{"percent": 100, "status": 503}]}})
    load(redis, 400, "storm", chunk=100)
    wait_for(lambda: number(e, "hermod_channel_retries_refused_total") > 100, 20, "retries are refused")
    wait_for(lambda: len(times(sink, profile="apns")) >= 400, 20, "each had its first attempt")
    wait_for(lambda: times(sink, profile="apns")[-1] - times(sink, profile="apns")[0] > 8, 40, "eight seconds of it")
    at = times(sink, profile="apns")
    # 400 first attempts, a fifth of them in ten seconds, and five a second: unlimited, it would be thousands
    assert len([t for t in at if t - at[0] <= 8]) <= 400 + 80 + 50 + 10, len(at)
    sink.knobs({"apns": {"mix": None}})
    assert e.wait_final(400, "storm", seconds=90)["sent"] == 400
