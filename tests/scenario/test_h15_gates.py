"""Caps, quiet hours, duplicates: a message that may not leave says why, and nobody gets more than the rules allow."""
import datetime
import threading

import pytest
from conftest import wait_for, xadd

TOKEN = "%064x"
SMALL = {"dispatch": {"retry_base": "20ms", "retry_max": "50ms", "deadline": "7d"}}  # the clock is moved by days


def rules(**sections):
    return dict(SMALL, **sections)


def send_n(e, n, user="ann", **more):
    job = {"channel": "apns-sink", "content": {"body": "offer"}, "category": "marketing", **more}
    return [e.send(to={"addr": TOKEN % 7, "user": user}, **job) for _ in range(n)]


def ends(e, ids, seconds=20):
    return [e.wait_state(i, "sent", "failed", "suppressed", "capped", "expired", "cancelled", seconds=seconds)["state"] for i in ids]


def test_a_cap_lets_its_number_through_and_says_why_it_stops_the_rest(engine, sink, redis):
    e = engine(sink, redis, settings=rules(caps={"daily": {"category": "marketing", "max": 3, "per": "24h"}}))
    states = ends(e, send_n(e, 5))
    assert sorted(states) == ["capped"] * 2 + ["sent"] * 3
    i = send_n(e, 1)[0]
    assert "daily" in e.wait_state(i, "capped")["reason"]
    assert ends(e, send_n(e, 2, category="account")) == ["sent"] * 2
    assert ends(e, send_n(e, 2, user="bob")) == ["sent"] * 2
    e.advance(24 * 3600 * 1000 + 1000)
    assert ends(e, send_n(e, 1)) == ["sent"]
    e.assert_balanced()


def test_switches_of_a_message_bypass_and_count(engine, sink, redis):
    e = engine(sink, redis, settings=rules(caps={"two": {"max": 2, "per": "1h"}}))
    assert ends(e, send_n(e, 3, caps={"count": False})) == ["sent"] * 3, "not counted: the rule never fills"
    assert ends(e, send_n(e, 2, caps={"bypass": True})) == ["sent"] * 2, "counted without being asked"
    assert ends(e, send_n(e, 1)) == ["capped"]
    assert ends(e, send_n(e, 1, caps={"bypass": True, "count": False})) == ["sent"]


def test_a_slot_comes_back_when_the_message_does_not_reach_the_provider(engine, sink, redis):
    e = engine(sink, redis, settings=rules(caps={"one": {"max": 1, "per": "24h"}}))
    sink.script({"profile": "apns"}, [{"status": 400, "body": '{"reason":"BadTopic"}'}])
    assert ends(e, send_n(e, 1)) == ["failed"]
    assert ends(e, send_n(e, 1)) == ["sent"]
    assert ends(e, send_n(e, 1)) == ["capped"]


def test_a_slot_is_kept_over_retries(engine, sink, redis):
    e = engine(sink, redis, settings=rules(caps={"one": {"max": 1, "per": "24h"}}))
    sink.script({"profile": "apns"}, [{"status": 503}] * 2)
    ids = send_n(e, 1)
    assert ends(e, ids) == ["sent"]
    assert len(e.message(ids[0])["attempts"]) == 3
    assert ends(e, send_n(e, 1)) == ["capped"]


def test_capped_messages_wait_for_a_free_slot_or_take_another_way(engine, sink, redis):
    e = engine(sink, redis,
               settings=rules(caps={"later": {"category": "news", "max": 1, "per": "1h", "when": "defer"},
                                    "other": {"category": "offers", "channel": "apns-sink", "max": 1, "per": "1h", "when": "next"},
                                    "away": {"category": "digest", "max": 1, "per": "1h", "when": {"route": "fallback"}, "channel": "apns-sink"}}),
               routes={"both": ["apns-sink", "hook-sink"], "fallback": ["hook-sink"]})
    a, b = send_n(e, 2, category="news")
    wait_for(lambda: sorted([e.message(a)["state"], e.message(b)["state"]]) == ["held", "sent"], what="one is sent, one waits")
    waits = b if e.message(b)["state"] == "held" else a
    assert "later" in e.message(waits)["reason"]
    e.advance(3600 * 1000 + 2000)
    assert e.wait_state(waits, "sent")["state"] == "sent"
    to = {"addr": {"push": TOKEN % 9, "hook-sink": "demo", "webhook": "demo"}, "user": "eve"}
    first = e.send(to=to, route="both", content={"body": "x"}, category="offers")
    assert e.wait_state(first, "sent")["channel"] == "apns-sink"
    second = e.send(to=to, route="both", content={"body": "x"}, category="offers")
    assert e.wait_state(second, "sent")["channel"] == "hook-sink"
    for want in ("apns-sink", "hook-sink"):
        m = e.send(to=to, channel="apns-sink", content={"body": "x"}, category="digest")
        assert e.wait_state(m, "sent")["channel"] == want
    e.assert_balanced()


