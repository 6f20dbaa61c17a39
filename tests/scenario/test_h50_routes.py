"""Routes: which channel a message takes, and which next; receipts that end a wait."""
import collections
import json
import re
import threading
import time

import pytest
from conftest import channels_to, wait_for, xadd
from test_h75_nodes import nothing_waits

FCM = "f" * 20 + ":" + "a" * 130
TO = {"apns-sink": "ab" * 32, "fcm-sink": FCM, "wecom-sink": "zhang"}
MINUTE = 60_000


def token(n):
    return f"{n:064x}"


def to(n, user=None, **more):
    """A recipient with an address on each channel."""
    return {"addr": {"apns-sink": token(n), "fcm-sink": f"f{n:019}:" + "a" * 130, "wecom-sink": f"user{n}", **more},
            **({"user": user} if user else {})}


def send(e, route="r", n=1, **more):
    return e.send(**{"route": route, "to": to(n), "content": {"body": "hello"}, **more})


def chans(m):
    return [(a["channel"], a["outcome"]) for a in m["attempts"]]


def sent(sink, profile):
    return sink.ledger(profile)["accepted"]


@pytest.fixture
def up(engine, sink, redis, keys):
    """up(routes, channels={name: {more}}, ...) -> an engine whose clock moves the sink's, too"""
    def make(routes, channels=None, name="engine", **kw):
        ch = channels_to(sink, keys)
        for c, more in (channels or {}).items():
            ch.setdefault(c, dict(ch.get(more.pop("like", c), {}))).update(more)
        kw.setdefault("settings", {}).setdefault("dispatch", {"retry_base": "10ms", "retry_max": "50ms", "max_attempts": 2})
        return engine(sink, redis, channels=ch, routes=routes, name=name, **kw)
    return make


def receipts(e, *items):
    a = e.post("/v1/receipts", list(items))
    assert a.status == 202, a.body
    return [x["result"] for x in a.json["results"]]


def wait_until_aside(redis, id):
    """The message waits in Redis, in whatever partition its entry came."""
    def there():
        return any(any(m.decode().endswith(id) for m in redis.client.zrange(k, 0, -1))
                   for k in redis.client.keys("{hm:*}:delayed"))
    wait_for(there, 15, f"{id} waits in Redis")


def warm(e):
    """Its WeCom channel has its token: a clock that is moved while one is asked for ends the question, and the channel is one without."""
    e.wait_state(e.send(channel="wecom-sink", to="warm", content={"body": "x"}), "sent")


# -- one medium, across media ----------------------------------------------------------------------------

def test_the_next_provider_after_an_outcome_that_says_so(up, sink):
    e = up({"r": [{"channel": "apns-sink", "on": ["invalid_recipient"]}, "fcm-sink"]})
    gone = e.wait_state(e.send(route="r", to={"addr": {"apns-sink": "dead0000" + "a" * 56, "fcm-sink": FCM}}, content={"body": "x"}), "sent")
    assert chans(gone) == [("apns-sink", "invalid_recipient"), ("fcm-sink", "ok")]
    wrong = e.wait_state(e.send(route="r", to={"addr": {"apns-sink": "dead4012" + "a" * 56, "fcm-sink": FCM}}, content={"body": "x"}), "failed")
    assert chans(wrong) == [("apns-sink", "bad_request")]
    e.assert_balanced()


def test_another_medium_for_who_has_no_address_on_the_first(up, sink):
    e = up({"r": ["apns-sink", "wecom-sink"]})
    m = e.wait_state(e.send(route="r", to={"addr": {"chat": "zhang"}}, content={"body": "x"}), "sent")
    assert chans(m) == [("wecom-sink", "ok")]
    none = e.wait_state(e.send(route="r", to={"addr": {"sms": "+8613800000000"}}, content={"body": "x"}), "failed")
    assert "no address" in none["reason"]


# -- conditions ------------------------------------------------------------------------------------------

