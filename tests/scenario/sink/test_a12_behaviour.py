"""Knobs, faults and scripted answers."""
import json
import socket
import time

import h2.errors
import h2.events
import h2.settings
import httpx
import pytest
from h2raw import H2, Closed
from sink_client import ControlError, Sink
from test_a10_http import raw

STREAMS = h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS


def echo(c, n=1, **more):
    return c.get("/echo", [("x-hermod-id", f"m-{n}")], **more)


# -- scripts ------------------------------------------------------------------------

def test_script_in_order_then_normal(sink):
    sink.script({"profile": "echo", "path": "/echo"}, [
        {"status": 429, "headers": {"Retry-After": "2", "X-Note": "工单"}, "body": "slow down", "repeat": 2},
        {"status": 503, "json": {"error": {"code": 7, "ok": False, "list": [1, "2", None, 1.5]}}},
        {"status": 202, "json": "🎈"},
        {"natural": True},
    ])
    assert sink.scripts()[0]["left"] == 5
    with H2(sink) as c:
        for _ in range(2):
            status, headers, body = echo(c)
            assert (status, headers["retry-after"], body) == (429, "2", b"slow down")
        status, headers, body = echo(c)
        assert status == 503 and headers["content-type"].startswith("application/json")
        assert body == b'{"error":{"code":7,"ok":false,"list":[1,"2",null,1.5]}}'
        assert echo(c)[0::2] == (202, '"🎈"'.encode())
        assert echo(c)[0] == 200
        assert sink.scripts() == []
        assert echo(c)[2] == b"ok\n"
    assert sink.accepted("echo", "m-1") == 3, "202 and the two proper answers"


def test_script_with_ids_of_their_own(sink):
    sink.script({"path": "/echo"}, [{"status": 200, "json": {"id": "{unique}^0", "other": "{unique}"}, "repeat": 3}, {"status": 200, "body": "{unique"}])
    with H2(sink) as c:
        got = [echo(c)[2] for _ in range(4)]
    assert got[3] == b"{unique"
    ids = [v.removesuffix("^0") for g in got[:3] for v in json.loads(g).values()]
    assert len(set(ids)) == 6 and all(i.isdigit() for i in ids)


def test_script_matches_token_path_and_id(sink):
    for match in ({"token": "/a/"}, {"path": "/b?x="}, {"id": "m-7"}, {"profile": "apns"}):
        sink.script(match, [{"status": 418, "body": str(match)}])
    with H2(sink) as c:
        assert c.get("/c")[0] == 200
        assert c.get("/b?x=1")[0] == 418
        assert c.get("/a/1")[0] == 418
        assert echo(c, 7)[0] == 418
    assert [s["profile"] for s in sink.scripts()] == ["apns"]


def test_script_default_body_is_the_providers_own(sink, keys):
    sink.script({"profile": "apns"}, [{"status": 429}, {"status": 410}, {"status": 200}])
    h = [("authorization", "bearer " + keys.apns_jwt()), ("apns-topic", "t")]
    with H2(sink) as c:
        assert c.get("/3/device/" + "ab" * 32, h, b"{}")[2] == b'{"reason":"TooManyRequests"}'
        assert b'"reason":"Unregistered","timestamp":' in c.get("/3/device/" + "ab" * 32, h, b"{}")[2]
        status, headers, _ = c.get("/3/device/" + "ab" * 32, h, b"{}")
        assert status == 200 and headers["apns-id"]


@pytest.mark.parametrize("doc, why", [
    ({"replies": []}, "at least one"),
    ({"match": {"colour": "red"}, "replies": [{"status": 200}]}, "colour"),
    ({"match": {"profile": "apnz"}, "replies": [{"status": 200}]}, "apnz"),
    ({"replies": [{"status": 9}]}, "9"),
    ({"replies": [{"fault": "explode"}]}, "explode"),
    ({"replies": [{"stats": 200}]}, "status"),
    ({"replies": [{"body": "a", "json": {}}]}, "not both"),
    ("{not json", "body"),
])
def test_bad_scripts_are_refused_with_a_reason(sink, doc, why):
    with pytest.raises(ControlError) as e:
        sink.call("POST", "/control/script", doc)
    assert e.value.status == 400 and why in e.value.text


