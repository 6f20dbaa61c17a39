"""Redis away and back, and the books from the command line: report and ledger."""
import concurrent.futures
import json
import subprocess
from urllib.parse import quote

import pytest
from conftest import http, wait_for, xadd
from stage import Stage, problem

TOKEN = "1" * 64
GOOD = {"channel": "apns-sink", "to": TOKEN, "content": {"body": "x"}}


def test_redis_goes_away_and_comes_back_and_nothing_accepted_is_lost(engine, sink, redis):
    e = engine(sink, redis, settings={"redis": {"command_timeout": "3s"}})
    sink.knobs({"apns": {"latency": 20}})
    accepted, unknown = set(), set()

    def submit(i):
        try:
            a = e.post("/v1/messages", {**GOOD, "to": f"{i:064x}", "campaign": "outage"}, {"Idempotency-Key": f"k{i}"})
        except OSError as x:
            pytest.fail(f"message {i}: {x}")
        if a.status == 202:
            accepted.add(i)
        else:
            p = a.json
            assert a.status == 503 and int(a.headers["Retry-After"]) >= 1, a.body
            assert p["type"] in ("urn:hermod:problem:queue-down", "urn:hermod:problem:queue-unknown"), p
            if p["type"].endswith("unknown"):
                unknown.add(i)
        return a.status

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        first = list(pool.map(submit, range(400)))
        assert set(first) == {202}
        running = [pool.submit(submit, i) for i in range(400, 800)]
        redis.stop()
        for f in running:
            f.result()
        assert submit(800) == 503
        a = e.post("/v1/messages/batch", [GOOD])
        problem(a, 503, "queue-down")
        assert int(a.headers["Retry-After"]) >= 1
        wait_for(lambda: e.get("/readyz").status == 503, what="not ready")
        assert e.get("/healthz").status == 200 and e.get("/metrics").status == 200
        redis.restart()
        wait_for(lambda: e.get("/readyz").status == 200, 20, "ready again")
        # what a careful client does: again with the same key
        again = list(pool.map(submit, range(801)))
        assert set(again) == {202}
    assert len(accepted) == 801
    b = e.wait_final(801, "outage")
    led = sink.ledger()
    assert (b["accepted"], b["sent"]) == (801, 801), b
    assert led["unique"] == 801 and led["duplicates"] <= b["unknown_attempts"], (led, b)


def test_redis_that_is_full_refuses_and_loses_nothing(engine, sink, redis):
    e = engine(sink, redis)
    e.wait_state(e.send(**GOOD), "sent")
    redis.client.config_set("maxmemory", 1)
    a = e.post("/v1/messages", GOOD)
    problem(a, 503, "queue-down", text="OOM")
    assert int(a.headers["Retry-After"]) >= 1
    redis.client.config_set("maxmemory", 0)
    e.wait_state(e.send(**GOOD), "sent")


# -- the books --------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def stage(tmp_path_factory, keys):
    with Stage(tmp_path_factory.mktemp("books"), keys) as s:
        for i in range(5):
            xadd(s.redis.client, {**GOOD, "to": {"addr": f"{i:064x}", "user": f"u{i}"}, "campaign": "春节"}, partition=i)
        xadd(s.redis.client, {**GOOD, "channel": "nope", "campaign": "春节"})
        s.engine.wait_final(6, quote("春节"))
        s.ids = [m["id"] for m in s.engine.get("/v1/messages?campaign=" + quote("春节")).json["messages"]]
        assert len(s.ids) == 6
        yield s


@pytest.fixture
def ask(stage, hermod):
    return lambda *words: hermod(*words, "--config", stage.config)


