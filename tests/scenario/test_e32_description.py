"""What the API says about itself: /openapi.json against the program, /metrics against promtool."""
import json
import re
import subprocess

import pytest
from conftest import ROOT, http, wait_for
from stage import Stage, now_ms

jsonschema = pytest.importorskip("jsonschema")
GOOD = {"channel": "apns-sink", "to": "1" * 64, "content": {"body": "x"}, "campaign": "described"}
METHODS = {"get", "post", "put", "patch", "delete", "options", "trace", "head"}


@pytest.fixture(scope="module")
def stage(tmp_path_factory, keys):
    with Stage(tmp_path_factory.mktemp("described"), keys, settings={"test": {"clock": True}}) as s:
        yield s


@pytest.fixture(scope="module")
def doc(stage):
    a = stage.engine.get("/openapi.json")
    assert a.status == 200 and a.headers["Content-Type"] == "application/json"
    return a.json


def walk(node, path="#"):
    yield path, node
    if isinstance(node, dict):
        for k, v in node.items():
            yield from walk(v, f"{path}/{k}")
    elif isinstance(node, list):
        for i, v in enumerate(node):
            yield from walk(v, f"{path}/{i}")


def operations(doc):
    return [(p, m, op) for p, item in doc["paths"].items() for m, op in item.items() if m in METHODS]


def resolve(doc, node):
    while "$ref" in node:
        target = doc
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def test_it_is_the_file_of_the_tree(stage):
    assert stage.engine.get("/openapi.json").body == (ROOT / "engine/ingest/openapi.json").read_bytes()


