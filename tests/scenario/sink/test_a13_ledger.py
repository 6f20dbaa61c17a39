"""The ledger is exact; the control API and the command line are kind."""
import collections
import json
import pathlib
import random
import subprocess
import uuid

import httpx
import pytest
from h2raw import H2
from sink_client import ControlError, Sink, find_binary


def run(*args):
    p = subprocess.run([find_binary(), *map(str, args)], capture_output=True, text=True, timeout=60)
    return p.returncode, p.stdout, p.stderr


def test_ledger_is_exact_with_duplicates(sink):
    rng = random.Random(7)
    kinds = [lambda n: str(uuid.UUID(int=n * 0x9e3779b97f4a7c15f39cc0605cedc835 % 2**128)),
             lambda n: f"id-{n}", lambda n: "x" * (n % 300) + str(n), lambda n: f'"quoted\\{n}"',
             lambda n: "01ARZ3NDEKTSV4RRFFQ6" + f"{n:06d}"]
    want = collections.Counter()
    with H2(sink) as c:
        for _ in range(3000):
            id_ = rng.choice(kinds)(rng.randrange(150))
            want[("echo", id_)] += 1
            sid = c.send("/echo", [("x-hermod-id", id_)])
            if sid % 199 == 0:
                c.answer(sid)
        c.get("/status/404", [("x-hermod-id", "refused")])
    assert sink.dump() == want
    t = sink.ledger()
    assert t["accepted"] == 3000 and t["unique"] == len(want) and t["duplicates"] == 3000 - len(want)
    assert t["requests"] == 3001 and t["status"] == {"200": 3000, "404": 1}
    assert sink.dump(min=2) == {k: v for k, v in want.items() if v >= 2}
    for (_, id_), n in list(want.items())[:20]:
        assert sink.accepted("echo", id_) == n
    assert sink.accepted("echo", "never") == 0 and sink.accepted("apns", "id-1") == 0


def test_lean_ledger_counts_the_same():
    with Sink("--lean-ledger", tls=False) as sink, httpx.Client() as c:
        u = str(uuid.uuid4())
        for id_ in ("a", "b", "a", u, u, u.upper()):
            c.get(sink.url, headers={"x-hermod-id": id_})
        assert (sink.ledger()["unique"], sink.ledger()["duplicates"]) == (4, 2)
        assert sink.accepted("echo", "a") == 2 and sink.accepted("echo", u) == 2
        ids = {i for _, i in sink.dump()}
        assert u in ids and sum(i.startswith("hash:") for i in ids) == 3


def test_ledger_grows_past_many_tables(sink):
    """200,000 ids by WeCom: 1000 recipients a call."""
    token = httpx.get(sink.url + "/cgi-bin/gettoken?corpid=ww1&corpsecret=s3cret").json()["access_token"]
    with httpx.Client() as c:
        for k in list(range(200)) + [5]:
            users = "|".join(f"u{k * 1000 + i}" for i in range(1000))
            r = c.post(f"{sink.url}/cgi-bin/message/send?access_token={token}",
                       json={"touser": users, "msgtype": "text", "agentid": 1, "text": {"content": "x"}})
            assert r.json()["errcode"] == 0
    t = sink.ledger("wecom")
    assert (t["accepted"], t["unique"], t["duplicates"]) == (201_000, 200_000, 1000)
    dump = sink.dump("wecom")
    assert len(dump) == 200_000 and dump[("wecom", "u5999")] == 2 and dump[("wecom", "u199999")] == 1
    sink.reset()
    assert sink.ledger()["unique"] == 0 and sink.dump() == {}


def test_ledger_file_and_totals_at_sigterm(tmp_path):
    f = tmp_path / "ledger.jsonl"
    sink = Sink("--ledger-file", f, tls=False)
    with httpx.Client() as c:
        for id_ in ("a", "b", "a"):
            c.get(sink.url, headers={"x-hermod-id": id_})
    totals = sink.stop()
    assert totals["unique"] == 2 and totals["duplicates"] == 1
    lines = [json.loads(x) for x in f.read_text().splitlines()]
    assert {(x["id"], x["accepted"]) for x in lines} == {("a", 2), ("b", 1)}
    assert all(x["first_ms"] <= x["last_ms"] for x in lines)


def test_requests_exactly_as_received(sink):
    with httpx.Client() as c:
        c.put(sink.url + "/p%20q?a=b", content=b"\x00\xff\x80", headers={"X-Mixed": "Va Lue", "content-type": "x/y"})
        c.post(sink.url + "/text", content="汉字\n\"q\"".encode())
    binary, text = sink.requests()
    assert (binary.method, binary.path, binary.body, binary.headers["x-mixed"]) == ("PUT", "/p%20q?a=b", b"\x00\xff\x80", "Va Lue")
    assert text.body.decode() == "汉字\n\"q\"" and text.number == 2
    assert [r.number for r in sink.requests(after=1)] == [2]
    assert [r.path for r in sink.requests(path="/te")] == ["/text"]
    assert [r.number for r in sink.requests(n=1)] == [2]
    assert sink.requests(profile="apns") == []


def test_request_ring_keeps_the_newest():
    with Sink("--keep-body", "1KiB", keep_requests=5, tls=False) as sink, httpx.Client() as c:
        for n in range(12):
            c.post(f"{sink.url}/r{n}", content=b"z" * 5000)
        got = sink.requests()
        assert [r.path for r in got] == [f"/r{n}" for n in range(7, 12)]
        assert len(got[0].body) == 1024 and got[0].raw["body_bytes"] == 5000
    with Sink(keep_requests=0, tls=False) as sink, pytest.raises(ControlError) as e:
        sink.requests()
    assert e.value.status == 409


