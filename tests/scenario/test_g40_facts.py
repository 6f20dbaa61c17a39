"""Values fetched at the moment of sending: "only ${facts.left} left"."""
import json
import re
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest
from conftest import Redis, free_port, to_yaml, wait_for, xadd

STOCK = """
kind: message
facts:
  left: {fact: stock, key: "${sku}"}
body: "only ${facts.left} left of ${sku}"
"""


class Shop:
    """What has the values: GET /k/KEY, or POST of {"keys": [...]}."""

    def __init__(self):
        self.values, self.requests, self.status, self.hold = {}, [], 200, threading.Event()
        self.hold.set()  # cleared: answers wait
        shop = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, body):
                shop.requests.append((self.command, self.path, dict(self.headers), body))
                shop.hold.wait(60)
                status, text = shop.status, b""
                if status == 200 and self.command == "POST":
                    keys = json.loads(body)["keys"]
                    text = json.dumps({"values": {k: shop.values[k] for k in keys if k in shop.values}}).encode()
                elif status == 200:
                    key = unquote(self.path.rsplit("/", 1)[1])
                    status = 200 if key in shop.values else 404
                    text = str(shop.values.get(key, "")).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text)
                except OSError:
                    pass  # the engine did not wait

            def do_GET(self):
                self.answer(b"")

            def do_POST(self):
                self.answer(self.rfile.read(int(self.headers["Content-Length"])))

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.hold.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def shop():
    s = Shop()
    yield s
    s.close()


def bodies(sink):
    return [r.json["aps"]["alert"]["body"] if isinstance(r.json["aps"]["alert"], dict) else r.json["aps"]["alert"]
            for r in sink.requests(profile="apns") if r.accepted]


def send(e, sku, n=1, **more):
    return e.send(channel="apns-sink", to=f"{n:064x}", template="stock", data={"sku": sku}, **more)


def retried(e, id, ms):
    """Lets the time of each retry come, once: time that passes while a request is under way would be its time-out."""
    seen = []

    def final():
        m = e.message(id)
        if m["state"] in ("sent", "failed", "expired"):
            return m
        if len(m["attempts"]) not in seen:
            seen.append(len(m["attempts"]))
            e.advance(ms)
        return None
    return wait_for(final, 30, f"message {id} is final")


def counted(e, name, fact="stock"):
    found = re.search(r'^%s\{fact="%s"\} (\d+)$' % (name, fact), e.get("/metrics").body.decode(), re.M)
    return int(found[1]) if found else None


def chunk(redis, skus, campaign, channel="apns-sink", **more):
    rs = [{"addr": f"{i:064x}", "user": f"u{i}", "data": {"sku": sku}} for i, sku in enumerate(skus)]
    xadd(redis.client, {"channel": channel, "rs": rs, "template": "stock", "campaign": campaign, **more})


def test_a_value_of_redis_arrives_and_is_kept_with_the_message(engine, sink, redis, hermod):
    e = engine(sink, redis, templates={"stock": STOCK}, settings={"facts": {"stock": {"from": "redis", "key": "stock:{key}"}}})
    redis.client.set("stock:lamp", "3")
    m = e.wait_state(send(e, "lamp"), "sent")
    assert bodies(sink) == ["only 3 left of lamp"]
    assert m["facts"] == {"left": "3"}
    assert [a["outcome"] for a in m["attempts"]] == ["ok"]
    e.stop()
    shown = hermod("ledger", "get", m["id"], "--data-dir", e.dir / "data")
    assert shown.returncode == 0, shown.stderr
    assert re.search(r'^facts +\{"left":"3"\}$', shown.stdout, re.M), shown.stdout


def test_numbers_stay_decimal_and_are_formatted_by_the_template(engine, sink, shop):
    template = """
kind: message
facts:
  price: {fact: price, key: "${sku}"}
  extra: {fact: price, key: "tax-${sku}"}
body: "${(facts.price + facts.extra)?string['0.00']} at ${facts.price}"
"""
    shop.values = {"a": {"data": {"amount": 0.1}}, "tax-a": {"data": {"amount": "0.20"}}}
    e = engine(sink, templates={"stock": template}, settings={"facts": {
        "price": {"from": "http", "url": shop.url + "/prices", "path": "data.amount", "type": "number"}}})
    m = e.wait_state(send(e, "a"), "sent")
    assert bodies(sink) == ["0.30 at 0.1"]
    assert m["facts"] == {"price": 0.1, "extra": 0.2}
    assert [r[0] for r in shop.requests] == ["POST"]  # both keys in one
    assert json.loads(shop.requests[0][3]) == {"keys": ["a", "tax-a"]}


