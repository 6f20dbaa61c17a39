"""What sending with facts, parts and changing templates must survive: crashes, bad sources, changes under load."""
import shutil
import time

import pytest
from conftest import ROOT, wait_for, xadd
from sink_client import Sink
from test_g21_parts import LONG, SINGLE
from test_g40_facts import Shop

PARTED = """
kind: message
facts:
  left: {fact: stock, key: "${sku}"}
body: "Only ${facts.left} are left of it. ${text}"
"""
TEXT = " ".join(f"Sentence {i:02} says so." for i in range(1, 5))


@pytest.fixture
def wide(keys):
    """A sink that remembers every request of a scenario."""
    s = Sink("--apns-key", keys.apns, keep_requests=30000)
    yield s
    s.stop()


@pytest.fixture
def shop():
    s = Shop()
    yield s
    s.close()


@pytest.fixture
def start(engine, wide, redis, tmp_path):
    folder = tmp_path / "adapters"
    shutil.copytree(ROOT / "adapters", folder)
    (folder / "chat" / "parts.yaml").write_text(SINGLE)
    (folder / "chat" / "parts-once.yaml").write_text(SINGLE.replace("chat/parts", "chat/parts-once").replace(", idempotent: true", ""))
    endpoint = {"url": wide.tls_url, "ca_file": wide.ca}
    channels = {"one": {"adapter": "chat/parts", "endpoint": endpoint, "max_attempts": 100},
                "once": {"adapter": "chat/parts-once", "endpoint": endpoint, "max_attempts": 100}}

    def make(settings=None, **more):
        return engine(wide, redis, channels=channels, settings={"adapters": {"dir": str(folder)}, **(settings or {})}, **more)
    return make


def bodies(sink):
    return [r.json for r in sink.requests(n=30000, path="/parts/one")]


def whole(sent):
    """The text again, from its numbered parts."""
    return " ".join(b["text"].split(") ", 1)[1] for b in sorted(sent, key=lambda b: b["part"]))


def redis_stock(**more):
    return {"stock": {"from": "redis", "key": "stock:{key}", **more}}


def test_all_parts_are_of_one_text_also_when_its_facts_change(start, wide, redis):
    e = start(templates={"parted": PARTED}, settings={"facts": redis_stock(cache=0)})
    redis.client.set("stock:lamp", "1")
    wide.script({"path": "/parts/one"}, [{"status": 200}, {"status": 503}])
    id = e.send(channel="one", to="a", template="parted", data={"sku": "lamp", "text": TEXT})
    e.wait_state(id, "held")
    redis.client.set("stock:lamp", "1000000 (and some more)")
    e.advance(120_000)
    m = e.wait_state(id, "sent")
    sent = {b["part"]: b for b in bodies(wide)}
    assert whole(sent.values()) == "Only 1 are left of it. " + TEXT
    assert m["facts"] == {"left": "1"}


def test_parts_sent_are_not_forgotten_over_many_failures(start, wide):
    # Two answers of three fail: the breaker would open, the budget for retries make each wait.
    e = start(settings={"dispatch": {"retry_base": "20ms", "retry_max": "20ms"}, "breaker": {"min": 1000}, "shape": {"retry_floor": 1000}})
    text = " ".join(f"Sentence number {i:03} ends here." for i in range(19))
    # each part needs three tries; the last is still wanting when the engine is killed
    wide.script({"path": "/parts/one"}, [r for _ in range(18) for r in ({"status": 503, "repeat": 2}, {"status": 200})]
                + [{"status": 503, "repeat": 8}])
    id = e.send(channel="one", to="a", content={"body": text}, campaign="many")
    wait_for(lambda: len(bodies(wide)) >= 57, 60, "18 parts are sent, the last is tried")
    e.kill9()
    e.start()
    m = e.wait_state(id, "sent", "failed", seconds=60)
    accepted = [r.json["part"] for r in wide.requests() if r.path == "/parts/one" and r.status == 200]
    assert m["state"] == "sent", m
    assert accepted == list(range(1, 20)), accepted
    e.assert_balanced("many")