@pytest.mark.parametrize("method, path, body, status", [
    ("GET", "/nowhere", None, 404),
    ("PUT", "/control/ledger", None, 405),
    ("GET", "/control/requests?n=many", None, 400),
    ("GET", "/control/ledger/dump?profile=nope", None, 400),
    ("GET", "/control/ledger/id", None, 400),
    ("POST", "/control/action", {"do": "dance"}, 400),
    ("POST", "/control/tokens", {"profile": "nope"}, 400),
    ("POST", "/control/clock", {"advance_ms": "soon"}, 400),
    ("POST", "/control/knobs", "[1", 400),
    ("POST", "/control/knobs", "x" * (5 << 20), 413),
])
def test_control_errors_say_why(sink, method, path, body, status):
    with pytest.raises(ControlError) as e:
        sink.call(method, path, body)
    assert e.value.status == status and len(e.value.text) > 10
    assert sink.get("/control/ready")["pid"] == sink.pid


def test_control_lists_itself_and_readme_knows_it(sink):
    readme = (pathlib.Path(__file__).resolve().parents[3] / "bench" / "sink" / "README.md").read_text()
    for row in sink.get("/control"):
        assert f"`{row['method']} {row['path']}`" in readme, row
    for p in sink.get("/control/profiles"):
        for s in p["special"]:
            assert s["prefix"] in readme, s
    rc, out, _ = run("--help")
    options = [line.split()[0] for line in out.splitlines() if line.startswith("  --")]
    assert len(options) > 25
    for option in options:
        assert option in ("--help", "--version") or f"`{option}" in readme, option


@pytest.mark.parametrize("args, why", [
    ([], "--listen"),
    (["--liste", "x"], "unknown option '--liste'"),
    (["extra"], "unexpected argument"),
    (["--listen"], "needs a value"),
    (["--listen", "127.0.0.1:0", "--threads", "0"], "from 1 to 64"),
    (["--listen", "127.0.0.1:0", "--idle-timeout", "5"], "500ms"),
    (["--listen", "127.0.0.1:0", "--max-body", "big"], "16MiB"),
    (["--listen", "127.0.0.1:0", "--cert", "x"], "go together"),
    (["--listen", "127.0.0.1:0", "--apns-key", "/nonexistent"], "/nonexistent"),
    (["--listen", "127.0.0.1:0", "--webhook-secret", "abc"], "whsec_"),
    (["--listen", "127.0.0.1:0", "--wecom-corp", "abc"], "ID:SECRET"),
    (["--listen=127.0.0.1:0", "--quiet=yes"], "takes no value"),
])
def test_bad_flags_one_sentence_exit_2(args, why):
    rc, out, err = run(*args)
    assert rc == 2 and why in err and err.count("\n") == 1 and err.startswith("hermod-sink: ") and out == ""


def test_environment_trouble_one_sentence_exit_1(sink, tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text("profiles:\n  echo:\n    latncy: 5\n")
    for args, why in [(["--listen", f"127.0.0.1:{sink.listen}"], "in use"),
                      (["--listen", "example.org:80"], "numeric address"),
                      (["--listen", "127.0.0.1:0", "--scenario", bad], "bad.yaml:3:5"),
                      (["--listen", "127.0.0.1:0", "--scenario", tmp_path / "none.yaml"], "none.yaml"),
                      (["--tls-listen", "127.0.0.1:0", "--cert-dir", bad], "not a folder"),
                      (["--tls-listen", "127.0.0.1:0", "--cert", bad, "--key", bad], "--cert"),
                      (["--tls-listen", "127.0.0.1:0", "--san", "a b"], "--san"),
                      (["--listen", "127.0.0.1:0", "--ready-file", tmp_path / "no" / "f"], "cannot write")]:
        rc, out, err = run(*args)
        assert rc == 1 and why in err and err.count("\n") == 1, (args, err)


def test_help_and_version():
    rc, out, err = run("--help")
    assert rc == 0 and err == "" and "--tls-listen" in out and "wecom" in out
    assert max(map(len, out.splitlines())) <= 100
    assert run("--version")[1].startswith("hermod-sink ")


def test_ca_survives_a_restart_and_ready_file(tmp_path):
    certs, ready = tmp_path / "c", tmp_path / "ready.json"
    pems = []
    for _ in range(2):
        sink = Sink("--tls-listen", "127.0.0.1:0", "--cert-dir", certs, "--san", "push.test", "--san", "10.0.0.7",
                    "--ready-file", ready, tls=False, clear=False)
        assert json.loads(ready.read_text()) == sink.ports
        pems.append(((certs / "ca.pem").read_bytes(), (certs / "server.pem").read_bytes()))
        with H2(sink) as c:
            assert c.get("/echo")[0] == 200
        sink.stop()
    assert pems[0][0] == pems[1][0] and pems[0][1] != pems[1][1]
    assert (certs / "server.key").stat().st_mode & 0o777 == 0o600


def test_temporary_certificates_are_removed():
    sink = Sink("--tls-listen", "127.0.0.1:0", tls=False, clear=False)
    ca = pathlib.Path(sink.ca)
    assert ca.exists()
    sink.stop()
    assert not ca.parent.exists()
