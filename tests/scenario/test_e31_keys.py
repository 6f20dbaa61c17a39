"""API keys from their making to their revocation: 401, 403, 429, and what each says."""
import json
import re

import pytest
from conftest import http, wait_for
from stage import Stage, problem

GOOD = {"channel": "apns-sink", "to": "1" * 64, "content": {"body": "x"}}


@pytest.fixture(scope="module")
def stage(tmp_path_factory, keys):
    with Stage(tmp_path_factory.mktemp("keys"), keys, settings={"http": {"auth": "required"}, "test": {"clock": True}}) as s:
        yield s


@pytest.fixture
def make(stage, hermod):
    def create(*options):
        r = hermod("keys", "create", "--config", stage.config, *options)
        assert r.returncode == 0, r.stderr
        return r.stdout.strip()
    return create


def call(stage, key=None, method="POST", path="/v1/messages", body=GOOD, **headers):
    if key:
        headers["Authorization"] = f"Bearer {key}"
    return http(method, stage.engine.url(path), body if method == "POST" else None, headers)


def test_health_needs_no_key_and_everything_else_does(stage):
    for path in ("/healthz", "/readyz", "/openapi.json", "/metrics"):
        assert call(stage, method="GET", path=path).status == 200, path
    for method, path in (("POST", "/v1/messages"), ("POST", "/v1/messages/batch"), ("GET", "/v1/messages?to=x"), ("GET", "/v1/report"),
                         ("GET", "/v1/messages/01ARZ3NDEKTSV4RRFFQ69G5FAV"), ("POST", "/v1/messages/01ARZ3NDEKTSV4RRFFQ69G5FAV/cancel"),
                         ("GET", "/v1/admin/shard"), ("POST", "/v1/admin/reload"), ("POST", "/v1/admin/clock")):
        a = call(stage, method=method, path=path)
        problem(a, 401, "unauthorized", text="hermod keys create")
        assert a.headers["WWW-Authenticate"].startswith("Bearer")


def test_wrong_keys(stage, make):
    good = make("--scope", "send")
    assert re.fullmatch(r"hk_[0-9a-z]{8}_[A-Za-z0-9_-]{43}|hk_\S+", good)
    for bad in ("nonsense", "hk_", good[:-1], good + "x", good.upper(), "hk_" + "0" * (len(good) - 3)):
        problem(call(stage, bad), 401, "unauthorized")
    flipped = good[:-2] + ("A" if good[-2] != "A" else "B") + good[-1]
    problem(call(stage, flipped), 401, "unauthorized", text="the API key is not valid")
    for value in (f"Basic {good}", good, "Bearer", f"Token {good}", "Bearer " + "x" * 5000):
        problem(http("POST", stage.engine.url("/v1/messages"), GOOD, {"Authorization": value}), 401, "unauthorized")
    assert call(stage, good).status == 202
    assert http("POST", stage.engine.url("/v1/messages"), GOOD, {"Authorization": f"bearer  {good}"}).status == 202
    assert good not in stage.engine.log() and good.split("_")[2] not in stage.engine.log()


def test_scopes(stage, make):
    send, read, admin = make("--scope", "send"), make("--scope", "read"), make("--scope", "admin")
    id = call(stage, send).json["id"]
    problem(call(stage, send, "GET", f"/v1/messages/{id}"), 403, "forbidden", text='the scope "read"')
    problem(call(stage, send, "GET", "/v1/report"), 403, "forbidden", text='the scope "read"')
    problem(call(stage, read), 403, "forbidden", text='the scope "send"')
    problem(call(stage, read, path=f"/v1/messages/{id}/cancel"), 403, "forbidden", text='the scope "send"')
    problem(call(stage, read, path="/v1/messages/batch"), 403, "forbidden", text='the scope "send"')
    for key in (send, read):
        problem(call(stage, key, "GET", "/v1/admin/shard"), 403, "forbidden", text='the scope "admin"')
    assert call(stage, read, "GET", f"/v1/messages/{id}").status == 200
    for method, path in (("POST", "/v1/messages"), ("GET", f"/v1/messages/{id}"), ("GET", "/v1/admin/shard")):
        assert call(stage, admin, method, path).status in (200, 202), path