def test_conditions_see_message_recipient_and_the_last_attempt(up, sink):
    e = up({"r": [{"channel": "apns-sink", "if": 'lane == "critical" || (data.vip!false)'},
                  {"channel": "fcm-sink", "if": 'tags?seq_contains("cheap") && recipient.tz == "Asia/Tokyo"'},
                  {"channel": "wecom-sink", "if": 'last.outcome != "bad_request"'}]})
    assert chans(e.wait_state(send(e, lane="critical"), "sent")) == [("apns-sink", "ok")]
    assert chans(e.wait_state(send(e, data={"vip": True}), "sent")) == [("apns-sink", "ok")]
    # the recipient's own data is before the shared
    m = e.wait_state(send(e, data={"vip": True}, to={**to(5), "data": {"vip": False}}), "sent")
    assert chans(m) == [("wecom-sink", "ok")]
    assert chans(e.wait_state(send(e, tags=["cheap"], to={**to(2), "tz": "Asia/Tokyo"}), "sent")) == [("fcm-sink", "ok")]
    assert chans(e.wait_state(send(e, tags=["cheap"]), "sent")) == [("wecom-sink", "ok")]  # no time zone: does not hold
    bad = e.wait_state(send(e, lane="critical", to={"addr": {**TO, "apns-sink": "dead4012" + "a" * 56}}), "failed")
    assert chans(bad) == [("apns-sink", "bad_request")]
    assert "no further" in bad["reason"] or "Payload" in bad["reason"]
    e.assert_balanced()


def test_when_no_condition_holds_the_reason_says_why(up, sink):
    e = up({"r": [{"channel": "apns-sink", "if": "data.n > 3"}]})
    m = e.wait_state(send(e, data={"n": "many"}), "failed")
    assert "no step of the route fits" in m["reason"] and "many" not in m["reason"] and "data.n" in m["reason"], m


# -- weights, costs --------------------------------------------------------------------------------------

def test_weights_share_users_and_each_user_keeps_his_channel(up, sink, redis):
    e = up({"r": {"choose": "weighted", "steps": [{"channel": "apns-sink", "weight": 3}, {"channel": "fcm-sink", "weight": 1},
                                                   {"channel": "wecom-sink", "weight": 0}]}})
    n = 800
    for turn in range(2):
        for c in range(0, n, 400):
            xadd(redis.client, {"route": "r", "campaign": f"t{turn}", "content": {"body": f"x{turn}"},
                                "rs": [to(i + 1, user=f"u{i}") for i in range(c, c + 400)]})
    e.wait_final(n, "t0")
    e.wait_final(n, "t1")

    def taken(campaign):
        users, after = {}, ""
        while True:
            a = e.get(f"/v1/messages?campaign={campaign}&limit=500" + (f"&after={after}" if after else "")).json
            for m in a["messages"]:
                assert m["state"] == "sent" and len(m["attempts"]) == 1, m
                users[m["user"]] = m["attempts"][0]["channel"]
            if "next" not in a:
                return users
            after = a["next"]
    first, second = taken("t0"), taken("t1")
    assert first == second and len(first) == n
    share = collections.Counter(first.values())
    # 600 expected, standard deviation 12: six of them
    assert 528 <= share["apns-sink"] <= 672 and share["apns-sink"] + share["fcm-sink"] == n, share


def test_what_the_weights_choose_may_fail_and_the_others_are_there(up, sink):
    e = up({"r": {"choose": "weighted", "steps": [{"channel": "apns-sink", "weight": 1}, {"channel": "fcm-sink", "weight": 0}]}})
    sink.knobs({"apns": {"mix": [{"percent": 100, "status": 400}]}})
    m = e.wait_state(e.send(route="r", to={"addr": {**TO, "apns-sink": "dead4000" + "a" * 56}}, content={"body": "x"}), "sent")
    assert [c for c, _ in chans(m)] == ["apns-sink", "fcm-sink"]


def test_the_cheapest_first_and_the_next_cheapest_after_a_failure(up, sink):
    e = up({"r": {"choose": "cheapest", "steps": ["fcm-sink", "apns-sink", "wecom-sink"]}},
           channels={"fcm-sink": {"cost": 0.02}, "apns-sink": {"cost": 0.001}, "wecom-sink": {"cost": 0.01}})
    assert chans(e.wait_state(send(e), "sent")) == [("apns-sink", "ok")]
    m = e.wait_state(e.send(route="r", to={"addr": {**TO, "apns-sink": "dead0000" + "a" * 56}}, content={"body": "x"}), "sent")
    assert chans(m) == [("apns-sink", "invalid_recipient"), ("wecom-sink", "ok")]
    listed = {r["name"]: r for r in e.get("/v1/routes").json["routes"]}["r"]
    assert listed["choose"] == "cheapest" and [s["channel"] for s in listed["steps"]] == ["apns-sink", "wecom-sink", "fcm-sink"]
    assert listed["steps"][0]["cost"] == 0.001


