"""Lanes: critical waits behind nothing, the others share by weight and none starves."""
import pytest
from conftest import wait_for, xadd
from test_c20_life import load

pytestmark = pytest.mark.alone

TOKEN = "4" * 64


def test_critical_overtakes_a_backlog(engine, sink, redis):
    e = engine(sink, redis, settings={"node": {"shards": 1}, "dispatch": {"max_in_flight": 100}})
    sink.knobs({"apns": {"latency": 20}})
    load(redis, 20000, "flood", chunk=500, lane="bulk")
    wait_for(lambda: e.final("flood") > 200, what="the flood is draining")
    for i in range(5):
        xadd(redis.client, {"channel": "apns-sink", "to": TOKEN, "content": {"body": "code 123456"}, "campaign": "otp"}, lane="critical",
             partition=i)
    r = e.wait_final(5, "otp")
    assert r["sent"] == 5
    left = 20000 - e.final("flood")
    assert left > 10000, f"the flood was almost over ({left} left): critical has waited"


def test_shares_follow_the_weights_and_nobody_starves(engine, sink, redis):
    e = engine(sink, redis, settings={"node": {"shards": 1}, "dispatch": {"max_in_flight": 50}}, wait=False)
    sink.knobs({"apns": {"latency": 10}})
    for lane in ("bulk", "normal", "high"):  # everything is there before the first message leaves
        load(redis, 4000, lane, chunk=100, lane=lane)
    e.wait_ready()
    wait_for(lambda: e.final("high") >= 1600, 60, "a good part of high is out")
    high, normal, bulk = (e.final(x) for x in ("high", "normal", "bulk"))
    assert bulk > 0 and normal > bulk and high > normal, (high, normal, bulk)
    # 8 : 4 : 1, with room for what was read first and for what is in flight
    assert 1.3 < high / normal < 3.2 and normal / bulk > 2, (high, normal, bulk)
    for lane in ("high", "normal", "bulk"):
        e.wait_final(4000, lane)
