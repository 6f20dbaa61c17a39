"""Dead letters: every failed message has one, once, whatever dies; they are looked at, replayed and dropped by CLI and API."""
import json
import threading
import time

import pytest
from conftest import http, wait_for, xadd
from test_c20_life import load

BAD = '{"reason":"BadTopic"}'
DOWN = '{"reason":"InternalServerError"}'


def fail(sink, n=100000, status=400, body=BAD):
    sink.script({"profile": "apns"}, [{"status": status, "body": body, "repeat": n}])


def letters(client, partitions=16):
    return [(p, e, {k.decode(): v for k, v in f.items()}) for p in range(partitions) for e, f in client.xrange("{hm:%d}:dead" % p)]


def ids_of(client):
    return [f["id"].decode() for _, _, f in letters(client) if "id" in f]


def queues_empty(client):
    return all(client.xlen("{hm:%d}:q:%s" % (p, lane)) == 0 for p in range(16) for lane in ("critical", "high", "normal", "bulk"))


def test_a_failed_message_is_shown_and_replayed_as_a_new_one(engine, sink, redis, hermod):
    e = engine(sink, redis)
    fail(sink, 1)
    id = e.send(channel="apns-sink", to="a" * 64, content={"body": "one"}, campaign="c1", tenant="t1", category="alerts")
    assert e.wait_state(id, "failed")["reason"]
    wait_for(lambda: ids_of(redis.client) == [id], what="the letter")
    wait_for(lambda: queues_empty(redis.client), what="the entry is acknowledged")
    a = e.get(f"/v1/dead/{id}")
    assert a.status == 200, a.body
    letter = a.json
    assert letter["id"] == id and letter["campaign"] == "c1" and letter["tenant"] == "t1" and letter["category"] == "alerts"
    assert letter["channel"] == "apns-sink" and letter["status"] == 400 and letter["attempts"] == 1 and letter["outcome"] == "bad_request"
    assert letter["message"]["to"] == "a" * 64 and letter["message"]["content"] == {"body": "one"} and "BadTopic" in letter["reason"]
    shown = hermod("dead", "show", id, "--config", e.config_file)
    assert shown.returncode == 0 and json.loads(shown.stdout)["id"] == id, shown.stderr
    assert e.get("/v1/dead/01ARZ3NDEKTSV4RRFFQ69G5FAV").status == 404 and e.get("/v1/dead/nothing").status == 400
    # in place or by id: the same letter
    assert e.get("/v1/dead/" + letter["place"]).json["id"] == id
    r = e.post("/v1/dead/replay", {"ids": [id], "dry_run": True})
    assert r.status == 200 and r.json["found"] == 1 and r.json["replayed"] == 0
    r = e.post("/v1/dead/replay", {"ids": [id.lower()]})
    assert r.status == 200 and r.json["replayed"] == 1, r.body
    new = r.json["letters"][0]["new_id"]
    m = e.wait_state(new, "sent")
    assert m["replay_of"] == id and m["campaign"] == "c1" and new != id
    assert letters(redis.client) == [] and redis.client.hlen("{hm:%d}:dead:ids" % int(letter["place"].split(":")[0])) == 0
    assert e.message(id)["state"] == "failed", "what happened to the first one stays"
    again = e.post("/v1/dead/replay", {"ids": [id]})
    assert again.json["replayed"] == 0 and again.json["gone"] == 1
    r = e.report("c1")
    assert (r["accepted"], r["failed"], r["sent"], r["replays"]) == (2, 1, 1, 1)
    assert e.metric("hermod_dead_letters_total") == 1


def test_resend_only_the_failed_of_a_campaign_is_one_call(engine, sink, redis, hermod):
    e = engine(sink, redis)
    fail(sink, 300)
    n = 1000
    load(redis, n, "spring", chunk=100)
    r = e.wait_final(n, "spring")
    assert (r["failed"], r["sent"]) == (300, 700)
    fail(sink, 5)
    load(redis, 5, "other", chunk=5)
    e.wait_final(5, "other")
    wait_for(lambda: len(letters(redis.client)) == 305, what="a letter for each")
    out = hermod("dead", "count", "--by", "campaign", "--json", "--config", e.config_file)
    assert json.loads(out.stdout) == {"letters": 305, "groups": [{"value": "spring", "letters": 300}, {"value": "other", "letters": 5}]}
    c = e.get("/v1/dead/count?by=outcome").json
    assert c["letters"] == 305 and c["groups"] == [{"value": "bad_request", "letters": 305}]
    a = e.post("/v1/campaigns/spring/resend-failed")
    assert a.status == 200 and a.json["replayed"] == 300, a.body
    r = e.wait_final(n + 300, "spring")
    assert (r["failed"], r["sent"], r["pending"], r["replays"]) == (300, 1000, 0, 300)
    led = sink.ledger()
    assert led["unique"] == n and led["duplicates"] == 0, led
    assert len(letters(redis.client)) == 5
    out = hermod("campaigns", "resend-failed", "other", "--config", e.config_file)
    assert out.returncode == 0 and out.stdout == "5 replayed, 0 refused\n", out
    assert e.wait_final(10, "other")["sent"] == 5
    assert hermod("campaigns", "resend-failed", "other", "--config", e.config_file).stdout == "0 replayed, 0 refused\n"