# -- time ------------------------------------------------------------------------------------------------

def test_a_step_that_stalls_is_left_when_its_time_is_over(up, sink):
    e = up({"r": [{"channel": "apns-sink", "within": "2s"}, "fcm-sink"]}, channels={"apns-sink": {"resend_unknown": False}})
    sink.knobs({"apns": {"fault": "stall"}})
    began = time.monotonic()
    m = e.wait_state(send(e), "sent", seconds=30)
    assert chans(m) == [("apns-sink", "unknown"), ("fcm-sink", "ok")], m
    assert time.monotonic() - began < 20
    assert e.assert_balanced()["unknown_attempts"] == 1


def test_retries_and_waiting_count_in_the_time_of_a_step(up, sink):
    e = up({"r": [{"channel": "apns-sink", "within": "30s"}, "fcm-sink"]},
           settings={"dispatch": {"retry_base": "20s", "retry_max": "20s", "max_attempts": 50}})
    sink.knobs({"apns": {"mix": [{"percent": 100, "status": 503}]}})
    id = send(e)
    wait_for(lambda: (m := e.message(id)) and m["state"] == "held", 15, "the message is held")
    e.advance(31_000)
    m = e.wait_state(id, "sent")
    assert m["attempts"][-1]["channel"] == "fcm-sink" and m["attempts"][0]["outcome"] in ("retry", "provider_down"), m


def test_without_a_next_step_the_message_fails_when_the_time_is_over(up, sink):
    e = up({"r": [{"channel": "apns-sink", "within": "30s"}]},
           settings={"dispatch": {"retry_base": "20s", "retry_max": "20s", "max_attempts": 50}})
    sink.knobs({"apns": {"mix": [{"percent": 100, "status": 503}]}})
    id = send(e)
    wait_for(lambda: (m := e.message(id)) and m["state"] == "held", 15, "the message is held")
    e.advance(31_000)
    assert "within 30 s" in e.wait_state(id, "failed")["reason"]


# -- channels that take nothing --------------------------------------------------------------------------

def paused(e, channel, how="pause"):
    a = e.post(f"/v1/channels/{channel}/{how}", {})
    assert a.status in (200, 202), a.body

    def seen():
        c = {c["name"]: c for c in e.get("/v1/channels").json["channels"]}[channel]
        return ("paused" in c) == (how == "pause")
    wait_for(seen, 10, f"{channel} is {how}d")


def test_a_paused_channel_is_passed_over_and_a_route_of_paused_ones_waits(up, sink):
    e = up({"r": ["apns-sink", "fcm-sink"]}, settings={"node": {"shards": 1}})
    paused(e, "apns-sink")
    assert chans(e.wait_state(send(e), "sent")) == [("fcm-sink", "ok")]
    paused(e, "fcm-sink")
    ids = [send(e, n=k) for k in range(1, 4)]
    wait_for(lambda: e.assert_balanced()["pending"] == 3, 10, "they wait")
    time_before = e.report()["failed"]
    paused(e, "fcm-sink", "resume")  # they stand before apns, the first; fcm takes messages first
    for id in ids:
        assert chans(e.wait_state(id, "sent")) == [("fcm-sink", "ok")]
    assert e.report()["failed"] == time_before
    assert sent(sink, "apns") == 0


def test_who_waits_on_a_channel_that_is_paused_moves_at_once(up, sink):
    e = up({"r": ["apns-sink", "fcm-sink"]}, channels={"apns-sink": {"concurrency": 1}}, settings={"node": {"shards": 1}})
    sink.knobs({"apns": {"fault": "stall"}})
    ids = [send(e, n=k) for k in range(1, 8)]
    wait_for(lambda: sink.requests(profile="apns"), 10, "the first has left")
    paused(e, "apns-sink")
    wait_for(lambda: sum(e.message(i)["state"] == "sent" for i in ids) >= 6, 20, "the others go another way")
    assert sent(sink, "fcm") >= 6


