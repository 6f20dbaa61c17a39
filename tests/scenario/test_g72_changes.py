"""Templates, facts and configuration that change while messages leave: every message is of a version that was current."""
import json
import re
import signal
import threading
import time
import zoneinfo
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import wait_for, xadd
from sink_client import Sink
from test_g30_templates import Templates
from test_g40_facts import STOCK

KEY = "9" * 64


@pytest.fixture
def wide(keys):
    """A sink that remembers every request of a scenario."""
    s = Sink("--apns-key", keys.apns, "--fcm-key", keys.fcm_key, "--webhook-secret", keys.webhook_secret, keep_requests=60000)
    yield s
    s.stop()


def bodies(sink):
    out = []
    for r in sink.requests(n=60000, profile="apns"):
        if r.accepted:
            alert = r.json["aps"]["alert"]
            out.append(alert if isinstance(alert, str) else alert["body"])
    return out


def test_two_engines_send_what_is_current(engine, wide, redis):
    """The publisher notes when each version began and ended to be current; what is sent lies between."""
    a, b = engine(wide, redis, name="a"), engine(wide, redis, name="b")
    t = Templates(a)
    t.create("part", {"kind": "fragment", "text": "f0"}, publish=True)
    t.create("now", {"body": "v0 ${n} <#include 'part'>"}, publish=True)
    wait_for(lambda: Templates(b).get("now").status == 200, what="the other has it")
    stop, log, wrong = threading.Event(), [(time.time(), 0)], []

    def publish():
        for n in range(1, 400):
            if stop.is_set():
                return
            try:
                t.publish("part", json.dumps({"kind": "fragment", "text": f"f{n}"}))
                began = time.time()
                t.publish("now", json.dumps({"body": "v%d ${n} <#include 'part'>" % n}))
                log.append((began, n))
            except BaseException as e:
                wrong.append(e)
                return
    th = threading.Thread(target=publish)
    th.start()
    total, seen = 3000, []
    for i in range(0, total, 20):
        rs = [{"addr": f"{k:064x}", "data": {"n": k}} for k in range(i, i + 20)]
        before = log[-1][1]
        xadd(redis.client, {"channel": "apns-sink", "rs": rs, "template": "now", "campaign": "race"}, partition=i // 20 % 16)
        seen.append((i, before))
        time.sleep(0.01)
    wait_for(lambda: a.final("race") + b.final("race") >= total, 90, "all final")
    stop.set()
    th.join()
    assert not wrong, wrong
    assert a.report("race")["sent"] + b.report("race")["sent"] == total, (a.report("race"), b.report("race"))
    a.assert_balanced("race"), b.assert_balanced("race")
    texts = bodies(wide)
    assert len(texts) == total and wide.ledger()["duplicates"] == 0
    last = log[-1][1] + 1
    for text in texts:
        v, n, f = re.fullmatch(r"v(\d+) (\d+) f(\d+)", text).groups()
        v, n, f = int(v), int(n), int(f)
        before = next(x for i, x in reversed(seen) if i <= n)
        # the fragment is published first: it is of the same step or the next
        assert v <= f <= v + 1 and v <= last, text
        assert v >= before - 3, (text, before)  # another process may be moments behind
    assert len({t.split()[0] for t in texts}) > 5


def test_reload_in_a_loop_under_load(engine, wide, redis):
    e = engine(wide, redis, templates={"stock": STOCK, "x": "body: plain ${sku}\n"}, settings={
        "facts": {"stock": {"from": "redis", "key": "stock:{key}", "cache": "10ms", "fallback": "few"}, "spare": {"from": "redis"}}})
    redis.client.mset({f"stock:sku{i}": "9" for i in range(100)})
    good = e.config_file.read_text()
    stop = threading.Event()
    count = [0]

    def reload():
        k = 0
        while not stop.is_set():
            k += 1
            text = good
            if k % 2:
                text = text.replace('cache: "10ms"', 'cache: "20ms"').replace("spare:", f"spare{k}:")
            if k % 3 == 0:
                text = text.replace("topic:", f"max_concurrency: {100 + k % 50}\n    topic:")
            e.config_file.write_text(text)
            (e.dir / "templates" / "x.yaml").write_text("body: plain%d ${sku}\n" % k)
            (e.dir / "templates" / f"y{k % 5}.yaml").write_text("body: other ${sku}\n")
            e.p.send_signal(signal.SIGHUP)
            count[0] = k
            time.sleep(0.03)
    th = threading.Thread(target=reload)
    th.start()
    try:
        n = 0
        for i in range(150):
            for name in ("stock", "x"):
                rs = [{"addr": f"{k:064x}", "data": {"sku": f"sku{k}"}} for k in range(50)]
                xadd(redis.client, {"channel": "apns-sink", "rs": rs, "template": name, "campaign": "reload"}, partition=i % 16)
                n += 50
            time.sleep(0.01)
        r = e.wait_final(n, "reload", 120)
    finally:
        stop.set()
        th.join()
    assert r["sent"] == n, (r, e.log()[-3000:])
    led = wide.ledger()
    assert led["accepted"] == n, led
    assert e.log().count("configuration reloaded") > 3, count
    texts = bodies(wide)
    assert all(re.fullmatch(r"only (9|few) left of sku\d+|plain\d* sku\d+", t) for t in texts), [t for t in texts if "sku" not in t][:5]


def test_thousands_of_templates(engine, wide, redis):
    e = engine(wide, redis, settings={"node": {"shards": 2}})
    t = Templates(e)
    n = 2000
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda i: t.create(f"group{i % 20}/t{i}", {"body": "t%d ${n}" % i}, publish=True), range(n)))
    assert e.stop() == 0
    e.start()
    rs = [{"addr": f"{k:064x}", "data": {"n": k}} for k in range(10)]
    for i in range(0, n, 10):
        xadd(redis.client, {"channel": "apns-sink", "rs": rs, "template": f"group{i % 20}/t{i}", "campaign": "many"}, partition=i // 10 % 16)
    r = e.wait_final(n, "many", 90)
    assert r["sent"] == n
    for i in range(10):
        e.p.send_signal(signal.SIGHUP)
        t.publish("group0/t0", json.dumps({"body": "again %d ${n}" % i}))
    id = e.send(channel="apns-sink", to=KEY, template="group0/t0", data={"n": 1})
    e.wait_state(id, "sent")
    assert bodies(wide)[-1] == "again 9 1"


def test_a_chunk_with_a_thousand_locales_and_zones(engine, wide, redis):
    zones = sorted(z for z in zoneinfo.available_timezones() if "/" in z)
    document = """
kind: message
default_locale: en
body: "en ${n} ${.locale}"
locales:
  zh-CN: {body: "zh ${n} ${.locale}"}
  de: {body: "de ${n} ${.locale}"}
"""
    e = engine(wide, redis, templates={"l": document}, settings={"node": {"shards": 1}})
    langs = ["en", "zh-Hans-CN", "de-AT", "fr", "pt_BR", "x-nonsense", "", "zh", "sr-Latn-RS"]
    rs = []
    for k in range(1000):
        loc = langs[k % len(langs)] + (f"-{chr(65 + k % 26)}{chr(65 + k // 26 % 26)}" if k % 4 == 0 and langs[k % len(langs)] else "")
        rs.append({"addr": f"{k:064x}", "data": {"n": k}, **({"locale": loc} if loc else {}), "tz": zones[k % len(zones)]})
    xadd(redis.client, {"channel": "apns-sink", "rs": rs, "template": "l", "campaign": "locales"})
    r = e.wait_final(1000, "locales")
    assert r["sent"] == 1000, (r, [e.get("/v1/messages?campaign=locales&state=failed").body[:600]])
    texts = {int(t.split()[1]): t for t in bodies(wide)}
    for k, x in enumerate(rs):
        lang = (x.get("locale") or "en").split("-")[0].split("_")[0]
        want = {"zh": "zh", "de": "de"}.get(lang, "en")
        if x.get("locale", "") == "zh" or (lang == "zh" and "Hant" in x.get("locale", "")):
            continue
        assert texts[k].startswith(want + " "), (x, texts[k])


def test_a_fact_that_a_managed_template_uses_goes_away_and_comes_back(engine, wide, redis):
    e = engine(wide, redis, settings={"facts": {"stock": {"from": "redis", "key": "stock:{key}"}, "spare": {"from": "redis"}},
                                      "dispatch": {"retry_base": "20ms", "retry_max": "50ms", "max_attempts": 3}})
    redis.client.set("stock:lamp", "9")
    t = Templates(e)
    t.create("stock", {"facts": {"left": {"fact": "stock", "key": "${sku}"}}, "body": "only ${facts.left} left of ${sku}"}, publish=True)
    send = lambda: e.wait_state(e.send(channel="apns-sink", to=KEY, template="stock", data={"sku": "lamp"}), "sent", "failed")  # noqa: E731
    assert send()["state"] == "sent"
    good = e.config_file.read_text()


    def reload(text):
        e.config_file.write_text(text)
        n = e.log().count("configuration reloaded") + e.log().count("the old one keeps running")
        e.p.send_signal(signal.SIGHUP)
        wait_for(lambda: e.log().count("configuration reloaded") + e.log().count("the old one keeps running") > n, what="reloaded")
    reload(good.replace("stock:\n", "shelf:\n"))
    a = e.post("/v1/messages", {"channel": "apns-sink", "to": KEY, "template": "stock", "data": {"sku": "lamp"}})
    assert a.status in (202, 422)
    reload(good)
    wait_for(lambda: e.post("/v1/messages", {"channel": "apns-sink", "to": KEY, "template": "stock", "data": {"sku": "lamp"}}).status == 202, what="usable again")
    assert send()["state"] == "sent"
    assert bodies(wide)[-1] == "only 9 left of lamp"