# -- latency --------------------------------------------------------------------------

def test_fixed_latency_delays_without_blocking(sink):
    sink.knobs({"echo": {"latency": {"kind": "fixed", "ms": 300}}})
    with H2(sink) as c:
        t = time.monotonic()
        ids = [c.send("/echo") for _ in range(20)]
        assert all(c.answer(i)[0] == 200 for i in ids)
        took = time.monotonic() - t
    assert 0.29 < took < 5
    assert {r.raw["delay_ms"] for r in sink.requests()} == {300}


@pytest.mark.parametrize("latency, low, high, mean", [
    ({"kind": "uniform", "min_ms": 2, "max_ms": 10}, 2, 10, 6),
    ({"kind": "exponential", "mean_ms": 10, "cap_ms": 60}, 0, 60, 10),
    ({"kind": "lognormal", "median_ms": 10, "sigma": 0.5, "cap_ms": 100}, 0, 100, 11.3),
])
def test_latency_distributions(sink, latency, low, high, mean):
    sink.knobs({"echo": {"latency": latency}})
    with H2(sink) as c:
        for _ in range(10):
            ids = [c.send("/echo") for _ in range(100)]
            for i in ids:
                c.wait(h2.events.StreamEnded, i)
    got = [r.raw["delay_ms"] for r in sink.requests()]
    assert len(got) == 1000 and low <= min(got) and max(got) <= high
    assert abs(sum(got) / 1000 - mean) < mean * 0.2 and len(set(got)) > 5


def test_same_seed_same_run():
    runs = []
    for _ in range(2):
        with Sink("--seed", 42, tls=False) as sink, httpx.Client() as c:
            sink.knobs({"*": {"mix": [{"percent": 30, "status": 503}, {"percent": 20, "status": 429, "retry_after": 3}]}})
            runs.append([c.get(sink.url).status_code for _ in range(60)])
    assert runs[0] == runs[1] and set(runs[0]) == {200, 503, 429}


# -- error mix and rate limit -----------------------------------------------------------

def test_error_mix(sink):
    sink.knobs({"echo": {"mix": [{"percent": 25, "status": 503}, {"percent": 25, "status": 429, "retry_after": 7},
                                 {"percent": 25, "fault": "refused"}]}})
    refused = 0
    with H2(sink) as c:
        for n in range(400):
            sid = c.send("/echo", [("x-hermod-id", f"m-{n}")])
            got = next(e for e in iter_until(c, sid))
            refused += isinstance(got, h2.events.StreamReset)
            if isinstance(got, h2.events.ResponseReceived) and dict(got.headers)[":status"] == "429":
                assert dict(got.headers)["retry-after"] == "7"
    s = sink.ledger("echo")["status"]
    assert sum(s.values()) == 400 and s["none"] == refused
    assert all(50 < s[k] < 150 for k in ("200", "503", "429", "none"))
    assert sink.ledger()["unique"] == s["200"]


def iter_until(c, sid):
    while True:
        for e in c.events:
            if getattr(e, "stream_id", None) == sid and isinstance(e, (h2.events.ResponseReceived, h2.events.StreamReset)):
                yield e
        c.pump()


def test_lost_answers_count_as_accepted_when_told(sink):
    sink.knobs({"echo": {"mix": [{"percent": 100, "fault": "internal", "accept": True}]}})
    with H2(sink) as c:
        sid = c.send("/echo", [("x-hermod-id", "lost")])
        assert c.wait(h2.events.StreamReset, sid).error_code == h2.errors.ErrorCodes.INTERNAL_ERROR
    assert sink.accepted("echo", "lost") == 1
    sink.script({}, [{"fault": "close", "accept": True}, {"fault": "close"}])
    for _ in range(2):
        with H2(sink) as c:
            c.send("/echo", [("x-hermod-id", "lost-2")])
            c.wait_closed()
    assert sink.accepted("echo", "lost-2") == 1