# -- all -------------------------------------------------------------------------------------------------

def test_mode_all_sends_every_step_and_counts_one_message(up, sink):
    e = up({"r": {"mode": "all", "steps": ["apns-sink", "fcm-sink", "wecom-sink"]}})
    m = e.wait_state(send(e), "sent")
    assert chans(m) == [("apns-sink", "ok"), ("fcm-sink", "ok"), ("wecom-sink", "ok")]
    some = e.wait_state(e.send(route="r", to={"addr": {**TO, "apns-sink": "dead0000" + "a" * 56}},
                               content={"body": "x"}), "sent")
    assert chans(some) == [("apns-sink", "invalid_recipient"), ("fcm-sink", "ok"), ("wecom-sink", "ok")]
    r = e.assert_balanced()
    assert (r["accepted"], r["sent"]) == (2, 2)


def test_mode_all_is_sent_when_only_the_first_succeeds(up, sink):
    e = up({"r": {"mode": "all", "steps": ["fcm-sink", "apns-sink"]}})
    m = e.wait_state(e.send(route="r", to={"addr": {**TO, "apns-sink": "dead0000" + "a" * 56}}, content={"body": "x"}), "sent")
    assert chans(m) == [("fcm-sink", "ok"), ("apns-sink", "invalid_recipient")]
    assert m["channel"] == "fcm-sink" and m["reason"].startswith("sent by fcm-sink; then: "), m
    e.assert_balanced()


# -- escalation ------------------------------------------------------------------------------------------

WAITS = {"r": [{"channel": "apns-sink", "unless": "delivered", "after": "10m"}, "wecom-sink"]}


def test_not_delivered_in_time_is_sent_by_the_next_step(up, sink, redis):
    e = up(WAITS)
    id = send(e)
    wait_until_aside(redis, id)
    m = e.message(id)
    assert m["state"] == "held" and "wecom-sink follows unless it is delivered by" in m["reason"], m
    assert sent(sink, "wecom") == 0
    e.advance(9 * MINUTE)
    assert e.message(id)["state"] == "held"
    e.advance(2 * MINUTE)
    m = e.wait_state(id, "sent")
    assert chans(m) == [("apns-sink", "ok"), ("wecom-sink", "ok")]
    assert (sent(sink, "apns"), sent(sink, "wecom")) == (1, 1)
    # too late, but true
    assert receipts(e, {"id": id, "event": "delivered", "channel": "apns-sink"}) == ["noted"]
    assert re.search(r"delivered \S+Z by apns-sink", e.wait_state(id, "delivered")["reason"])
    r = e.assert_balanced()
    assert (r["sent"], r["repeats"]) == (1, 0)


def test_a_receipt_ends_the_wait(up, sink, redis):
    e = up(WAITS)
    id = send(e)
    wait_until_aside(redis, id)
    assert receipts(e, {"id": id, "event": "delivered", "at": "2026-01-02T03:04:05.678Z"}) == ["ends_wait"]
    m = e.wait_state(id, "delivered")
    assert chans(m) == [("apns-sink", "ok")] and m["channel"] == "apns-sink"
    assert m["reason"] == "delivered 2026-01-02T03:04:05.678Z by apns-sink"
    e.advance(11 * MINUTE)
    assert receipts(e, {"id": id, "event": "delivered"}) == ["repeat"]
    assert receipts(e, {"id": id, "event": "read", "at": "2026-01-02T03:05:00Z"}) == ["noted"]
    wait_for(lambda: "read 2026-01-02T03:05:00.000Z by apns-sink" in e.message(id)["reason"], 10, "it is read")
    assert sent(sink, "wecom") == 0
    r = e.assert_balanced()
    assert (r["sent"], r["delivered"], r["pending"], r["repeats"]) == (1, 1, 0, 0)