def test_filters_pages_and_dropping(engine, sink, redis, hermod):
    e = engine(sink, redis)
    fail(sink, 40)
    load(redis, 40, "pages", chunk=4)
    e.wait_final(40, "pages")
    xadd(redis.client, {"channel": "nope", "to": "b" * 64, "content": {"body": "x"}, "campaign": "nowhere"}, partition=2)
    e.wait_final(1, "nowhere")
    redis.client.xadd("{hm:3}:q:high", {"j": b"\xc1 not msgpack"})
    wait_for(lambda: len(letters(redis.client)) == 42, what="the letters")
    seen, path = [], "/v1/dead?limit=7&campaign=pages"
    while path:
        page = e.get(path).json
        seen += [x["id"] for x in page["letters"]]
        assert len(page["letters"]) <= 7 and "message" not in page["letters"][0]
        path = f"/v1/dead?limit=7&campaign=pages&after={page['next']}" if "next" in page else None
    assert len(seen) == 40 and len(set(seen)) == 40 == len(set(seen) & set(ids_of(redis.client)))
    assert [x["outcome"] for x in e.get("/v1/dead?outcome=none").json["letters"]] == ["none"]
    assert len(e.get("/v1/dead?reason=nope").json["letters"]) == 1
    high = e.get("/v1/dead?lane=high&full=true").json["letters"]
    assert len(high) == 1 and high[0]["payload"] and high[0]["id"] == high[0]["place"]
    assert e.get("/v1/dead?outcome=quite").status == 400 and e.get("/v1/dead?after=x").status == 400
    assert e.get("/v1/dead?since=" + str(int(time.time() * 1000) + 60000)).json["letters"] == []
    assert len(e.get("/v1/dead?limit=500&until=" + str(int(time.time() * 1000) + 60000)).json["letters"]) == 42
    for bad in ({}, {"ids": []}, {"all": True, "ids": ["x"]}, {"filter": {"x": 1}}, {"all": True, "tpyo": 1}, {"all": True, "channel": "nope"},
                {"ids": ["hello"]}):
        assert e.post("/v1/dead/replay", bad).status == 400, bad
    cli = lambda *a: hermod("dead", *a, "--config", e.config_file)
    table = cli("list", "--campaign", "nowhere").stdout.splitlines()
    assert len(table) == 2 and "nowhere" in table[1] and "nope" in table[1]
    assert len(cli("list", "--limit", "0", "--json").stdout.splitlines()) == 42
    assert cli("drop").returncode == 2 and cli("drop", "--all", "--campaign", "x").returncode == 2 and cli("list", "--outcome", "x").returncode == 2
    assert cli("drop", "--campaign", "pages", "--dry-run").stdout == "40 would be dropped, 0 refused\n"
    assert cli("drop", seen[0]).stdout == "1 dropped, 0 refused\n" and cli("drop", seen[0]).returncode == 1
    assert http("DELETE", e.url("/v1/dead?campaign=pages")).json["dropped"] == 39
    assert http("DELETE", e.url("/v1/dead")).status == 400
    assert http("DELETE", e.url("/v1/dead?all=true")).json["dropped"] == 2
    assert letters(redis.client) == [] and sum(redis.client.hlen("{hm:%d}:dead:ids" % p) for p in range(16)) == 0