def test_a_chunk_with_one_key_asks_once_and_with_a_thousand_in_batches(engine, sink, redis, shop):
    e = engine(sink, redis, templates={"stock": STOCK}, settings={"node": {"shards": 1}, "facts": {
        "stock": {"from": "http", "url": shop.url + "/stock", "batch": 100, "cache": "1h", "timeout": "20s"}}})
    shop.values = {"one": 7, **{f"sku{i}": i for i in range(1000)}}
    chunk(redis, ["one"] * 1000, "same")
    assert e.wait_final(1000, "same")["sent"] == 1000
    assert len(shop.requests) == 1
    chunk(redis, [f"sku{i}" for i in range(1000)], "different")
    assert e.wait_final(1000, "different")["sent"] == 1000
    keys = [k for r in shop.requests[1:] for k in json.loads(r[3])["keys"]]
    assert sorted(keys) == sorted(f"sku{i}" for i in range(1000))  # each once
    assert len(shop.requests) < 60, len(shop.requests)
    assert "only 999 left of sku999" in bodies(sink)
    chunk(redis, [f"sku{i}" for i in range(1000)], "again")
    assert e.wait_final(1000, "again")["sent"] == 1000
    assert len(keys) == sum(len(json.loads(r[3])["keys"]) for r in shop.requests[1:])  # all remembered
    assert counted(e, "hermod_fact_hits_total") >= 1000
    assert counted(e, "hermod_fact_requests_total") == len(shop.requests)


def test_equal_results_share_a_request_of_a_batch_channel(engine, sink, redis):
    e = engine(sink, redis, templates={"stock": STOCK}, settings={"node": {"shards": 1}, "facts": {
        "stock": {"from": "redis", "key": "stock:{key}"}}})
    redis.client.set("stock:lamp", "3")
    rs = [{"addr": f"user{i}", "data": {"sku": "lamp"}} for i in range(300)]
    xadd(redis.client, {"channel": "wecom-sink", "rs": rs, "template": "stock", "campaign": "batch"})
    assert e.wait_final(300, "batch")["sent"] == 300
    sends = [r for r in sink.requests() if "/message/send" in r.path]
    assert len(sends) <= 10, len(sends)
    assert all("only 3 left of lamp" in r.json["text"]["content"] for r in sends)


def test_no_answer_in_time_uses_the_fallback_and_does_not_slow_down_the_rest(engine, sink, redis, shop):
    e = engine(sink, redis, templates={"stock": STOCK, "plain": "body: hello\n"}, settings={"facts": {
        "pause_after": 2, "pause": "10m",
        "stock": {"from": "http", "url": shop.url + "/k/{key}", "timeout": "300ms", "fallback": "a few", "max_in_flight": 1}}})
    shop.hold.clear()
    m = e.wait_state(send(e, "lamp"), "sent")
    assert bodies(sink) == ["only a few left of lamp"]
    assert m["facts"] == {"left": "a few"}
    e.wait_state(send(e, "sofa"), "sent")
    wait_for(lambda: (counted(e, "hermod_fact_pauses_total") or 0) >= 1 or send(e, "chair") and False, what="the fact rests")
    rested = counted(e, "hermod_fact_requests_total")
    chunk(redis, [f"sku{i}" for i in range(1000)], "resting")
    r = e.wait_final(1000, "resting")
    assert r["sent"] == 1000
    assert counted(e, "hermod_fact_requests_total") <= rested + 2  # two shards
    assert counted(e, "hermod_fact_fallbacks_total") >= 1000
    assert "a fact cannot be had, it rests" in e.log()
    shop.hold.set()
    shop.values = {"lamp": 5}
    e.advance(11 * 60000)
    wait_for(lambda: "only 5 left of lamp" in bodies(sink) or e.wait_state(send(e, "lamp"), "sent") and False, 30,
             "the value is there again")


def test_a_source_that_fails_makes_the_message_wait_and_then_fail_with_the_reason(engine, sink, shop):
    e = engine(sink, templates={"stock": STOCK}, settings={
        "dispatch": {"max_attempts": 3, "retry_base": "10s", "retry_max": "20s"},
        "facts": {"pause_after": 1000, "stock": {"from": "http", "url": shop.url + "/k/{key}", "timeout": "5s"}}})
    shop.status = 500
    id = send(e, "lamp", campaign="fails")
    e.wait_state(id, "held")
    e.assert_balanced("fails")

    m = retried(e, id, 21000)
    assert m["state"] == "failed" and m["reason"] == "fact stock: HTTP status 500"
    assert [(a["outcome"], a["reason"]) for a in m["attempts"]] == [("retry", "fact stock: HTTP status 500")] * 3
    assert len(shop.requests) == 3
    # and one that recovers in time is sent
    id = send(e, "lamp", campaign="recovers")
    e.wait_state(id, "held")
    shop.status, shop.values = 200, {"lamp": 1}
    m = retried(e, id, 21000)
    assert m["state"] == "sent" and m["facts"] == {"left": "1"}
    assert [a["outcome"] for a in m["attempts"]] == ["retry", "ok"]
    assert bodies(sink) == ["only 1 left of lamp"]
    e.assert_balanced("fails")
    e.assert_balanced("recovers")


