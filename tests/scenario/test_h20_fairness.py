"""Fairness: tenants share a lane by weight, and one tenant's flood does not hide the others that stand behind it in the stream."""
import signal
import time

import msgpack
import pytest

from conftest import SLOW, stream_key, wait_for, xadd

pytestmark = pytest.mark.alone

TOKEN = "5" * 64
PARTITIONS = 16
BIG = 300_000 // (6 if SLOW > 1 else 1)  # messages of the large job: some seconds of work
SETTINGS = {"node": {"shards": 1}, "dispatch": {"max_in_flight": 1000}}


def flood(redis, tenant, n, chunk, campaign=None, lane="normal"):
    """n messages in entries of `chunk`, over all partitions. One recipient for all: what is sent is told apart by its id."""
    job = {"channel": "apns-sink", "content": {"body": "hello"}, "campaign": campaign or tenant, "tenant": tenant}
    job.update({"to": TOKEN} if chunk == 1 else {"rs": [TOKEN] * chunk})
    data = msgpack.packb(job)
    pipe = redis.client.pipeline(transaction=False)
    for i in range(n // chunk):
        pipe.xadd(stream_key(i % PARTITIONS, lane), {"j": data})
        if i % 2000 == 1999:
            pipe.execute()
    pipe.execute()


def aside(redis):
    """Entries put aside, by what Redis says: the lists and the counts."""
    lists = counts = 0
    for key in redis.client.scan_iter("{hm:*}:spill*", count=1000):
        if key.endswith(b":spill"):
            counts += sum(int(v) for v in redis.client.hvals(key))
        else:
            lists += redis.client.llen(key) // 2
    return lists, counts


def left_over(redis):
    keys = [k for lane in ("critical", "high", "normal", "bulk") for k in (stream_key(p, lane) for p in range(PARTITIONS))]
    return sum(redis.client.xlen(k) for k in keys) + sum(aside(redis))


@pytest.mark.parametrize("chunk", [500, 1], ids=["chunks", "singles"])
def test_another_tenants_job_is_not_delayed(engine, sink, redis, chunk, capsys):
    n = BIG if chunk > 1 else BIG // 2
    flood(redis, "acme", n, chunk)
    e = engine(sink, redis, settings=SETTINGS)
    wait_for(lambda: e.final("acme") > 1000, 60, "the large job runs")
    began, of_acme = time.monotonic(), e.final("acme")
    flood(redis, "bee", 100, 1)
    wait_for(lambda: e.final("bee") == 100, 60, "the small job is done")
    took, then = time.monotonic() - began, e.final("acme")
    e.wait_final(n, "acme", 240)
    whole = time.monotonic() - began
    with capsys.disabled():
        print(f"\n{n:,} messages of one tenant in {'entries of ' + str(chunk) if chunk > 1 else 'single entries'}: "
              f"100 of another behind them took {took:.2f} s, while {then - of_acme:,} of the large job left; its rest took {whole:.1f} s")
    assert then < n * 0.9, f"the large job was almost over ({then} of {n}): the small one has waited"
    # Single entries have to be looked at one by one to find who stands behind them.
    assert took < max(2.0, whole * (0.4 if chunk > 1 else 0.9)), (took, whole)
    assert e.report("acme")["sent"] == n and e.report("bee")["sent"] == 100
    wait_for(lambda: left_over(redis) == 0, 20, "nothing is left in Redis")
    assert sink.ledger()["duplicates"] == 0


def test_weights_are_shares_of_what_is_sent(engine, sink, redis, capsys):
    sink.knobs({"apns": {"latency": 10}})
    for tenant in ("acme", "bee"):
        flood(redis, tenant, 12000, 100)
    e = engine(sink, redis, settings={**SETTINGS, "dispatch": {"max_in_flight": 50}, "tenants": {"acme": {"weight": 3}}})
    wait_for(lambda: e.final("acme") >= 6000, 120, "half of the heavier tenant's job is out")
    acme, bee = e.final("acme"), e.final("bee")
    with capsys.disabled():
        print(f"\nweights 3 : 1 sent {acme:,} : {bee:,} = {acme / bee:.2f}")
    assert 2.4 < acme / bee < 3.7, (acme, bee)
    # The other way round, without a restart.
    e.config_file.write_text(e.config_file.read_text().replace("acme:\n    weight: 3", "bee:\n    weight: 3"))
    assert "bee:\n    weight: 3" in e.config_file.read_text()
    e.p.send_signal(signal.SIGHUP)
    wait_for(lambda: "tenants.bee" in e.log(), 20, "the new weights are in force")
    acme, bee = e.final("acme"), e.final("bee")
    wait_for(lambda: e.final("bee") >= bee + 3000, 120, "the other one goes on")
    acme, bee = e.final("acme") - acme, e.final("bee") - bee
    with capsys.disabled():
        print(f"weights 1 : 3 sent {acme:,} : {bee:,} = 1 : {bee / acme:.2f}")
    assert 2.2 < bee / acme < 4.0, (acme, bee)
    e.wait_final(12000, "acme", 120)
    e.wait_final(12000, "bee", 120)


def test_kill_9_in_the_middle_loses_nothing(engine, sink, redis):
    n = 20_000
    e = engine(sink, redis, settings={**SETTINGS, "dispatch": {"max_in_flight": 100, "read_ahead": 1000}})
    sink.knobs({"apns": {"latency": 10}})
    flood(redis, "acme", n, 50)
    for _ in range(3):
        wait_for(lambda: aside(redis)[0] > 50, 30, "entries are aside")
        assert e.metric("hermod_queue_entries_aside") is not None
        before = e.final("acme")
        wait_for(lambda: e.final("acme") > before + 500, 60, "it goes on")
        e.kill9()
        lists, counts = aside(redis)
        assert lists == counts
        e.start()
        wait_for(lambda: e.metric("hermod_queue_entries_aside") > 0, 20, "what is aside is found")
    sink.knobs({"apns": {"latency": 0}})
    r = e.wait_final(n, "acme", 120)
    assert r["accepted"] == n and r["sent"] == n and r["pending"] == 0
    wait_for(lambda: left_over(redis) == 0, 30, "nothing is left in Redis")
    led = sink.ledger()
    assert led["unique"] == n and led["duplicates"] <= r["unknown_attempts"], (led, r)


@pytest.mark.parametrize("point", ["spill_before", "spill_after", "unspill_before", "unspill_after"])
def test_kill_at_each_point(engine, sink, redis, point):
    n = 10_000
    e = engine(sink, redis, settings={**SETTINGS, "dispatch": {"max_in_flight": 100, "read_ahead": 500}}, wait=False,
               env={"HERMOD_FAULTS": f"{point}:kill@3"})
    sink.knobs({"apns": {"latency": 2}})
    flood(redis, "acme", n, 50)
    wait_for(lambda: not e.alive(), 60, f"the fault at {point} has struck")
    e.p.wait(10)
    e.env.pop("HERMOD_FAULTS")
    e.start()
    r = e.wait_final(n, "acme", 120)
    assert r["accepted"] == n and r["sent"] == n, r
    led = sink.ledger()
    assert led["unique"] == n and led["duplicates"] <= r["unknown_attempts"], (led, r)
    wait_for(lambda: left_over(redis) == 0, 30, "nothing is left in Redis")


def test_critical_is_shared_too(engine, sink, redis):
    e = engine(sink, redis, settings={**SETTINGS, "dispatch": {"max_in_flight": 50, "read_ahead": 1000}})
    sink.knobs({"apns": {"latency": 20}})
    flood(redis, "acme", 20_000, 100, lane="critical")
    wait_for(lambda: e.final("acme") > 200, 60, "the flood runs")
    for i in range(20):
        xadd(redis.client, {"channel": "apns-sink", "to": TOKEN, "content": {"body": "code"}, "campaign": "bee", "tenant": "bee"}, lane="critical",
             partition=i % PARTITIONS)
    wait_for(lambda: e.final("bee") == 20, 60, "the other tenant's codes are out")
    assert e.final("acme") < 15_000
    sink.knobs({"apns": {"latency": 0}})
    e.wait_final(20_000, "acme", 120)


def test_a_drain_leaves_everything_in_one_place(engine, sink, redis):
    n = 10_000
    e = engine(sink, redis, settings={**SETTINGS, "dispatch": {"max_in_flight": 100, "read_ahead": 500}})
    sink.knobs({"apns": {"latency": 10}})
    flood(redis, "acme", n, 50)
    wait_for(lambda: aside(redis)[0] > 20, 30, "entries are aside")
    assert e.stop() == 0
    e.start()
    sink.knobs({"apns": {"latency": 0}})
    r = e.wait_final(n, "acme", 120)
    assert r["sent"] == n and sink.ledger()["duplicates"] == 0