def test_rate_limit(sink):
    sink.knobs({"echo": {"rate_limit": {"per_second": 1, "burst": 5, "retry_after": 9}}})
    with H2(sink) as c:
        answers = [echo(c, n) for n in range(8)]
    assert [a[0] for a in answers][:5] == [200] * 5 and 429 in [a[0] for a in answers]
    assert next(a for a in answers if a[0] == 429)[1]["retry-after"] == "9"
    sink.knobs({"echo": {"rate_limit": None}})
    with H2(sink) as c:
        assert [echo(c, n)[0] for n in range(10)] == [200] * 10


def test_star_is_the_default_of_all(sink):
    sink.knobs({"*": {"mix": [{"percent": 100, "status": 500}]}, "webhook": {"mix": []}})
    with H2(sink) as c:
        assert c.get("/echo")[0] == 500
        assert c.get("/hook/x")[0] == 401
        assert c.get("/3/device/" + "ab" * 32)[2] == b'{"reason":"InternalServerError"}'
    sink.knobs({"*": None})
    with H2(sink) as c:
        assert c.get("/echo")[0] == 200


@pytest.mark.parametrize("profiles, connection, why", [
    ({"apnz": {}}, None, "no profile 'apnz'"),
    ({"echo": {"latencie": 5}}, None, "latency"),
    ({"echo": {"latency": {"kind": "uniform", "min_ms": 1}}}, None, "max_ms"),
    ({"echo": {"latency": {"kind": "normal"}}}, None, "unknown latency kind"),
    ({"echo": {"mix": [{"percent": 70, "status": 500}, {"percent": 70, "status": 500}]}}, None, "140"),
    ({"echo": {"mix": [{"percent": 5}]}}, None, "status or fault"),
    ({"echo": {"fault": "explode"}}, None, "unknown fault 'explode'"),
    ({"apns": {"special": {"aa": "NoSuchReason"}}}, None, "NoSuchReason"),
    (None, {"max_stream": 5}, "max_streams"),
    (None, {"max_frame": 5}, "5"),
])
def test_bad_knobs_change_nothing(sink, profiles, connection, why):
    before = sink.get("/control/knobs")
    with pytest.raises(ControlError) as e:
        sink.knobs(profiles, connection)
    assert why in e.value.text
    assert sink.get("/control/knobs") == before


# -- faults on a stream ---------------------------------------------------------------------

@pytest.mark.parametrize("fault, code", [("refused", "REFUSED_STREAM"), ("internal", "INTERNAL_ERROR"), ("cancel", "CANCEL")])
def test_stream_resets(sink, fault, code):
    sink.script({"path": "/bad"}, [{"fault": fault}])
    with H2(sink) as c:
        bad, good = c.send("/bad", [("x-hermod-id", "b")]), c.send("/echo", [("x-hermod-id", "g")])
        assert c.wait(h2.events.StreamReset, bad).error_code == h2.errors.ErrorCodes[code]
        assert c.answer(good)[0] == 200
    assert sink.dump() == {("echo", "g"): 1}


def test_stall_never_answers_and_frees_on_reset(sink):
    sink.knobs({"echo": {"fault": "stall"}})
    with H2(sink) as c:
        sid = c.send("/echo")
        sink.knobs({"echo": {"fault": None}})
        assert c.get("/echo")[0] == 200
        assert not [e for e in c.events if getattr(e, "stream_id", None) == sid]
        c.conn.reset_stream(sid)
        c.flush()
        assert c.get("/echo")[0] == 200


@pytest.mark.parametrize("fault", ["close", "reset", "half_open", "garbage", "bad_frame", "truncate"])
def test_connection_faults(sink, fault):
    sink.script({}, [{"fault": fault}])
    c = H2(sink)
    sid = c.send("/echo")
    if fault == "half_open":
        c.sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            while True:
                c.pump()
    else:
        with pytest.raises((Closed, OSError, h2.exceptions.ProtocolError)):
            while True:
                c.pump()
    assert not [e for e in c.events if isinstance(e, h2.events.StreamEnded)]
    assert bool([e for e in c.events if isinstance(e, h2.events.DataReceived)]) == (fault == "truncate")
    with H2(sink) as d:
        assert d.get("/echo")[0] == 200
    c.close()