def test_no_answer_in_time_and_no_fallback_says_so_and_the_deadline_bounds_it(engine, sink, shop):
    e = engine(sink, templates={"stock": STOCK}, settings={
        "dispatch": {"retry_base": "10s", "retry_max": "10s"},
        "facts": {"stock": {"from": "http", "url": shop.url + "/k/{key}", "timeout": "300ms"}}})
    shop.hold.clear()
    id = send(e, "lamp", expires=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 15)))
    m = e.wait_state(id, "held", "failed")
    assert m["attempts"][0]["reason"] == "fact stock: no answer in 300 ms"

    m = retried(e, id, 11000)
    assert m["state"] in ("failed", "expired") and len(m["attempts"]) <= 3, m


def test_expiry_and_cancel_are_looked_at_again_after_waiting(engine, sink, shop):
    e = engine(sink, templates={"stock": STOCK}, settings={"node": {"shards": 1},
        "facts": {"pause_after": 1000, "stock": {"from": "http", "url": shop.url + "/k/{key}", "timeout": "60s"}}})
    shop.values = {"lamp": 1}
    shop.hold.clear()
    id = send(e, "lamp", campaign="cancelled")
    wait_for(lambda: shop.requests, what="it asks")
    a = e.post(f"/v1/messages/{id}/cancel")
    assert a.status in (200, 202), a.body
    wait_for(lambda: asking(e) == 1, what="it still waits")
    shop.hold.set()
    wait_for(lambda: e.final("cancelled") == 1, what="it is final")
    assert e.message(id)["state"] == "cancelled"
    assert not [r for r in sink.requests(profile="apns") if r.accepted]


def asking(e):
    return sum(int(n) for n in re.findall(r'"asking":(\d+)', e.get("/v1/admin/shard").body.decode()))


def test_redis_of_the_facts_is_restarted(engine, sink, redis, tmp_path):
    own = Redis(tmp_path / "own")
    try:
        e = engine(sink, redis, templates={"stock": STOCK}, settings={
            "dispatch": {"max_attempts": 50, "retry_base": "100ms", "retry_max": "300ms"},
            "facts": {"pause": "100ms", "stock": {"from": "redis", "redis": own.url, "key": "stock:{key}", "cache": 0}}})
        own.client.set("stock:lamp", "3")
        e.wait_state(send(e, "lamp"), "sent")
        own.stop()
        id = send(e, "lamp", 2)
        m = e.wait_state(id, "held", "failed")
        assert m["attempts"][0]["reason"].startswith("fact stock: "), m
        own.restart()
        own.client.set("stock:lamp", "2")
        m = e.wait_state(id, "sent", seconds=40)
        assert bodies(sink) == ["only 3 left of lamp", "only 2 left of lamp"]
        assert "away" in e.log()
    finally:
        own.stop()


def test_sighup_changes_a_fact(engine, sink, redis):
    e = engine(sink, redis, templates={"stock": STOCK}, settings={"facts": {
        "stock": {"from": "redis", "key": "old:{key}", "cache": "1h"}, "same": {"from": "redis"}}})
    redis.client.set("old:lamp", "old")
    redis.client.set("new:lamp", "new")
    e.wait_state(send(e, "lamp"), "sent")
    good = e.config_file.read_text()
    e.config_file.write_text(good.replace('"old:{key}"', '"new:{key}"'))
    e.p.send_signal(signal.SIGHUP)
    wait_for(lambda: "configuration reloaded" in e.log(), what="the new configuration is in effect")
    assert "facts.stock" in e.log() and "facts.same" not in e.log()

    def new():
        e.wait_state(send(e, "lamp"), "sent")
        return bodies(sink)[-1] == "only new left of lamp"
    wait_for(new, what="the shards have it")
    # a fact that a template uses cannot go
    e.config_file.write_text(good.replace("stock:", "shelf:"))
    e.p.send_signal(signal.SIGHUP)
    wait_for(lambda: "the old one keeps running" in e.log(), what="that is refused")
    assert 'there is no fact \\"stock\\"' in e.log()
    e.wait_state(send(e, "lamp"), "sent")