def test_delivered_does_not_end_a_wait_for_read(up, sink, redis):
    e = up({"r": [{"channel": "apns-sink", "unless": "read", "after": "10m"}, "wecom-sink"]})
    a, b = send(e, n=1), send(e, n=2)
    for id in (a, b):
        wait_until_aside(redis, id)
    assert receipts(e, {"id": a, "event": "delivered"}, {"id": b, "event": "delivered"}) == ["under_way"] * 2
    assert receipts(e, {"id": b, "event": "clicked"}) == ["ends_wait"]
    assert "clicked" in e.wait_state(b, "delivered")["reason"]
    e.advance(11 * MINUTE)
    assert chans(e.wait_state(a, "sent", "delivered")) == [("apns-sink", "ok"), ("wecom-sink", "ok")]
    assert sent(sink, "wecom") == 1
    e.assert_balanced()


def test_a_failed_receipt_takes_the_next_step_at_once(up, sink, redis):
    e = up(WAITS)
    id = send(e)
    wait_until_aside(redis, id)
    assert receipts(e, {"id": id, "event": "failed"}) == ["ends_wait"]
    assert chans(e.wait_state(id, "sent")) == [("apns-sink", "ok"), ("wecom-sink", "ok")]
    e.assert_balanced()


def test_without_a_next_step_nobody_waits(up, sink):
    e = up(WAITS)
    m = e.wait_state(e.send(route="r", to={"addr": {"push": "ab" * 32}}, content={"body": "x"}), "sent")
    assert chans(m) == [("apns-sink", "ok")]


def test_the_next_step_may_fail_and_the_message_is_sent_all_the_same(up, sink, redis):
    e = up(WAITS)
    id = send(e)
    wait_until_aside(redis, id)
    sink.knobs({"wecom": {"mix": [{"percent": 100, "status": 400}]}})
    e.advance(11 * MINUTE)
    m = e.wait_state(id, "sent")
    assert m["channel"] == "apns-sink" and m["reason"].startswith("sent by apns-sink; then: "), m
    e.assert_balanced()


def test_a_wait_that_is_cancelled_or_expires_was_sent(up, sink, redis):
    e = up(WAITS)
    id = send(e, expires=int(time.time() * 1000) + 5 * MINUTE)
    wait_until_aside(redis, id)
    e.advance(6 * MINUTE)
    m = e.wait_state(id, "sent")
    assert "expiry" in m["reason"] and chans(m) == [("apns-sink", "ok")], m
    assert sent(sink, "wecom") == 0


# -- receipts --------------------------------------------------------------------------------------------

def test_receipts_of_messages_that_do_not_wait(up, sink):
    e = up({})
    a = e.wait_state(e.send(channel="apns-sink", to=token(1), content={"body": "x"}), "sent")["id"]
    bad = e.wait_state(e.send(channel="apns-sink", to="dead0000" + "a" * 56, content={"body": "x"}), "failed")["id"]
    assert receipts(e, {"id": a, "event": "read", "at": 1767323045678}, {"id": a, "event": "delivered", "at": 1767323040000},
                    {"id": a, "event": "read"}, {"id": bad, "event": "delivered"}) == ["noted", "noted", "repeat", "refused"]
    m = e.wait_state(a, "delivered")
    wait_for(lambda: "delivered 2026-01-02T03:04:00.000Z by apns-sink" in e.message(a)["reason"], 10, "both are noted")
    assert "read 2026-01-02T03:04:05.678Z by apns-sink" in e.message(a)["reason"]
    assert [x["outcome"] for x in m["attempts"]] == ["ok"]
    assert e.message(bad)["state"] == "failed"
    b = e.wait_state(e.send(channel="apns-sink", to=token(2), content={"body": "x"}), "sent")["id"]
    assert receipts(e, {"id": b, "event": "failed"}) == ["noted"]
    wait_for(lambda: "failed " in e.message(b).get("reason", ""), 10, "it is noted")
    assert e.message(b)["state"] == "sent"
    r = e.assert_balanced()
    assert (r["sent"], r["delivered"], r["failed"], r["repeats"]) == (2, 1, 1, 0)