KILLS = ["pull_after_read:kill@2", "render_after:kill@300", "transmit_before:kill@400", "transmit_after:kill@500",
         "ledger_before_write:kill@3", "ledger_after_write:kill@3", "settle_before_ack:kill@2", "settle_after_ack:kill@2"]


@pytest.mark.parametrize("channel", ["one", "once"])
@pytest.mark.parametrize("point", KILLS, ids=[p.split(":")[0] for p in KILLS])
def test_killed_while_parts_and_facts_are_in_flight(point, channel, start, wide, redis, shop):
    n = 600
    shop.values = {f"sku{i}": i % 7 for i in range(50)}
    for i in range(0, n, 50):
        rs = [{"addr": f"r{k}", "data": {"sku": f"sku{k % 50}", "text": TEXT}} for k in range(i, i + 50)]
        xadd(redis.client, {"channel": channel, "rs": rs, "template": "parted", "campaign": "kill"}, partition=i // 50 % 16)
    e = start(templates={"parted": PARTED}, env={"HERMOD_FAULTS": point}, wait=False,
              settings={"facts": {"stock": {"from": "http", "url": shop.url + "/stock", "batch": 10, "cache": "50ms", "timeout": "20s"}}})
    wait_for(lambda: not e.alive(), 60, f"the engine dies at {point}")
    assert e.p.returncode == -9, e.log()
    e.env = {}
    e.start()
    r = e.wait_final(n, "kill", 120)
    sent = {}
    for b in bodies(wide):
        sent.setdefault(b["to"], []).append((b["part"], b["parts"]))
    twice = sum(len(parts) > len(set(parts)) for parts in sent.values())
    assert twice <= r["unknown_attempts"], (twice, r)
    complete = sum(sorted({p for p, _ in parts}) == list(range(1, parts[0][1] + 1)) for parts in sent.values())
    if channel == "one":
        assert r["sent"] == n == complete, (r, complete)
    else:  # what may not be repeated ends as failed, and only where an answer was lost
        assert r["sent"] + r["failed"] == n and r["failed"] <= r["unknown_attempts"], r
        assert complete >= r["sent"], (r, complete)


def test_what_is_answered_is_not_unknown_after_a_crash(start, wide):
    """The next part waits: nothing is on the wire, so that nothing is lost when the engine is killed then."""
    e = start()
    wide.script({"path": "/parts/one"}, [{"status": 200}, {"status": 503}])
    id = e.send(channel="once", to="a", content={"body": LONG}, campaign="answered")
    e.wait_state(id, "held")
    e.kill9()
    e.start()
    m = e.wait_state(id, "sent", "failed", seconds=40)
    assert m["state"] == "sent", m
    assert [b["part"] for b in bodies(wide)] == [1, 2, 2, 3]
    assert "unknown" not in [a["outcome"] for a in m["attempts"]], m


def test_sigterm_between_parts_and_facts_repeats_nothing(start, wide, redis, shop):
    n = 400
    shop.values = {f"sku{i}": i % 7 for i in range(50)}
    e = start(templates={"parted": PARTED}, settings={"node": {"drain_timeout": "10s"}, "facts": {
        "stock": {"from": "http", "url": shop.url + "/stock", "batch": 10, "cache": "20ms", "timeout": "20s"}}})
    for i in range(0, n, 50):
        rs = [{"addr": f"r{k}", "data": {"sku": f"sku{k % 50}", "text": TEXT}} for k in range(i, i + 50)]
        xadd(redis.client, {"channel": "once", "rs": rs, "template": "parted", "campaign": "term"}, partition=i // 50 % 16)
    for turn in range(1, 4):
        wait_for(lambda: len(bodies(wide)) > 200 * turn or e.final("term") == n, what="parts leave")
        assert e.stop() == 0
        e.start()
    r = e.wait_final(n, "term", 90)
    assert r["sent"] == n and r["unknown_attempts"] == 0, r
    sent = sorted((b["to"], b["part"]) for b in bodies(wide))
    assert len(sent) == len(set(sent))
    assert wide.ledger()["duplicates"] == 0


def test_the_text_has_become_shorter_after_a_crash(start, wide, redis):
    """Two parts are sent and the text that is there now has only one: it ends, with a reason, and nothing is sent twice."""
    e = start(templates={"t": f"body: \"{LONG}\"\n"})
    wide.script({"path": "/parts/one"}, [{"status": 200}, {"status": 200}, {"status": 503}])
    id = e.send(channel="one", to="a", template="t", campaign="shorter")
    e.wait_state(id, "held")
    e.kill9()
    (e.dir / "templates" / "t.yaml").write_text("body: short\n")
    e.start()
    m = e.wait_state(id, "sent", "failed", seconds=40)
    assert m["state"] == "failed" and "no part 3" in m["reason"], m
    assert [b["part"] for b in bodies(wide)] == [1, 2, 3]
    e.assert_balanced("shorter")


def test_cancel_and_expiry_between_parts(start, wide):
    e = start()
    for how in ("cancelled", "expired"):
        wide.script({"path": "/parts/one"}, [{"status": 200}, {"status": 503}])
        id = e.send(channel="one", to=how, content={"body": LONG}, campaign=how,
                    **({"expires": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 600))} if how == "expired" else {}))
        e.wait_state(id, "held")
        if how == "cancelled":
            assert e.post(f"/v1/messages/{id}/cancel").status in (200, 202)
            e.advance(120_000)
        else:
            e.advance(700_000)
        m = e.wait_state(id, "sent", "failed", "cancelled", "expired")
        assert m["state"] == how and m["attempts"][0]["outcome"] == "ok", m
        assert [b["part"] for b in bodies(wide) if b["to"] == how] == [1, 2]
        e.assert_balanced(how)