def test_keys_are_shown_once_listed_and_revoked(stage, hermod, make):
    r = hermod("keys", "create", "--config", stage.config, "--scope", "send,read", "--name", "店铺", "--rate", "50", "--json")
    made = json.loads(r.stdout)
    assert made["scopes"] == ["send", "read"] and made["key"].startswith("hk_")
    listed = json.loads(hermod("keys", "list", "--config", stage.config, "--json").stdout)
    mine = [k for k in listed if k["id"] == made["id"]][0]
    assert (mine["name"], mine["rate"], mine["scopes"]) == ("店铺", 50, ["send", "read"]) and "revoked" not in mine
    table = hermod("keys", "list", "--config", stage.config)
    assert made["id"] in table.stdout and "店铺" in table.stdout
    secret = made["key"].split("_", 2)[2]
    stored = b"".join(stage.redis.client.hgetall("{hm:ctl}:keys").values()).decode()
    for text in (json.dumps(listed), table.stdout, stored):
        assert secret not in text
    assert call(stage, made["key"]).status == 202
    r = hermod("keys", "revoke", "--config", stage.config, made["id"])
    assert r.returncode == 0 and made["id"] in r.stderr
    wait_for(lambda: call(stage, made["key"]).status == 401, what="the revoked key is refused")
    problem(call(stage, made["key"]), 401, "unauthorized")
    assert [k for k in json.loads(hermod("keys", "list", "--config", stage.config, "--json").stdout) if k["id"] == made["id"]][0]["revoked"]
    assert hermod("keys", "revoke", "--config", stage.config, made["id"]).returncode == 0, "again is harmless"
    r = hermod("keys", "revoke", "--config", stage.config, "00000000"[:len(made["id"])].ljust(len(made["id"]), "0"))
    assert r.returncode == 1 and "there is no key" in r.stderr


def test_the_rate_of_a_key(stage, make):
    key = make("--scope", "send", "--rate", "5")
    answers = [call(stage, key) for _ in range(40)]
    assert {a.status for a in answers} == {202, 429}
    limited = [a for a in answers if a.status == 429][0]
    problem(limited, 429, "rate-limited", text="allows 5 requests per second")
    assert int(limited.headers["Retry-After"]) >= 1
    wait_for(lambda: call(stage, key).status == 202, what="the next second")


def test_metrics_can_need_a_key(engine, redis, hermod):
    e = engine(redis=redis, settings={"metrics": {"auth": "required"}, "http": {"auth": "required"}})
    problem(e.get("/metrics"), 401, "unauthorized")
    e.key = hermod("keys", "create", "--config", e.config_file, "--scope", "read").stdout.strip()
    assert e.get("/metrics").status == 200


def test_a_key_one_shard_knows_is_known_to_all(engine, redis, hermod):
    e = engine(redis=redis, settings={"http": {"auth": "required"}})
    e.key = hermod("keys", "create", "--config", e.config_file, "--scope", "read").stdout.strip()
    assert e.get("/v1/messages/01ARZ3NDEKTSV4RRFFQ69G5FAV").status == 404, "one connection, so one shard has seen the key"
    redis.stop()
    wait_for(lambda: e.get("/readyz").status == 503, what="Redis is missed")
    assert {e.get("/v1/messages/01ARZ3NDEKTSV4RRFFQ69G5FAV").status for _ in range(20)} == {404}


def test_known_keys_work_while_redis_is_away(engine, sink, redis, hermod):
    e = engine(sink, redis, settings={"http": {"auth": "required"}})
    e.key = hermod("keys", "create", "--config", e.config_file, "--scope", "send,read").stdout.strip()
    id = e.send(**GOOD)
    e.wait_state(id, "sent")
    redis.stop()
    wait_for(lambda: e.get("/readyz").status == 503, what="Redis is missed")
    # Every request is a connection of its own: both shards are asked, also the one that never saw the key.
    assert {e.get(f"/v1/messages/{id}").status for _ in range(20)} == {200}, "the ledger is looked at without Redis"
    a = e.post("/v1/messages", GOOD)
    problem(a, 503, "queue-down")
    other = http("POST", e.url("/v1/messages"), GOOD, {"Authorization": "Bearer " + e.key[:3] + ("0" if e.key[3] != "0" else "1") + e.key[4:]})
    assert other.status == 503 and int(other.headers["Retry-After"]) >= 1, "a key nobody has seen cannot be judged"
    redis.restart()
