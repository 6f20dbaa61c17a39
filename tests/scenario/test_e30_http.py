"""Everything that can be wrong with a request: status, problem+json, the field it is about, and the next request works."""
import concurrent.futures
import json
import socket
import subprocess
import time

import msgpack
import pytest
from conftest import http, wait_for
from stage import Stage, now_ms, problem, responses

TOKEN = "1" * 64
GOOD = {"channel": "apns-sink", "to": TOKEN, "content": {"body": "x"}}
TIMEOUT_MS = 1500


@pytest.fixture(scope="module")
def stage(tmp_path_factory, keys):
    limits = {"header_timeout": f"{TIMEOUT_MS}ms", "body_timeout": f"{TIMEOUT_MS}ms", "idle_timeout": "3s", "max_batch": 1000, "idempotency_ttl": "60s"}
    with Stage(tmp_path_factory.mktemp("http"), keys, settings={"http": limits, "queue": {"heartbeat": "200ms", "claim_after": "2s"}},
               templates={"welcome": "body: 'Hi ${name}'\n"}, routes={"both": ["apns-sink", "fcm-sink"]}) as s:
        yield s


@pytest.fixture
def e(stage):
    accepted = stage.engine.report()["accepted"]
    yield stage.engine
    a = stage.engine.post("/v1/messages", GOOD)
    assert a.status == 202, f"after the test: {a.status} {a.body}"
    assert stage.engine.report()["accepted"] >= accepted


def without(key):
    return {k: v for k, v in GOOD.items() if k != key}


# -- one message ---------------------------------------------------------------------------------

@pytest.mark.parametrize("body,field,text", [
    (without("to"), "to", "is missing: who gets the message?"),
    (without("channel"), "channel", "is missing (or route)"),
    (without("content"), "template", "is missing (or content)"),
    ({**GOOD, "template": "welcome"}, "template", "give template or content, not both"),
    ({**GOOD, "route": "both"}, "channel", "give channel or route, not both"),
    ({**GOOD, "recipients": [TOKEN]}, "to", "give to or recipients, not both"),
    ({**GOOD, "chanel": "x"}, "chanel", 'unknown key, did you mean "channel"?'),
    ({**GOOD, "rs": [TOKEN]}, "rs", "unknown key"),
    ({**GOOD, "id": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}, "id", "unknown key"),
    ({**GOOD, "content": {"bdoy": "x"}}, "content.bdoy", 'did you mean "body"?'),
    ({**GOOD, "content": {}}, "content", "has nothing to send"),
    ({**GOOD, "content": "x"}, "content", "must be a map, not"),
    ({**GOOD, "content": {"body": 1}}, "content.body", "must be a string, not"),
    ({**GOOD, "channel": 7}, "channel", "must be a string, not"),
    ({**GOOD, "channel": "nope"}, "channel", 'there is no channel "nope"'),
    ({**without("channel"), "route": "nope"}, "route", 'there is no route "nope"'),
    ({**without("content"), "template": "nope"}, "template", 'no template "nope"'),
    ({**without("content"), "template": "welcome@99"}, "template", '"welcome" has no version 99'),
    ({**GOOD, "to": ""}, "to", "is empty"),
    ({**GOOD, "to": 5}, "to", "must be an address or a map"),
    ({**GOOD, "to": {}}, "to", "needs addr or user"),
    ({**GOOD, "to": {"adr": "x"}}, "to.adr", 'did you mean "addr"?'),
    ({**GOOD, "to": {"addr": {}}}, "to.addr", "is an empty map"),
    ({**GOOD, "to": {"addr": "x", "locale": "zh CN"}}, "to.locale", "language tag"),
    ({**GOOD, "to": {"addr": "x", "tz": "Asia Shanghai"}}, "to.tz", "zone like Asia/Shanghai"),
    ({**GOOD, "to": "x" * 2049}, "to", "longer than 2048 bytes"),
    ({**GOOD, "to": "a\nb"}, "to", "control character"),
    ({**GOOD, "to": {"user": "u" * 129}}, "to.user", "longer than 128 bytes"),
    ({**GOOD, "campaign": "c" * 65}, "campaign", "longer than 64 bytes"),
    ({**GOOD, "dedupe": "d" * 129}, "dedupe", "longer than 128 bytes"),
    ({**GOOD, "tags": "vip"}, "tags", "an array of strings"),
    ({**GOOD, "tags": ["a"] * 17}, "tags", "more than 16 tags"),
    ({**GOOD, "tags": ["a", 1]}, "tags[1]", "must be a string"),
    ({**GOOD, "lane": "fast"}, "lane", "must be critical, high, normal or bulk"),
    ({**GOOD, "at": "tomorrow"}, "at", "RFC 3339"),
    ({**GOOD, "at": 1700000000}, "at", "looks like seconds"),
    ({**GOOD, "at": -1}, "at", "milliseconds of Unix time"),
    ({**GOOD, "expires": 1700000000000}, "expires", "has passed already"),
    ({**GOOD, "at": "2126-01-02T03:04:05Z", "expires": "2126-01-02T03:04:04Z"}, "expires", "must be later than at"),
    ({**GOOD, "data": []}, "data", "must be a map"),
    ({**GOOD, "render": "yes"}, "render", "must be true or false"),
    ({**without("content"), "template": "welcome", "render": True}, "render", "a template is always rendered"),
    ({**without("to"), "recipients": [TOKEN]}, "recipients", "belong to /v1/messages/batch"),
    ([GOOD], None, "send lists to /v1/messages/batch"),
    ("text", None, "a message must be a map"),
    (None, None, "a message must be a map"),
])
def test_wrong_message(e, body, field, text):
    a = e.post("/v1/messages", json.dumps(body).encode(), {"Content-Type": "application/json"})
    p = problem(a, 422, "invalid-message", field, text)
    assert field is not None or "field" not in p, p