@pytest.mark.parametrize("fault", ["close", "reset", "garbage", "truncate", "refused"])
def test_connection_faults_h1(sink, fault):
    sink.script({}, [{"fault": fault}])
    with socket.create_connection(("127.0.0.1", sink.listen), timeout=30) as s:
        s.sendall(b"GET /echo HTTP/1.1\r\nhost: x\r\n\r\n")
        out = b""
        try:
            while part := s.recv(4096):
                out += part
        except ConnectionResetError:
            assert fault == "reset"
    if fault == "truncate":
        assert b"200 OK" in out and not out.endswith(b"ok\n")
    elif fault == "garbage":
        assert len(out) == 512
    else:
        assert out == b""
    assert raw(sink, b"GET /echo HTTP/1.0\r\n\r\n").endswith(b"ok\n")


def test_slow_body(sink):
    sink.knobs({"echo": {"fault": "slow"}}, {"trickle_ms": 20})
    t = time.monotonic()
    with H2(sink) as c:
        ids = [c.send("/echo") for _ in range(3)]
        assert all(c.answer(i)[2] == b"ok\n" for i in ids)
        assert len([e for e in c.events if isinstance(e, h2.events.DataReceived)]) == 9
    assert time.monotonic() - t > 0.035
    assert raw(sink, b"GET /echo HTTP/1.0\r\n\r\n", reply_until=b"ok\n")


def test_huge_body_obeys_flow_control(sink):
    sink.knobs({"echo": {"fault": "huge"}}, {"huge_bytes": 3_000_000})
    with H2(sink) as c:
        assert len(c.get("/echo")[2]) == 3_000_000
    assert len(raw(sink, b"GET /echo HTTP/1.0\r\n\r\n")) > 3_000_000


# -- connection behaviour --------------------------------------------------------------------

def test_goaway_after_n_requests(sink):
    sink.knobs(None, {"goaway_after": 3, "goaway_debug": '{"reason":"Shutdown"}'})
    with H2(sink) as c:
        ids = []
        block = []
        c.sock, real = type("Tap", (), {"sendall": staticmethod(block.append)})(), c.sock
        for n in range(5): # five requests in one write: the last two come too late
            ids.append(c.send("/echo", [("x-hermod-id", f"m-{n}")]))
        c.sock = real
        c.sock.sendall(b"".join(block))
        e = c.wait(h2.events.ConnectionTerminated)
        assert (e.last_stream_id, e.additional_data) == (ids[2], b'{"reason":"Shutdown"}')
        c.wait_closed()
        ended = {x.stream_id for x in c.events if isinstance(x, h2.events.StreamEnded)}
        assert ended == set(ids[:3])
    assert sink.dump() == {("echo", f"m-{n}"): 1 for n in range(3)}


def test_goaway_now_lets_requests_finish(sink):
    sink.knobs({"echo": {"latency": 100}})
    with H2(sink) as c:
        c.get("/status/200")
        sid = c.send("/echo", [("x-hermod-id", "x")])
        while sink.ledger()["unique"] == 0:
            pass
        assert sink.action("goaway") >= 1
        e = c.wait(h2.events.ConnectionTerminated)
        assert e.last_stream_id == sid
        assert c.answer(sid)[0] == 200
        c.wait_closed()


def test_goaway_fault_refuses_only_its_request(sink):
    sink.script({"id": "m-2"}, [{"fault": "goaway_refuse"}])
    with H2(sink) as c:
        assert echo(c, 1)[0] == 200
        sid = c.send("/echo", [("x-hermod-id", "m-2")])
        e = c.wait(h2.events.ConnectionTerminated)
        assert e.last_stream_id == sid - 2
        c.wait_closed()
    assert sink.dump() == {("echo", "m-1"): 1}


def test_max_streams_at_start_and_at_run_time(sink):
    sink.knobs(None, {"max_streams": 7})
    with H2(sink) as c:
        c.wait(h2.events.RemoteSettingsChanged)
        assert c.conn.remote_settings.max_concurrent_streams == 7
        c.events.clear()
        sink.knobs(None, {"max_streams": 3})
        e = c.wait(h2.events.RemoteSettingsChanged)
        assert e.changed_settings[STREAMS].new_value == 3