def test_forms_and_mistakes_of_receipts(up, sink):
    e = up({})
    id = e.wait_state(e.send(channel="apns-sink", to=token(1), content={"body": "x"}), "sent")["id"]
    lines = json.dumps({"id": id, "event": "delivered"}) + "\n\n" + json.dumps({"id": id, "event": "opened"}) + "\nnonsense\n"
    a = e.post("/v1/receipts", lines.encode(), headers={"Content-Type": "application/x-ndjson"})
    assert a.status == 202 and (a.json["accepted"], a.json["refused"]) == (1, 2), a.body
    assert [x["result"] for x in a.json["results"]] == ["noted", "invalid", "invalid"]
    assert a.json["results"][1]["field"] == "event" and "clicked" in a.json["results"][1]["detail"]
    assert e.post("/v1/receipts", {"receipts": [{"id": id, "event": "clicked"}]}).json["results"][0]["result"] == "noted"
    assert e.post("/v1/receipts", {"id": "01KB00000000000000000000A0", "event": "read"}).json["results"][0]["result"] == "passed_on"
    for body, word in (({"id": id}, "event: is missing"), ({"event": "read"}, "id: is missing"), ({"id": "1", "event": "read"}, "26 characters"),
                       ({"id": id, "event": "read", "ta": 1}, "no key"), ({"id": id, "event": "read", "at": "soon"}, "RFC 3339"),
                       ({"id": id, "event": "read", "at": 99999999999999}, "future"), ("text", "object")):
        a = e.post("/v1/receipts", body)
        assert a.status == 422 and word in a.json["detail"], (body, a.body)
    assert e.post("/v1/receipts", b"{", headers={"Content-Type": "application/json"}).status == 400
    assert e.post("/v1/receipts", b"x", headers={"Content-Type": "text/plain"}).status == 415
    assert e.post("/v1/receipts", []).json == {"accepted": 0, "refused": 0, "results": []}


def test_a_receipt_finds_the_node_that_has_the_record_or_the_wait(up, sink, redis):
    a = up(WAITS, name="a", settings={"node": {"name": "a"}})
    waits = send(a)
    done = a.wait_state(a.send(channel="apns-sink", to=token(9), content={"body": "x"}), "sent")["id"]
    wait_until_aside(redis, waits)
    b = up(WAITS, name="b", settings={"node": {"name": "b"}})
    assert receipts(b, {"id": done, "event": "read"}, {"id": waits, "event": "delivered"}) == ["passed_on", "ends_wait"]
    assert "read" in a.wait_state(done, "delivered", seconds=30)["reason"]
    wait_for(lambda: any(m and m["state"] == "delivered" for m in (a.message(waits), b.message(waits))), 30, "the wait has ended")
    for e in (a, b):
        e.advance(11 * MINUTE)
    assert sent(sink, "wecom") == 0


# -- crashes ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("fault", ["escalate_recorded", "escalate_put", "aside_before", "aside_put", "aside_after", "escalate_go_on"])
def test_kill_while_a_message_waits(up, sink, redis, fault):
    """Killed at each step between the provider's yes and the next step: nobody gets a push twice but those marked unknown,
    and everybody gets the second message once."""
    n = 5
    e = up(WAITS, env={"HERMOD_FAULTS": f"{fault}:kill"}, settings={"node": {"shards": 1}})
    ids = []
    for k in range(1, n + 1):
        try:
            ids.append(send(e, n=k))
        except (OSError, AssertionError):  # it died in between
            break
    if fault == "escalate_go_on":
        for id in ids:
            wait_until_aside(redis, id)
        try:
            e.advance(11 * MINUTE)
        except OSError:
            pass
    wait_for(lambda: not e.alive(), 30, "it is killed")
    e.env = {}
    e.start()
    if fault != "escalate_go_on":
        for id in ids:
            wait_until_aside(redis, id)
    warm(e)
    e.advance(11 * MINUTE)
    for id in ids:
        e.wait_state(id, "sent", seconds=60)
    wait_for(lambda: sent(sink, "wecom") > len(ids), 30, "everybody has the second message")  # "sent" they are while they wait, too
    r = e.assert_balanced()
    assert r["pending"] <= 1 and r["failed"] == 0  # one may have been accepted without an answer
    most = r["accepted"] + r["unknown_attempts"]
    assert sent(sink, "apns") <= most
    assert sent(sink, "wecom") <= most