def test_two_engines_share_the_caps(engine, sink, redis):
    caps = {"three": {"max": 3, "per": "24h"}}
    a = engine(sink, redis, settings=rules(caps=caps), name="a")
    b = engine(sink, redis, settings=rules(caps=caps), name="b")
    users = 40

    def flood():
        for k in range(400):
            u = k % users
            xadd(redis.client, {"channel": "apns-sink", "to": {"addr": TOKEN % u, "user": f"u{u}"}, "content": {"body": f"{k}"}, "campaign": "f"},
                 partition=k % 16)

    threads = [threading.Thread(target=flood) for _ in range(2)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    wait_for(lambda: a.final("f") + b.final("f") >= 800, 60, "all are final")
    assert sink.ledger()["accepted"] == 3 * users
    assert a.report("f").get("capped", 0) + b.report("f").get("capped", 0) == 800 - 3 * users


def test_caps_survive_kill_9_without_counting_twice(engine, sink, redis):
    e = engine(sink, redis, settings=rules(caps={"two": {"max": 2, "per": "24h"}}))
    sink.knobs({"apns": {"latency": 300}})
    ids = send_n(e, 2)
    wait_for(lambda: redis.client.xinfo_stream("{hm:0}:q:normal") is not None, what="streams")
    wait_for(lambda: e.metric("hermod_messages_in_flight") > 0 or e.message(ids[0])["state"] == "sent", what="in flight")
    e.kill9()
    sink.knobs({"apns": {"latency": 0}})
    e.start()
    assert ends(e, ids) == ["sent"] * 2
    assert ends(e, send_n(e, 1)) == ["capped"]


def test_quiet_hours_are_the_recipients(engine, sink, redis):
    now = datetime.datetime.now(datetime.timezone.utc)
    quiet_from, quiet_to = (now - datetime.timedelta(hours=1)), (now + datetime.timedelta(hours=2))
    window = f"{quiet_from:%H:%M}-{quiet_to:%H:%M}"
    e = engine(sink, redis, settings=rules(quiet_hours={"night": {"category": "marketing", "windows": [window], "when": "defer"},
                                                        "hush": {"category": "drops", "windows": [window], "when": "drop"}}))
    here = e.send(to={"addr": TOKEN % 1, "tz": "UTC"}, channel="apns-sink", content={"body": "x"}, category="marketing")
    far = e.send(to={"addr": TOKEN % 2, "tz": "+09:00"}, channel="apns-sink", content={"body": "x"}, category="marketing")
    urgent = e.send(to={"addr": TOKEN % 3, "tz": "UTC"}, channel="apns-sink", content={"body": "x"}, category="marketing", lane="critical")
    gone = e.send(to={"addr": TOKEN % 4, "tz": "UTC"}, channel="apns-sink", content={"body": "x"}, category="drops")
    late = e.send(to={"addr": TOKEN % 5, "tz": "UTC"}, channel="apns-sink", content={"body": "x"}, category="marketing",
                  expires=int((now + datetime.timedelta(hours=1)).timestamp() * 1000))
    assert e.wait_state(far, "sent") and e.wait_state(urgent, "sent")
    assert "hush" in e.wait_state(gone, "suppressed", "capped")["reason"]
    m = e.wait_state(here, "held")
    assert "night" in m["reason"]
    m = e.wait_state(late, "suppressed", "expired")
    assert "night" in m["reason"] and "expiry" in m["reason"]
    e.advance(2 * 3600 * 1000 + 60000)
    e.wait_state(here, "sent")
    e.assert_balanced()


@pytest.mark.parametrize("how", ["key", "content"])
def test_duplicates_are_sent_once(engine, sink, redis, how):
    e = engine(sink, redis, settings=rules(categories={"*": {"content_dedupe": "10m"}} if how == "content" else {}))
    same = {"dedupe": "order-17"} if how == "key" else {}
    ids = send_n(e, 3, **same)
    states = ends(e, ids)
    assert sorted(states) == ["sent", "suppressed", "suppressed"]
    lost = ids[states.index("suppressed")]
    assert "duplicate" in e.message(lost)["reason"].lower() or "already" in e.message(lost)["reason"].lower()
    other = {"dedupe": "order-18"} if how == "key" else {"content": {"body": "another"}}
    assert ends(e, send_n(e, 1, **other)) == ["sent"]
    assert ends(e, send_n(e, 1, user="bob", **same)) == ["sent"], "another person"
    e.advance(25 * 3600 * 1000)
    assert ends(e, send_n(e, 1, **same)) == ["sent"]


def test_a_failed_message_does_not_block_its_repeat(engine, sink, redis):
    e = engine(sink, redis)
    sink.script({"profile": "apns"}, [{"status": 400, "body": '{"reason":"BadTopic"}'}])
    assert ends(e, send_n(e, 1, dedupe="k")) == ["failed"]
    assert ends(e, send_n(e, 1, dedupe="k")) == ["sent"]


def test_gates_are_on_or_off_by_category(engine, sink, redis):
    e = engine(sink, redis, settings=rules(caps={"one": {"max": 1, "per": "24h"}},
                                           categories={"otp": {"caps": False, "dedupe": False}}))
    assert ends(e, send_n(e, 3, category="otp", dedupe="same")) == ["sent"] * 3
    assert sorted(ends(e, send_n(e, 2, category="marketing"))) == ["capped", "sent"]


def test_while_redis_does_not_answer_nothing_passes_and_nothing_is_lost(engine, sink, redis):
    e = engine(sink, redis, settings=rules(caps={"two": {"max": 2, "per": "24h"}}, redis={"command_timeout": "2s"}))
    ids = send_n(e, 4)
    redis.kill9()
    redis.restart()
    states = ends(e, ids, 60)
    assert sorted(states) == ["capped", "capped", "sent", "sent"]
    assert sink.ledger()["accepted"] == 2