def test_the_queue_goes_away_while_parts_and_facts_are_under_way(start, wide, redis, shop):
    n = 600
    shop.values = {f"sku{i}": i % 7 for i in range(50)}
    e = start(templates={"parted": PARTED}, settings={"facts": {"stock": {"from": "http", "url": shop.url + "/stock", "cache": "20ms"}}})
    for i in range(0, n, 50):
        rs = [{"addr": f"r{k}", "data": {"sku": f"sku{k % 50}", "text": TEXT}} for k in range(i, i + 50)]
        xadd(redis.client, {"channel": "one", "rs": rs, "template": "parted", "campaign": "away"}, partition=i // 50 % 16)
    wait_for(lambda: len(bodies(wide)) > 100, what="sending has begun")
    redis.stop()
    redis.restart()
    r = e.wait_final(n, "away", 90)
    assert r["sent"] == n, r
    sent = sorted((b["to"], b["part"]) for b in bodies(wide))
    assert len(sent) - len(set(sent)) <= r["unknown_attempts"], r


def test_another_node_takes_parts_over(start, wide, redis):
    """What it cannot know counts as unknown; nothing is lost."""
    n = 200
    a = start(name="a")
    for i in range(0, n, 20):
        rs = [f"r{k}" for k in range(i, i + 20)]
        xadd(redis.client, {"channel": "one", "rs": rs, "content": {"body": LONG}, "campaign": "over"}, partition=i // 20 % 16)
    wait_for(lambda: len(bodies(wide)) > 50, what="sending has begun")
    a.kill9()
    b = start(name="b")
    wait_for(lambda: redis.client.xlen("{hm:0}:q:normal") == 0 and sum(redis.client.xlen(f"{{hm:{p}}}:q:normal") for p in range(16)) == 0, 60, "all taken over")
    got = {}
    for x in bodies(wide):
        got.setdefault(x["to"], []).append(x["part"])
    assert len(got) == n and all({1, 2, 3} == set(v) for v in got.values())
    repeated = sum(len(v) > 3 for v in got.values())
    r = b.assert_balanced("over")
    assert repeated <= r["unknown_attempts"], (repeated, r)
