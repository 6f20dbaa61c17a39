"""kill -9 at named points between pull and settle: nothing is lost, duplicates only among attempts marked unknown."""
import pytest
from conftest import wait_for
from test_c20_life import load

POINTS = ["pull_after_read:kill@2", "render_after:kill@700", "transmit_before:kill@900", "transmit_after:kill@500", "ledger_before_write:kill@3",
          "ledger_after_write:kill@3", "settle_before_ack:kill@2", "settle_after_ack:kill@2"]


@pytest.mark.parametrize("point", POINTS, ids=[p.split(":")[0] for p in POINTS])
def test_kill_at(point, engine, sink, redis):
    n = 3000
    load(redis, n, "sweep", chunk=100)
    e = engine(sink, redis, env={"HERMOD_FAULTS": point}, wait=False)
    wait_for(lambda: not e.alive(), 60, f"the engine dies at {point}")
    assert e.p.returncode == -9
    e.env = {}
    e.start()
    r = e.wait_final(n, "sweep", 120)
    led = sink.ledger()
    assert r["sent"] == n and led["unique"] == n, (r, led)
    assert led["duplicates"] <= r["unknown_attempts"], (r, led)


@pytest.mark.parametrize("point", ["submit_before_xadd", "submit_after_xadd"])
def test_kill_during_submission(point, engine, sink, redis):
    e = engine(sink, redis, env={"HERMOD_FAULTS": f"{point}:kill@20"})
    accepted = 0
    for i in range(20):
        try:
            a = e.post("/v1/messages", {"channel": "apns-sink", "to": f"{i:064x}", "content": {"body": "x"}, "campaign": "sub"})
        except OSError:
            break
        assert a.status == 202
        accepted += 1
    wait_for(lambda: not e.alive(), what="the engine dies")
    e.env = {}
    e.start()
    wait_for(lambda: e.final("sub") >= accepted and e.report("sub")["pending"] == 0, what="everything accepted is final")
    assert accepted == 19
    assert sink.ledger()["unique"] in (accepted, accepted + 1), "what was answered 202 arrived; the last one may have been queued"


def test_redis_away_loses_nothing_accepted(engine, sink, redis):
    e = engine(sink, redis)
    sink.knobs({"apns": {"latency": 30}})
    load(redis, 2000, "away", chunk=50)
    wait_for(lambda: sink.ledger()["accepted"] > 200, what="sending has begun")
    redis.stop()
    a = e.post("/v1/messages", {"channel": "apns-sink", "to": "5" * 64, "content": {"body": "x"}, "campaign": "away"})
    assert a.status == 503 and int(a.headers["Retry-After"]) >= 1
    redis.restart()
    r = e.wait_final(2000, "away", 60)
    assert r["sent"] == 2000 and sink.ledger()["duplicates"] <= r["unknown_attempts"]
    wait_for(lambda: e.post("/v1/messages", {"channel": "apns-sink", "to": "5" * 64, "content": {"body": "x"}}).status == 202,
             what="submission works again")