def test_report(stage, ask):
    wait_for(lambda: json.loads(ask("report", "--json").stdout)["total"]["accepted"] == 6 if ask("report").returncode == 0 else False, what="the ledger is on disk")
    r = ask("report")
    assert r.returncode == 0 and "春节" in r.stdout and "balanced: accepted 6 = sent 5 + failed 1" in r.stdout, (r.stdout, r.stderr)
    doc = json.loads(ask("report", "--json").stdout)
    assert doc["total"]["balanced"] is True and (doc["total"]["sent"], doc["total"]["failed"]) == (5, 1)
    one = json.loads(ask("report", "--json", "--campaign", "春节").stdout)
    assert one["campaign"] == "春节" and one["accepted"] == 6
    over_http = stage.engine.report(quote("春节"))
    assert {k: over_http[k] for k in ("accepted", "sent", "failed", "pending")} == {k: one[k] for k in ("accepted", "sent", "failed", "pending")}
    r = ask("report", "--campaign", "nobody")
    assert r.returncode == 1 and r.stderr == 'hermod: the ledger has no campaign "nobody"\n'
    r = ask("report", "--verify")
    assert r.returncode == 0 and "verified" in r.stdout, r.stderr


def test_ledger(stage, ask):
    r = ask("ledger", "list", "--campaign", "春节")
    assert r.returncode == 0 and all(i in r.stdout for i in stage.ids)
    assert ask("ledger", "list", "--campaign", "春节", "--state", "failed").stdout.count("\n") == 2
    page = [json.loads(x) for x in ask("ledger", "list", "--campaign", "春节", "--json", "--limit", "2").stdout.splitlines()]
    rest = [json.loads(x) for x in ask("ledger", "list", "--campaign", "春节", "--json", "--limit", "0", "--after", page[-1]["id"]).stdout.splitlines()]
    assert [m["id"] for m in page + rest] == stage.ids
    for to in ("u3", f"{3:064x}"):
        found = [json.loads(x) for x in ask("ledger", "find", "--to", to, "--json").stdout.splitlines()]
        assert [m["state"] for m in found] == ["sent"]
    one = ask("ledger", "get", stage.ids[0])
    assert one.returncode == 0 and stage.ids[0] in one.stdout and "attempts" in one.stdout
    assert json.loads(ask("ledger", "get", "--json", stage.ids[0]).stdout)["id"] == stage.ids[0]
    assert len(ask("ledger", "dump").stdout.splitlines()) == 6


@pytest.mark.parametrize("words,code,says", [
    (("get", "nope"), 2, '"nope" is not a message id'),
    (("get", "01ARZ3NDEKTSV4RRFFQ69G5FAV"), 1, "01ARZ3NDEKTSV4RRFFQ69G5FAV"),
    (("find", "--to", "nobody"), 1, "no message found"),
    (("list", "--campaign", "nobody"), 1, "no message found"),
    (("list", "--campaign", "c", "--state", "lost"), 2, 'no state "lost"'),
    (("list", "--campaign", "c", "--after", "x"), 2, '--after "x" is not a message id'),
])
def test_ledger_finds_nothing(ask, words, code, says):
    r = ask("ledger", *words)
    assert (r.returncode, len(r.stderr.splitlines())) == (code, 1) and says in r.stderr, (r.returncode, r.stderr)


def test_tls_api(engine, sink, redis, tmp_path):
    """The API over TLS; a client in clear gets no answer it could mistake for one."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "k.pem", "-out", "c.pem"], cwd=tmp_path, check=True, capture_output=True)
    e = engine(sink, redis, settings={"http": {"tls_cert": str(tmp_path / "c.pem"), "tls_key": str(tmp_path / "k.pem")}}, wait=False)
    curl = lambda *a: subprocess.run(["curl", "-sS", "--max-time", "5", *a], capture_output=True, text=True)
    url = f"https://127.0.0.1:{e.port}"
    wait_for(lambda: curl("--cacert", tmp_path / "c.pem", f"{url}/readyz").stdout == '{"ready":true}', what="ready over TLS")
    assert curl(f"{url}/healthz").returncode == 60, "nobody vouches for the certificate"
    assert curl("--cacert", tmp_path / "c.pem", "--tls-max", "1.1", f"{url}/healthz").returncode != 0
    with pytest.raises(OSError):
        http("GET", f"http://127.0.0.1:{e.port}/healthz")
    r = curl("--cacert", tmp_path / "c.pem", "-H", "Content-Type: application/json", "-d", json.dumps(GOOD), f"{url}/v1/messages")
    assert json.loads(r.stdout)["state"] == "queued"
    wait_for(lambda: sink.ledger()["accepted"] == 1, what="it is sent")