def test_first_streams_rise_once_the_sender_is_known(sink, keys):
    sink.knobs(None, {"first_streams": 1, "max_streams": 500})
    good = [("authorization", "bearer " + keys.apns_jwt()), ("apns-topic", "t")]
    with H2(sink) as c:
        c.wait(h2.events.RemoteSettingsChanged)
        assert c.conn.remote_settings.max_concurrent_streams == 1
        assert c.get("/3/device/" + "ab" * 32, [], b"{}")[0] == 403
        assert c.conn.remote_settings.max_concurrent_streams == 1
        assert c.get("/3/device/" + "ab" * 32, good, b"{}")[0] == 200
        while c.conn.remote_settings.max_concurrent_streams == 1:
            c.pump()
        assert c.conn.remote_settings.max_concurrent_streams == 500


def test_streams_beyond_the_limit(sink):
    sink.knobs({"echo": {"fault": "stall"}}, {"max_streams": 2})
    with H2(sink) as c: # it has not read the settings yet: the excess is refused, and safe to send again
        ids = [c.send("/echo", [("x-hermod-id", str(n))]) for n in range(4)]
        for sid in ids[2:]:
            assert c.wait(h2.events.StreamReset, sid).error_code == h2.errors.ErrorCodes.REFUSED_STREAM
        c.wait(h2.events.RemoteSettingsChanged)
        c.conn.remote_settings[STREAMS] = 100 # from here it does not obey
        c.conn.remote_settings.acknowledge()
        c.send("/echo")
        assert c.wait(h2.events.ConnectionTerminated).error_code == h2.errors.ErrorCodes.PROTOCOL_ERROR
    assert sink.ledger()["requests"] == 2


def test_small_windows(sink):
    sink.knobs(None, {"stream_window": 100, "window": 65535})
    with H2(sink) as c:
        c.wait(h2.events.RemoteSettingsChanged)
        assert c.conn.remote_settings.initial_window_size == 100
        assert c.get("/echo", [], b"z" * 5000)[0] == 200
    assert sink.requests()[-1].body == b"z" * 5000


def test_close_after(sink):
    sink.knobs(None, {"close_after": 2})
    with H2(sink) as c:
        assert c.get("/echo")[0] == 200 and c.get("/echo")[0] == 200
        c.wait_closed()
    sink.knobs(None, {"close_after": 0, "close_after_bytes": 20000})
    with H2(sink) as c:
        with pytest.raises((Closed, ConnectionError, OSError)):
            c.get("/echo", body=b"x" * 200_000)
    assert sink.ledger()["requests"] == 2, "the second request was cut in its body"


@pytest.mark.parametrize("do", ["close", "reset", "garbage"])
def test_actions_on_open_connections(sink, do):
    a, b = H2(sink, tls=False), H2(sink, tls=False)
    assert a.get("/echo")[0] == b.get("/echo")[0] == 200
    assert sink.action(do, limit=1) == 1
    alive = 0
    for c in (a, b):
        try:
            alive += c.get("/echo")[0] == 200
        except (Closed, ConnectionError, h2.exceptions.ProtocolError):
            pass
    assert alive == 1


def test_scenario_file(tmp_path, keys):
    f = tmp_path / "s.yaml"
    f.write_text("""
profiles:
  "*": {latency: {kind: uniform, min_ms: 1, max_ms: 3}}
  echo:
    mix:
      - {percent: 100, status: 503, retry_after: 4}
connection: {max_streams: 11}
scripts:
  - match: {path: /once}
    replies: [{status: 201, body: "made\\n"}]
""")
    with Sink("--scenario", f, tls=False) as sink:
        for _ in range(2):
            assert httpx.get(sink.url + "/echo").headers["retry-after"] == "4"
            sink.knobs({"echo": {"mix": None}})
            assert httpx.get(sink.url + "/echo").status_code == 200
            sink.reset()
        assert sink.get("/control/knobs")["connection"]["max_streams"] == 11
        assert sink.scripts() == [], "reset forgets scripts"