def test_a_receipt_and_the_end_of_the_wait_at_the_same_moment(up, sink, redis):
    """Exactly one wins: who is told that the wait has ended gets nothing more, everybody else gets one message more."""
    e = up(WAITS)
    n = 60
    warm(e)
    ids = [send(e, n=k) for k in range(1, n + 1)]
    for id in ids:
        wait_until_aside(redis, id)
    results = {}

    def post(part):
        for id in part:
            results[id] = receipts(e, {"id": id, "event": "delivered"})[0]
    threads = [threading.Thread(target=post, args=(ids[i::3],)) for i in range(3)]
    threads[0].start()
    e.advance(11 * MINUTE)  # while the first third is being told
    for t in threads[1:]:
        t.start()
    for t in threads:
        t.join()
    e.wait_final(n + 1)
    more = 1
    for id in ids:
        m = e.message(id)
        escalated = ("wecom-sink", "ok") in chans(m)
        more += escalated
        assert chans(m)[0] == ("apns-sink", "ok") and len(m["attempts"]) == 1 + escalated, m
        assert escalated == (results[id] != "ends_wait"), (results[id], m)
    assert sent(sink, "wecom") == more and sent(sink, "apns") == n
    r = e.assert_balanced()
    assert (r["sent"], r["repeats"]) == (n + 1, 0)


def restarted(e):
    wait_for(lambda: not e.alive(), 30, "it is killed")
    e.env = {}
    e.start()


def test_kill_between_two_channels_that_both_get_it(up, sink, redis):
    e = up({"r": {"mode": "all", "steps": ["apns-sink", "fcm-sink", "wecom-sink"]}}, env={"HERMOD_FAULTS": "route_all:kill@4"},
           settings={"node": {"shards": 1}})
    ids = []
    try:
        for k in range(1, 6):
            ids.append(send(e, n=k))
    except OSError:
        pass
    restarted(e)
    unknown = 0
    for id in ids:
        m = e.wait_state(id, "sent", seconds=60)
        unknown += sum(o == "unknown" for _, o in chans(m))
        assert {c for c, o in chans(m) if o == "ok"} >= {"fcm-sink", "wecom-sink"}, m
    wait_for(lambda: nothing_waits(redis.client), 30, "what was accepted without an answer has ended too")
    n = e.assert_balanced()["sent"]
    for profile in ("apns", "fcm", "wecom"):
        assert n <= sent(sink, profile) <= n + unknown


def test_kill_when_the_time_of_a_step_is_over(up, sink):
    e = up({"r": [{"channel": "apns-sink", "within": "30s"}, "fcm-sink"]}, env={"HERMOD_FAULTS": "route_late:kill"},
           settings={"dispatch": {"retry_base": "20s", "retry_max": "20s", "max_attempts": 50}, "node": {"shards": 1}})
    sink.knobs({"apns": {"mix": [{"percent": 100, "status": 503}]}})
    id = send(e)
    wait_for(lambda: (m := e.message(id)) and m["state"] == "held", 15, "the message is held")
    try:
        e.advance(31_000)
    except OSError:
        pass
    restarted(e)

    def over():
        m = e.message(id)
        if m["state"] == "held":
            e.advance(31_000)
        return m if m["state"] == "sent" else None
    m = wait_for(over, 30, "the next step has it")
    assert chans(m)[-1] == ("fcm-sink", "ok")
    assert sent(sink, "fcm") == 1
    e.assert_balanced()


def test_kill_when_a_receipt_is_noted(up, sink, redis):
    """What nobody was told is told again, and counts once."""
    e = up(WAITS, env={"HERMOD_FAULTS": "receipt_noted:kill"}, settings={"node": {"shards": 1}})
    waits = send(e)
    wait_until_aside(redis, waits)
    try:
        e.post("/v1/receipts", {"id": waits, "event": "delivered"})
    except OSError:
        pass
    restarted(e)
    assert receipts(e, {"id": waits, "event": "delivered"})[0] in ("ends_wait", "repeat")
    e.wait_state(waits, "delivered")
    assert sent(sink, "wecom") == 0 and sent(sink, "apns") == 1
    assert e.assert_balanced()["repeats"] == 0