def test_a_malformed_entry_goes_back_as_it_is_or_repaired(engine, sink, redis, hermod, tmp_path):
    e = engine(sink, redis)
    redis.client.xadd("{hm:3}:q:high", {"j": b"\xc1 not msgpack"})
    wait_for(lambda: len(letters(redis.client)) == 1, what="the letter")
    place = e.get("/v1/dead").json["letters"][0]["id"]
    out = hermod("dead", "replay", place, "--config", e.config_file)
    assert out.returncode == 0 and out.stdout.startswith(f"{place} is sent again\n"), out
    wait_for(lambda: [p for p, x, _ in letters(redis.client) if f"3:{x.decode()}" != place], what="it came back")
    place = e.get("/v1/dead").json["letters"][0]["id"]
    good = tmp_path / "good.json"
    good.write_text(json.dumps({"channel": "apns-sink", "to": "c" * 64, "content": {"body": "mended"}, "campaign": "mended"}))
    out = hermod("dead", "replay", place, "--message", good, "--config", e.config_file)
    assert out.returncode == 0, out.stderr
    assert e.wait_final(1, "mended")["sent"] == 1 and letters(redis.client) == []


def test_deadline_and_expiry_of_a_replay(engine, sink, redis):
    e = engine(sink, redis)
    fail(sink, 2)
    one = e.send(channel="apns-sink", to="a" * 64, content={"body": "x"})
    two = e.send(channel="apns-sink", to="b" * 64, content={"body": "x"}, expires=int(time.time() * 1000) + 60000)
    for id in (one, two):
        e.wait_state(id, "failed")
    wait_for(lambda: len(letters(redis.client)) == 2, what="the letters")
    e.advance(120000)
    r = e.post("/v1/dead/replay", {"all": True}).json
    assert (r["replayed"], r["refused"]) == (1, 1)
    by = {x["id"]: x for x in r["letters"]}
    assert "expiry" in by[two]["why"]
    e.wait_state(by[one]["new_id"], "sent")
    r = e.post("/v1/dead/replay", {"ids": [two], "renew": True}).json
    e.wait_state(r["letters"][0]["new_id"], "sent")


def test_another_channel_and_lane(engine, sink, redis, hermod):
    e = engine(sink, redis)
    fail(sink, 1)
    id = e.send(channel="apns-sink", to={"addr": {"apns-sink": "a" * 64, "fcm-sink": "token-of-fcm"}}, content={"title": "t", "body": "x"})
    e.wait_state(id, "failed")
    wait_for(lambda: ids_of(redis.client) == [id], what="the letter")
    assert hermod("dead", "replay", id, "--via", "nope", "--config", e.config_file).returncode == 2
    out = hermod("dead", "replay", id, "--via", "fcm-sink", "--in-lane", "critical", "--config", e.config_file)
    new = out.stdout.split(" as ")[1].split()[0]
    m = e.wait_state(new, "sent")
    assert m["channel"] == "fcm-sink" and m["lane"] == "critical" and m["replay_of"] == id
    shown = hermod("ledger", "get", new, "--config", e.config_file)
    assert id in shown.stdout, shown


@pytest.mark.parametrize("setting,kept", [({"dead_letter_failed": False}, 0), ({"dead_letter_outcomes": "provider_down, none"}, 0),
                                          ({"dead_letter_outcomes": "bad_request"}, 20), ({"dead_letter_max": 1}, 10)])
def test_what_is_kept(engine, sink, redis, setting, kept):
    e = engine(sink, redis, settings={"queue": setting})
    fail(sink, 20)
    for i in range(2):  # two letters for each of ten partitions
        for p in range(10):
            xadd(redis.client, {"channel": "apns-sink", "to": f"{p * 2 + i:064x}", "content": {"body": "x"}, "campaign": "kept"}, partition=p)
    assert e.wait_final(20, "kept")["failed"] == 20
    wait_for(lambda: queues_empty(redis.client) and len(letters(redis.client)) == kept, what=f"{kept} letters")
    assert sum(redis.client.hlen("{hm:%d}:dead:ids" % p) for p in range(16)) == kept
    if "dead_letter_max" in setting:
        assert e.metric("hermod_dead_letters_dropped_total") == 10


@pytest.mark.parametrize("point", ["dead_put_before:kill@3", "dead_put_after:kill@3", "settle_record:kill@400", "ledger_after_write:kill@4",
                                   "settle_before_ack:kill@2", "settle_after_ack:kill@2"])
def test_one_letter_for_each_failed_message_whatever_dies(point, engine, sink, redis):
    n = 2000
    fail(sink, 100000)
    load(redis, n, "dead", chunk=100)
    e = engine(sink, redis, env={"HERMOD_FAULTS": point}, wait=False)
    wait_for(lambda: not e.alive(), 60, f"the engine dies at {point}")
    e.env = {}
    e.start()
    r = e.wait_final(n, "dead", 120)
    assert r["failed"] == n and r["pending"] == 0, r
    wait_for(lambda: queues_empty(redis.client), 30, "all is acknowledged")
    ids = ids_of(redis.client)
    assert len(ids) == n and len(set(ids)) == n