def test_drain_waits_for_facts_and_hands_back_what_does_not_come(engine, sink, redis, shop):
    e = engine(sink, redis, templates={"stock": STOCK}, settings={"node": {"drain_timeout": "20s", "shards": 1}, "facts": {
        "pause_after": 1000, "stock": {"from": "http", "url": shop.url + "/stock", "timeout": "60s", "cache": 0}}})
    shop.values = {f"sku{i}": i for i in range(20)}
    shop.hold.clear()
    chunk(redis, [f"sku{i}" for i in range(20)], "drain")
    wait_for(lambda: asking(e) == 20, what="all of them wait")
    e.p.send_signal(signal.SIGTERM)
    wait_for(lambda: "draining" in e.log(), what="it drains")
    shop.hold.set()
    assert e.p.wait(60) == 0
    assert len(bodies(sink)) == 20  # they were let finish
    shop.hold.clear()
    seen = len(shop.requests)
    e.config_file.write_text(e.config_file.read_text().replace('"20s"', '"300ms"'))
    e.start()
    chunk(redis, [f"sku{i}" for i in range(20)], "handed-back")
    wait_for(lambda: len(shop.requests) > seen and asking(e) == 20, what="all of them wait")
    assert e.stop() == 0  # nothing comes within the limit
    assert len(bodies(sink)) == 20
    shop.hold.set()
    e.start()
    r = e.wait_final(20, "handed-back")
    assert r["sent"] == 20 and r["unknown_attempts"] == 0
    assert sorted(bodies(sink)) == sorted([f"only {i} left of sku{i}" for i in range(20)] * 2)


def test_secrets_of_headers_and_urls_are_never_shown(engine, sink, shop, hermod):
    env = {"SHOP_TOKEN": "t0p-s3cret", "REDIS_PW": "r3dis-s3cret"}
    settings = {"log": {"level": "trace"}, "facts": {
        "pause_after": 1,
        "stock": {"from": "http", "url": shop.url + "/k/{key}?token=${env:SHOP_TOKEN}", "timeout": "5s", "fallback": "few",
                  "headers": {"Authorization": "Bearer ${env:SHOP_TOKEN}"}},
        "other": {"from": "redis", "redis": f"redis://:${{env:REDIS_PW}}@127.0.0.1:{free_port()}/0", "fallback": "none"}}}
    template = """
kind: message
facts: {left: {fact: stock, key: "${sku}"}, x: {fact: other, key: k}}
body: "${facts.left} ${facts.x}"
"""
    e = engine(sink, templates={"stock": template}, settings=settings, env=env)
    shop.values = {"lamp": 1}
    e.wait_state(send(e, "lamp"), "sent")
    assert shop.requests[0][2]["authorization"] == "Bearer t0p-s3cret"
    assert shop.requests[0][1].endswith("?token=t0p-s3cret")
    shop.status = 500
    e.wait_state(send(e, "sofa"), "sent")
    shown = hermod("check", "--config", e.config_file, "--show", env=env, cwd=e.dir)
    assert shown.returncode == 0, shown.stderr
    for text in (e.log(), shown.stdout, shown.stderr, e.get("/v1/admin/shard").body.decode(), e.get("/metrics").body.decode()):
        assert "s3cret" not in text
    assert "a fact cannot be had" in e.log()


def test_check_names_file_and_line(hermod, tmp_path):
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "stock.yaml").write_text(STOCK.strip().replace("fact: stock", "fact: stocks") + "\n")
    file = tmp_path / "hermod.yaml"
    base = {"node": {"data_dir": str(tmp_path / "data")}, "templates": {"dir": str(tmp_path / "templates")}}

    def check(facts):
        file.write_text(to_yaml({**base, "facts": facts}).strip() + "\n")
        a = hermod("check", "--config", file, cwd=tmp_path)
        return a.returncode, a.stdout + a.stderr
    code, text = check({"stock": {"from": "redis"}})
    assert code == 2 and re.search(r'stock\.yaml:3:\d+: .*there is no fact "stocks"', text), text
    assert check({"stocks": {"from": "redis"}})[0] == 0
    code, text = check({"stocks": {"from": "redis", "timeout": "2h"}})
    assert code == 2 and re.search(r"hermod\.yaml:8:\d+: fact stocks: timeout: expected a duration from 1ms to 60s", text), text
    code, text = check({"stocks": {"from": "http", "url": "https://user:pw@shop/x"}})
    assert code == 2 and re.search(r"hermod\.yaml:8:\d+: fact stocks: .*user name or password", text), text
    assert "pw@" not in text


def test_templates_without_facts_ask_nothing(engine, sink, redis):
    e = engine(sink, redis, templates={"stock": "kind: message\nbody: \"hello ${sku}\"\n"}, settings={"facts": {
        "stock": {"from": "redis"}}})
    chunk(redis, ["a"] * 100, "none")
    assert e.wait_final(100, "none")["sent"] == 100
    assert counted(e, "hermod_fact_requests_total") == 0
    id = send(e, "lamp")
    assert "facts" not in e.wait_state(id, "sent")