def test_structure_of_openapi_3_1(doc):
    assert re.fullmatch(r"3\.1\.\d+", doc["openapi"]) and doc["info"]["title"] and doc["info"]["version"]
    assert set(doc) <= {"openapi", "info", "jsonSchemaDialect", "servers", "paths", "webhooks", "components", "security", "tags", "externalDocs"}
    assert set(doc["components"]) <= {"schemas", "responses", "parameters", "examples", "requestBodies", "headers", "securitySchemes", "links", "callbacks", "pathItems"}
    for group in doc["components"].values():
        assert all(re.fullmatch(r"[a-zA-Z0-9._-]+", k) for k in group)
    used = set()
    for path, node in walk(doc):
        if isinstance(node, dict) and isinstance(node.get("$ref"), str):
            target = doc
            for part in node["$ref"].removeprefix("#/").split("/"):
                assert part in target, f"{path}: {node['$ref']} leads nowhere"
                target = target[part]
            used.add(node["$ref"])
    for kind in ("schemas", "responses", "parameters", "headers"):
        for name in doc["components"][kind]:
            assert f"#/components/{kind}/{name}" in used, f"nothing uses {kind}/{name}"
    ids = [op["operationId"] for _, _, op in operations(doc)]
    assert len(ids) == len(set(ids))
    tags = {t["name"] for t in doc["tags"]}
    for path, method, op in operations(doc):
        assert path.startswith("/") and op["summary"] and set(op["tags"]) <= tags
        named = {p["name"] for p in (resolve(doc, x) for x in op.get("parameters", [])) if p["in"] == "path"}
        assert named == set(re.findall(r"\{(\w+)\}", path)), path
        for p in (resolve(doc, x) for x in op.get("parameters", [])):
            assert p["in"] in ("query", "header", "path", "cookie") and ("schema" in p or "content" in p) and (p["in"] != "path" or p["required"] is True)
        assert op["responses"] and all(re.fullmatch(r"[1-5]\d\d|default", c) for c in op["responses"])
        for r in (resolve(doc, x) for x in op["responses"].values()):
            assert r["description"]
        for scheme in (s for req in op.get("security", doc["security"]) for s in req):
            assert scheme in doc["components"]["securitySchemes"]
    for name, schema in doc["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)


def served():
    """The routes of the program, from its tables."""
    found = set()
    for file in ("engine/ingest/routes.c", "engine/core/admin.c", "engine/core/channels.c", "engine/core/routes.c", "engine/templates/routes.c", "engine/gates/api_routes.c",
                 "engine/schedule/api.c", "engine/receipts/routes.c", "engine/inbox/api_routes.c"):
        text = (ROOT / file).read_text()
        for name, value in reversed(re.findall(r"^#define (\w+)\s+(.+)$", text, re.M)):
            text = re.sub(rf"\b{name}\b", value.replace("\\", ""), text)
        text = re.sub(r'"\s+"', "", text)  # strings side by side are one
        text = re.sub(r"\{(id|name|version|channel|user)\}", r"<\1>", text)
        for method, row in re.findall(r"\{\s*\.method = HTTP_(\w+),(.*?)\}", text, re.S):
            found.add((method.lower(), re.sub(r"<(\w+)>", r"{\1}", re.search(r'\.pattern = "([^"]+)"', row)[1])))
    return found


def test_described_and_served_are_the_same(doc):
    assert {(m, p) for p, m, _ in operations(doc)} == served()


def test_every_described_route_answers_and_no_other_method(stage, doc):
    e = stage.engine
    id = e.send(**GOOD)
    e.wait_state(id, "sent")
    dead = e.send(**{**GOOD, "content": {"body": "${nobody}"}, "render": True})
    e.wait_state(dead, "failed")
    wait_for(lambda: e.get(f"/v1/dead/{dead}").status == 200, what="the dead letter")
    made = e.post("/v1/templates", {"name": "described/once", "document": {"body": "x"}, "publish": True})
    assert made.status == 201, made.body
    for path, item in doc["paths"].items():
        if path.startswith("/v1/templates/{name}"):  # whatever the path before left
            draft = http("PUT", e.url("/v1/templates/described%2Fonce/draft"), {"body": path}, {"If-Match": "*"})
            assert draft.status == 200, draft.body
        if path.startswith("/v1/schedules/{name}"):  # 409: the path before left it
            made = e.post("/v1/schedules", {"name": "described", "every": "1h", "job": GOOD})
            assert made.status in (201, 409), made.body
        name = "apns-sink" if path.startswith("/v1/channels/") else "described" if path.startswith("/v1/schedules/") else "described%2Fonce"
        url = e.url(path.replace("{id}", dead if path.startswith("/v1/dead/") else id).replace("{name}", name).replace("{version}", "1").replace("{channel}", "wecom-sink"))
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
            a = http(method, url, b"" if method == "POST" else None)
            if method.lower() in item:
                assert a.status not in (404, 405, 500, 501), (method, path, a.status, a.body)
                assert str(a.status) in item[method.lower()]["responses"], (method, path, a.status, "is not described")
            else:
                assert a.status == 405 and method not in a.headers["Allow"], (method, path, a.status)


def check(doc, answer, path, method):
    """The answer's body fits the schema of its status."""
    r = resolve(doc, doc["paths"][path][method]["responses"][str(answer.status)])
    kind = answer.headers["Content-Type"].split(";")[0]
    assert kind in r["content"], (kind, list(r["content"]))
    schema = {**r["content"][kind]["schema"], "components": doc["components"]}
    jsonschema.Draft202012Validator(schema).validate(answer.json)


def test_answers_fit_their_schemas(stage, doc):
    e = stage.engine
    a = e.post("/v1/messages", GOOD)
    check(doc, a, "/v1/messages", "post")
    e.wait_state(a.json["id"], "sent")
    m = e.get(f"/v1/messages/{a.json['id']}")
    check(doc, m, "/v1/messages/{id}", "get")
    assert m.json["state"] == "sent" and len(m.json["attempts"]) == 1
    later = e.send(**{**GOOD, "at": now_ms() + 3600_000})
    wait_for(lambda: e.message(later), what="the message is known")
    check(doc, e.get(f"/v1/messages/{later}"), "/v1/messages/{id}", "get")
    check(doc, e.post(f"/v1/messages/{later}/cancel"), "/v1/messages/{id}/cancel", "post")
    check(doc, e.get(f"/v1/messages?to={'1' * 64}&limit=1"), "/v1/messages", "get")
    assert e.get(f"/v1/messages?to={'1' * 64}&limit=1").json["next"]
    check(doc, e.get("/v1/messages?campaign=described&state=sent"), "/v1/messages", "get")
    check(doc, e.get("/v1/report"), "/v1/report", "get")
    check(doc, e.get("/v1/report?campaign=described"), "/v1/report", "get")
    check(doc, e.get("/v1/report?campaign=nobody"), "/v1/report", "get")
    check(doc, e.post("/v1/messages/batch", [GOOD, {"typo": 1}]), "/v1/messages/batch", "post")
    check(doc, e.post("/v1/messages/batch", [{"typo": 1}]), "/v1/messages/batch", "post")
    check(doc, e.post("/v1/messages", {"typo": 1}), "/v1/messages", "post")
    for path in ("/healthz", "/readyz", "/v1/admin/shard"):
        check(doc, e.get(path), path, "get")
    check(doc, e.post("/v1/admin/clock", {"advance_ms": 0}), "/v1/admin/clock", "post")
    check(doc, e.post("/v1/admin/clock", {"advance": 0}), "/v1/admin/clock", "post")
    check(doc, e.post("/v1/admin/reload"), "/v1/admin/reload", "post")
    check(doc, e.post("/v1/channels/apns-sink/pause", {"reason": "r"}), "/v1/channels/{name}/pause", "post")
    wait_for(lambda: any("paused" in c for c in e.get("/v1/channels").json["channels"]), what="it is paused")
    check(doc, e.get("/v1/channels"), "/v1/channels", "get")
    check(doc, e.post("/v1/channels/apns-sink/pause", {"typo": 1}), "/v1/channels/{name}/pause", "post")
    check(doc, e.post("/v1/channels/apns-sink/resume"), "/v1/channels/{name}/resume", "post")


def test_answers_about_templates_fit_their_schemas(stage, doc):
    e = stage.engine
    one, name = "/v1/templates/fits%2Fwell", "/v1/templates/{name}"
    call = lambda method, path, body=None, **h: http(method, e.url(path), body, h)
    text = {"body": "${n}", "description": "d", "fields": {"n": {"type": "number", "default": 1.5, "example": 2, "required": False}}}
    check(doc, call("POST", "/v1/templates", {"name": "fits/well", "document": text}), "/v1/templates", "post")
    check(doc, call("POST", "/v1/templates", {"name": "fits/well", "document": text}), "/v1/templates", "post")
    check(doc, call("GET", one), name, "get")
    check(doc, call("GET", one + "/versions/draft"), name + "/versions/{version}", "get")
    check(doc, call("PUT", one + "/draft", text), name + "/draft", "put")
    check(doc, call("PUT", one + "/draft", {"body": "${m} ${o}", "fields": {}}, **{"If-Match": "*"}), name + "/draft", "put")
    check(doc, call("PUT", one + "/draft", {**text, "title": "t"}, **{"If-Match": '"01J00000000000000000000000"'}), name + "/draft", "put")
    check(doc, call("POST", one + "/publish", {"note": "n"}), name + "/publish", "post")
    check(doc, call("POST", one + "/validate", text), name + "/validate", "post")
    check(doc, call("GET", one), name, "get")
    check(doc, call("GET", one + "/versions/1"), name + "/versions/{version}", "get")
    check(doc, call("GET", "/v1/templates?prefix=fits/"), "/v1/templates", "get")
    for action in ("archive", "archive", "current", "restore", "current"):
        check(doc, call("POST", f"{one}/versions/1/{action}"), name + "/versions/{version}/" + action, "post")
    check(doc, call("POST", one + "/archive"), name + "/archive", "post")
    check(doc, call("GET", one + "/history"), name + "/history", "get")
    check(doc, call("DELETE", one), name, "delete")
    check(doc, call("DELETE", one + "/draft"), name + "/draft", "delete")


def test_what_the_schema_takes_the_program_takes(stage, doc):
    """Examples of both sides of the line: the schema and the program agree about them."""
    v = jsonschema.Draft202012Validator({"$ref": "#/components/schemas/Message", "components": doc["components"]})
    base = {k: GOOD[k] for k in GOOD if k != "campaign"}
    for change in ({}, {"lane": "bulk"}, {"lane": "fast"}, {"to": {"addr": "x"}}, {"to": {}}, {"to": 5}, {"typo": 1}, {"tags": ["a"]}, {"tags": "a"}, {"tags": ["a"] * 17},
                   {"at": now_ms()}, {"at": "2126-01-01T00:00:00Z"}, {"at": True}, {"content": {}}, {"content": {"body": 1}}, {"content": {"bdoy": "x"}}, {"route": "r"},
                   {"campaign": "c" * 65}, {"dedupe": "d" * 128}, {"dedupe": "d" * 129}, {"render": "x"}, {"data": []}, {"data": {"a": [1, {"b": None}]}}):
        message = {**base, **change}
        a = stage.engine.post("/v1/messages", message)
        assert (a.status == 202) == v.is_valid(message) or change == {"content": {}}, (change, a.status, a.body)


def test_metrics_please_promtool(stage):
    a = stage.engine.get("/metrics")
    assert a.status == 200 and a.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    r = subprocess.run(["promtool", "check", "metrics"], input=a.body, capture_output=True)
    assert r.returncode == 0 and not r.stdout and not r.stderr, (r.stdout, r.stderr)
    text = a.body.decode()
    for name in ("hermod_messages_accepted_total", "hermod_messages_sent_total", "hermod_queue_entries_dead_total", "hermod_http_requests_total"):
        assert f"# TYPE {name} counter" in text and f"# HELP {name} " in text
    assert stage.engine.metric("hermod_messages_sent_total") > 0


def test_errors_are_json_too(stage):
    for path in ("/nope", "/v1/messages/x"):
        json.loads(stage.engine.get(path).body)