@pytest.mark.parametrize("body,line,text", [
    (b'{"to": "x",\n "channel": }', 2, "line 2"),
    (b'{"to": "x"', 1, "line 1"),
    (b'{"to": "x",}', 1, "line 1"),
    (b"{'to': 'x'}", 1, "line 1"),
    (b'{"to": "x"} trailing', 1, "line 1"),
    (b'{"to": "\xff"}', 1, "UTF-8"),
    (b"\xef\xbb\xbfnope", 1, "line 1"),
])
def test_bad_json_says_where(e, body, line, text):
    p = problem(e.post("/v1/messages", body, {"Content-Type": "application/json"}), 400, "bad-syntax", text=text)
    assert line is None or p.get("line") == line, p
    assert line is None or "column" in p["detail"], p


def test_json_that_is_odd_but_no_syntax_error(e):
    h = {"Content-Type": "application/json"}
    twice = json.dumps(GOOD)[:-1] + ', "to": "y"}'
    problem(e.post("/v1/messages", twice.encode(), h), 422, "invalid-message", "to", "is given twice")
    problem(e.post("/v1/messages", b"[" * 100000, h), 413, "too-large", text="nested deeper than")
    assert e.post("/v1/messages", b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), h).status in (202, 400)


def test_empty_body_and_wrong_type(e):
    problem(e.post("/v1/messages", b"", {"Content-Type": "application/json"}), 400, "bad-syntax", text="empty")
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/x-ndjson"):
        problem(e.post("/v1/messages", b"{}", {"Content-Type": kind}), 415, "unsupported-media-type", "Content-Type", kind)
    a = responses(_raw(e, b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"))[0]
    problem(a, 415, "unsupported-media-type", "Content-Type", "not missing")


def test_content_type_with_parameters_and_case(e):
    for kind in ("application/json; charset=utf-8", "Application/JSON"):
        assert e.post("/v1/messages", json.dumps(GOOD).encode(), {"Content-Type": kind}).status == 202


def test_msgpack_good_and_bad(e):
    mp = {"Content-Type": "application/msgpack"}
    a = e.post("/v1/messages", msgpack.packb(GOOD), mp)
    assert a.status == 202 and e.wait_state(a.json["id"], "sent")
    problem(e.post("/v1/messages", msgpack.packb(GOOD)[:-3], mp), 400, "bad-syntax")
    problem(e.post("/v1/messages", b"\xc1", mp), 400, "bad-syntax")
    problem(e.post("/v1/messages", msgpack.packb({1: 2}), mp), 422, "invalid-message")
    a = e.post("/v1/messages/batch", msgpack.packb([GOOD, without("to")]), mp)
    assert a.status == 202 and (a.json["accepted"], a.json["rejected"]) == (1, 1)


# -- look-ups -------------------------------------------------------------------------------------

def test_look_ups_that_find_nothing(e):
    problem(e.get("/v1/messages/01ARZ3NDEKTSV4RRFFQ69G5FAV"), 404, "not-found", text="01ARZ3NDEKTSV4RRFFQ69G5FAV")
    problem(e.post("/v1/messages/01ARZ3NDEKTSV4RRFFQ69G5FAV/cancel"), 404, "not-found")
    for bad in ("nope", "01ARZ3NDEKTSV4RRFFQ69G5FA", "81ARZ3NDEKTSV4RRFFQ69G5FAV", "%00", "..%2f..%2fetc"):
        for a in (e.get(f"/v1/messages/{bad}"), e.post(f"/v1/messages/{bad}/cancel")):
            problem(a, 400, "bad-request", "id", "26 characters")


@pytest.mark.parametrize("query,field", [("", "to"), ("to=a&campaign=b", "to"), ("to=a&limit=0", "limit"), ("to=a&limit=501", "limit"),
                                         ("to=a&limit=x", "limit"), ("to=a&after=x", "after"), ("to=a&state=lost", "state")])
def test_wrong_questions(e, query, field):
    problem(e.get(f"/v1/messages?{query}"), 400, "bad-request", field)


def test_report_of_an_unknown_campaign(e):
    problem(e.get("/v1/report?campaign=never-seen"), 404, "not-found", text="never-seen")


def test_what_is_sent_cannot_be_cancelled(e):
    id = e.send(**GOOD)
    e.wait_state(id, "sent")
    p = problem(e.post(f"/v1/messages/{id}/cancel"), 409, "already-final", text="sent already")
    assert p["state"] == "sent"
    later = e.send(**GOOD, at=now_ms() + 3600_000)
    for _ in range(2):
        a = e.post(f"/v1/messages/{later}/cancel")
        assert a.status in (202, 409), a.body


# -- paths and methods --------------------------------------------------------------------------

def test_unknown_paths(e):
    for path in ("/", "/v1", "/v1/message", "/v1/messages/", "/v2/messages", "/v1/messages/a/b/c", "//v1/messages", "/favicon.ico", "/.git/config"):
        problem(e.get(path), 404, "not-found", text="/openapi.json")


@pytest.mark.parametrize("method,path,allow", [
    ("DELETE", "/v1/messages", {"GET", "HEAD", "POST"}), ("PUT", "/v1/messages/batch", {"POST"}), ("GET", "/v1/messages/batch", {"POST"}),
    ("POST", "/healthz", {"GET", "HEAD"}), ("PATCH", "/v1/messages/01ARZ3NDEKTSV4RRFFQ69G5FAV", {"GET", "HEAD"}),
    ("OPTIONS", "/v1/report", {"GET", "HEAD"}), ("GET", "/v1/messages/01ARZ3NDEKTSV4RRFFQ69G5FAV/cancel", {"POST"}),
    ("TRACE", "/metrics", {"GET", "HEAD"})])
def test_wrong_method_tells_the_right_ones(e, method, path, allow):
    a = http(method, e.url(path))
    problem(a, 405, "method-not-allowed", text=f"{method} is not allowed")
    assert set(a.headers["Allow"].split(", ")) == allow


def test_head_is_get_without_the_body(e):
    for path in ("/healthz", "/openapi.json", "/metrics"):
        a, g = http("HEAD", e.url(path)), e.get(path)
        assert a.status == 200 and a.body == b""
        assert a.headers["Content-Type"] == g.headers["Content-Type"] and int(a.headers["Content-Length"]) > 0


# -- sizes ------------------------------------------------------------------------------------------

def test_body_of_ten_megabytes(stage, e):
    big = json.dumps({**GOOD, "content": {"body": "x" * 10_000_000}}).encode()
    with socket.create_connection(("127.0.0.1", stage.port)) as s:  # it may answer and close before it has read everything
        s.settimeout(10)
        s.sendall(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(big))
        r = responses(_all(s, big))[0]
    problem(r, 413, "too-large", text="(http.max_body)")
    assert r.headers["connection"] == "close"
    for path in ("/v1/messages", "/v1/messages/batch"):  # of unknown length
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", stage.port)) as s:
            s.settimeout(10)
            r = responses(_all(s, head + (b"100000\r\n" + b"x" * 0x100000 + b"\r\n") * 10))[0]
        problem(r, 413, "too-large", text="(http.max_body)")


def test_ten_megabytes_with_curl(stage, e, tmp_path):
    """curl asks first (Expect: 100-continue) and shows the sentence."""
    (tmp_path / "big.json").write_bytes(json.dumps({**GOOD, "content": {"body": "x" * 10_000_000}}).encode())
    for expect in (["-H", "Expect: 100-continue"], ["-H", "Expect:"]):
        r = subprocess.run(["curl", "-sS", "-w", "\n%{http_code}", "-H", "Content-Type: application/json", *expect, "--data-binary", "@big.json", e.url("/v1/messages")],
                           cwd=tmp_path, capture_output=True, text=True, timeout=60)
        body, _, status = r.stdout.rpartition("\n")
        assert status == "413" and "http.max_body" in json.loads(body)["detail"], (r.stdout, r.stderr)


def test_message_larger_than_an_entry(e):
    a = e.post("/v1/messages", {**GOOD, "content": {"body": "x" * 5_000_000}})
    problem(a, 413, "too-large", text="(queue.max_entry_bytes)")


def test_too_many_messages_in_a_batch(e):
    problem(e.post("/v1/messages/batch", [GOOD] * 1001), 413, "too-large", text="at most 1000")
    problem(e.post("/v1/messages/batch", {**without("to"), "recipients": [TOKEN] * 1001}), 413, "too-large", text="1001")


def test_heads_that_are_too_large(stage, e):
    def ask(lines, target="/healthz"):
        return responses(stage.raw(f"GET {target} HTTP/1.1\r\nHost: x\r\n".encode() + lines + b"\r\n"))[0]
    problem(ask(b"X: " + b"y" * 40000 + b"\r\n"), 431, "headers-too-large", text="http.max_header")
    problem(ask(b"".join(b"X-%d: y\r\n" % i for i in range(200))), 431, "headers-too-large", text="more than")
    problem(ask(b"", "/" + "a" * 9000), 414, "uri-too-long")


# -- time -----------------------------------------------------------------------------------------

def test_head_that_trickles_in(stage, e):
    with socket.create_connection(("127.0.0.1", stage.port)) as s:
        s.settimeout(20)
        start, got = time.monotonic(), b""
        for c in b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X-Slow: yes\r\n" * 1000:
            try:
                s.sendall(bytes([c]))
            except OSError:
                break
            s.settimeout(0.05)
            try:
                if piece := s.recv(65536):
                    got = piece
                    break
            except TimeoutError:
                pass
        s.settimeout(10)
        got = _rest(s, got)
        took = time.monotonic() - start
    r = responses(got)[0]
    problem(r, 408, "request-timeout", text="the request head did not arrive")
    assert r.headers["connection"] == "close" and TIMEOUT_MS / 1000 <= took < 15, took


def test_body_that_stops(stage, e):
    head = b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    problem(responses(stage.raw(head))[0], 408, "request-timeout", text="the request body did not arrive")


def test_silent_connections_are_closed(stage, e):
    assert stage.raw(b"") == b""
    got = stage.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert [r.status for r in responses(got)] == [200]


# -- odd but right, odd and wrong ----------------------------------------------------------------

def test_http_1_0(stage, e):
    got = stage.raw(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert responses(got)[0].status == 200 and responses(got)[0].headers["connection"] == "close"
    got = stage.raw(b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /healthz HTTP/1.0\r\n\r\n")
    assert [r.status for r in responses(got)] == [200, 200]


@pytest.mark.parametrize("data,status", [
    (b"GET /healthz HTTP/1.1\r\n\r\n", 400),                                    # no Host
    (b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    (b"GET /healthz HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    (b"GET /healthz HTTP/9.9\r\nHost: a\r\n\r\n", 505),
    (b"HELLO\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),                      # TLS on a clear port
    (b"GET /healthz\r\n\r\n", 505),                                              # HTTP/0.9
    (b"GET /healthz HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    (b"GET /healthz HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n", 400),
    (b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n", 400),
    (b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}", 400),
    (b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
    (b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
    (b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    (b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nExpect: a miracle\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", 417),
    (b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n", 405),
    (b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}", 400),
    (b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nIdempotency-Key: \r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", 400),
])
def test_not_quite_http(stage, e, data, status):
    got = responses(stage.raw(data))
    slug = {400: "bad-request", 405: "method-not-allowed", 417: "expectation-failed", 505: "http-version"}[status]
    problem(got[0], status, slug)
    assert len(got) == 1


def test_upgrade_is_ignored(stage, e):
    got = stage.raw(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
    assert [r.status for r in responses(got)] == [200]


def test_pipelined_requests_are_answered_in_order(stage, e):
    post = b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    good, bad = json.dumps(GOOD).encode(), json.dumps(without("to")).encode()
    one = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + post % (len(good), good) + post % (len(bad), bad) + b"GET /nope HTTP/1.1\r\nHost: x\r\n\r\n"
    got = responses(stage.raw(one * 30 + b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    assert [r.status for r in got] == [200, 202, 422, 404] * 30 + [200]


def test_chunked_body_in_bits(stage, e):
    body = json.dumps(GOOD).encode()
    chunks = b"".join(b"1;ext=1\r\n%c\r\n" % c for c in body) + b"0\r\nTrailer: x\r\n\r\n"
    got = responses(stage.raw(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
                              b"Connection: close\r\n\r\n" + chunks))
    assert [r.status for r in got] == [202]


def test_expect_100_continue(stage, e):
    body = json.dumps(GOOD).encode()
    with socket.create_connection(("127.0.0.1", stage.port)) as s:
        s.settimeout(10)
        s.sendall(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nConnection: close\r\n"
                  b"Content-Length: %d\r\n\r\n" % len(body))
        assert s.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        s.sendall(body)
        assert responses(_rest(s, b""))[0].status == 202
    refused = b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n"
    assert responses(stage.raw(refused))[0].status in (413, 415), "a refusal comes instead of 100"


def test_client_that_goes_away(stage, e):
    for n in range(0, 200, 7):
        data = b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n" + json.dumps(GOOD).encode()
        with socket.create_connection(("127.0.0.1", stage.port)) as s:
            s.sendall(data[:n])
    wait_for(lambda: e.metric("hermod_http_connections") <= 1, what="the connections are gone")


def test_too_many_connections(engine, redis):
    e = engine(redis=redis, settings={"http": {"max_connections": 20}, "node": {"shards": 1}})
    open_ones = [socket.create_connection(("127.0.0.1", e.port)) for _ in range(20)]
    try:
        wait_for(lambda: e.get("/healthz").status == 503, what="the twenty are counted")
        a = e.get("/healthz")
        problem(a, 503, "busy", text="(http.max_connections)")
        assert int(a.headers["Retry-After"]) >= 1
    finally:
        for s in open_ones:
            s.close()
    wait_for(lambda: e.get("/healthz").status == 200, what="room again")


# -- batches ----------------------------------------------------------------------------------------

def test_batch_with_good_and_bad_messages(e):
    a = e.post("/v1/messages/batch", [GOOD, without("to"), {**GOOD, "channel": "nope"}, GOOD, {**GOOD, "typo": 1}])
    assert a.status == 202, a.body
    r = a.json
    assert (r["accepted"], r["rejected"]) == (2, 3)
    assert [i is not None for i in r["ids"]] == [True, False, False, True, False]
    assert [(x["index"], x["status"], x["field"]) for x in r["errors"]] == [(1, 422, "to"), (2, 422, "channel"), (4, 422, "typo")]
    for id in filter(None, r["ids"]):
        e.wait_state(id, "sent")


def test_json_lines_with_bad_lines(e):
    lines = [json.dumps(GOOD), "not json", "", json.dumps(without("to")), json.dumps(GOOD) + "\r", "[1]", json.dumps({**GOOD, "campaign": "c" * 65})]
    a = e.post("/v1/messages/batch", "\n".join(lines).encode(), {"Content-Type": "application/x-ndjson"})
    assert a.status == 202, a.body
    r = a.json
    assert (r["accepted"], r["rejected"]) == (2, 4)
    assert [(x["line"], x["status"]) for x in r["errors"]] == [(2, 400), (4, 422), (6, 422), (7, 422)]
    assert all(x["detail"] for x in r["errors"]) and "line 1" not in r["errors"][0]["detail"], "lines count from the stream's beginning"


@pytest.mark.parametrize("body,kind,status,slug", [
    (b"", "application/json", 400, "bad-syntax"), (b"", "application/x-ndjson", 422, "invalid-message"), (b"[]", "application/json", 422, "invalid-message"),
    (b"\n\n", "application/x-ndjson", 422, "invalid-message"), (b"[", "application/json", 400, "bad-syntax"), (b"7", "application/json", 422, "invalid-message"),
    (b'{"messages": 1}', "application/json", 422, "invalid-message"), (b'[{"to": "x"}]', "application/json", 422, "invalid-message"),
    (b"[]", "text/csv", 415, "unsupported-media-type"), (b"\x93\x01", "application/msgpack", 400, "bad-syntax")])
def test_batches_without_one_good_message(e, body, kind, status, slug):
    problem(e.post("/v1/messages/batch", body, {"Content-Type": kind}), status, slug)


def test_batch_as_object_and_as_one_message_with_recipients(e):
    a = e.post("/v1/messages/batch", {"messages": [GOOD]})
    assert a.status == 202 and len(a.json["ids"]) == 1
    a = e.post("/v1/messages/batch", {**without("to"), "recipients": [TOKEN, {"addr": "2" * 64, "data": {"n": 1}}, {"user": "u1", "addr": "3" * 64}]})
    assert a.status == 202 and len(a.json["ids"]) == 3
    problem(e.post("/v1/messages/batch", {**without("to"), "recipients": [TOKEN, {"adr": "x"}]}), 422, "invalid-message")


# -- idempotency --------------------------------------------------------------------------------

def test_idempotency_key_replays_the_answer(e):
    h = {"Idempotency-Key": "order-17"}
    first, again = e.post("/v1/messages", GOOD, h), e.post("/v1/messages", GOOD, h)
    assert first.status == again.status == 202 and first.body == again.body
    assert first.headers["Idempotent-Replayed"] is None and again.headers["Idempotent-Replayed"] == "true"
    problem(e.post("/v1/messages", {**GOOD, "campaign": "other"}, h), 422, "idempotency-key-reused", "Idempotency-Key", "different body")
    batch = [GOOD, without("to")]
    one, two = e.post("/v1/messages/batch", batch, h), e.post("/v1/messages/batch", batch, h)
    assert one.status == 202 and one.body == two.body and two.headers["Idempotent-Replayed"] == "true"
    problem(e.post("/v1/messages", {**GOOD, "typo": 1}, {"Idempotency-Key": "fails"}), 422, "invalid-message")
    assert e.post("/v1/messages", GOOD, {"Idempotency-Key": "fails"}).status == 202, "a refused request does not use up its key"


@pytest.mark.parametrize("key", ["x" * 256, "\x01", '""'])
def test_bad_idempotency_keys(e, key):
    a = e.post("/v1/messages", GOOD, {"Idempotency-Key": key})
    assert a.status == 400 and (a.json.get("field") in ("Idempotency-Key", None)), a.body


def test_the_same_key_at_once_counts_once(stage, e):
    """The script is atomic, so there is no "in progress": all twenty get the one answer."""
    before = stage.sink.ledger()["accepted"]
    message = {**GOOD, "to": "7" * 64, "campaign": "idem-race"}
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: e.post("/v1/messages", message, {"Idempotency-Key": "race"}), range(20)))
    assert {a.status for a in answers} == {202} and len({a.json["id"] for a in answers}) == 1
    e.wait_state(answers[0].json["id"], "sent")
    assert e.report("idem-race")["accepted"] == 1 and stage.sink.ledger()["accepted"] == before + 1


# -- helpers ------------------------------------------------------------------------------------

def _rest(s, got):
    try:
        while piece := s.recv(65536):
            got += piece
    except ConnectionResetError:
        pass
    return got


def _all(s, data):
    """Sends as much as the server takes and returns what it says."""
    s.settimeout(5)
    try:
        s.sendall(data)
    except OSError:
        pass
    return _rest(s, b"")


def _raw(e, data):
    with socket.create_connection(("127.0.0.1", e.port)) as s:
        s.settimeout(10)
        return _all(s, data)