def test_redis_away_while_messages_fail(engine, sink, redis):
    e = engine(sink, redis)
    sink.knobs({"apns": {"latency": 20}})
    fail(sink)
    load(redis, 2000, "away", chunk=50)
    wait_for(lambda: e.report("away")["failed"] > 200, what="some have failed")
    redis.stop()
    time.sleep(0)  # nothing to wait for: the answers under way come in meanwhile
    redis.restart()
    r = e.wait_final(2000, "away", 60)
    assert r["failed"] == 2000
    wait_for(lambda: queues_empty(redis.client), 30, "all is acknowledged")
    ids = ids_of(redis.client)
    assert len(ids) == 2000 and len(set(ids)) == 2000


@pytest.mark.parametrize("point", ["replay_before:kill@20", "replay_after:kill@20"])
def test_a_replay_cut_anywhere_neither_loses_nor_doubles(point, engine, sink, redis, hermod):
    e = engine(sink, redis)
    n = 2000
    fail(sink, n)
    load(redis, n, "cut", chunk=100)
    assert e.wait_final(n, "cut")["failed"] == n
    wait_for(lambda: len(letters(redis.client)) == n, what="the letters")
    out = hermod("dead", "replay", "--all", "--config", e.config_file, env={"HERMOD_FAULTS": point})
    assert out.returncode == -9, out
    left = len(letters(redis.client))
    assert 0 < left < n
    # two at once, and one of them is the API
    t = threading.Thread(target=lambda: e.post("/v1/dead/replay", {"all": True}, timeout=60))
    t.start()
    assert hermod("dead", "replay", "--all", "--config", e.config_file).returncode == 0
    t.join()
    r = e.wait_final(2 * n, "cut", 60)
    assert (r["accepted"], r["sent"], r["failed"], r["pending"]) == (2 * n, n, n, 0)
    led = sink.ledger()
    assert led["unique"] == n and led["duplicates"] == 0, led
    assert letters(redis.client) == []


def test_what_was_replayed_while_its_entry_was_pending_does_not_come_back(engine, sink, redis):
    """A chunk with a failed message and one that waits: the letter goes, the engine dies, the entry is redelivered."""
    e = engine(sink, redis, settings={"dispatch": {"retry_base": "30s", "retry_max": "30s"}})
    sink.script({"profile": "apns"}, [{"status": 400, "body": BAD}, {"status": 503, "body": '{"reason":"ServiceUnavailable"}'}])
    xadd(redis.client, {"channel": "apns-sink", "rs": ["a" * 64, "b" * 64], "content": {"body": "x"}, "campaign": "twice"}, partition=1)
    wait_for(lambda: len(letters(redis.client)) == 1, what="the letter")
    assert redis.client.xlen("{hm:1}:q:normal") == 1, "the other one waits"
    assert e.post("/v1/dead/replay", {"all": True}).json["replayed"] == 1
    wait_for(lambda: e.report("twice")["sent"] == 1, what="the replay is sent")
    e.kill9()
    e.start()
    e.advance(60000)
    r = e.wait_final(3, "twice")
    assert (r["accepted"], r["sent"], r["failed"], r["pending"]) == (3, 2, 1, 0)
    wait_for(lambda: queues_empty(redis.client), what="all is acknowledged")
    assert letters(redis.client) == [] and sink.ledger()["duplicates"] == 0


def test_what_failed_on_one_node_is_not_tried_again_by_the_one_that_takes_over(engine, sink, redis):
    a = engine(sink, redis, name="a", settings={"dispatch": {"retry_base": "30s", "retry_max": "30s"}})
    sink.script({"profile": "apns"}, [{"status": 400, "body": BAD}, {"status": 503, "body": '{"reason":"ServiceUnavailable"}'}])
    xadd(redis.client, {"channel": "apns-sink", "rs": ["a" * 64, "b" * 64], "content": {"body": "x"}, "campaign": "over"}, partition=1)
    wait_for(lambda: len(letters(redis.client)) == 1, what="the letter")
    a.kill9()
    b = engine(sink, redis, name="b")
    r = b.wait_final(2, "over", 30)
    assert (r["failed"], r["sent"]) == (1, 1)
    wait_for(lambda: queues_empty(redis.client), what="all is acknowledged")
    assert len(ids_of(redis.client)) == 1
    assert sink.ledger()["requests"] == 3
