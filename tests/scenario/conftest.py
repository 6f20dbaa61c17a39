"""The actors of the scenarios: real processes with few verbs.

redis   a redis-server of the test's own (unix socket and TCP), empty
sink    hermod-sink, the provider simulator (sink_client.Sink)
engine  a factory: engine(channels=..., settings=...) starts `hermod run` and waits until it is ready
hermod  the command line: hermod("check", "--config", f) -> result
"""
import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from http.client import RemoteDisconnected
from pathlib import Path

import msgpack
import pytest
import redis as redis_py

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("HERMOD_BUILD", ROOT / "build" / "release"))
sys.path.insert(0, str(Path(__file__).parent))

os.environ.setdefault("HERMOD_SINK", str(BUILD / "hermod-sink"))
from sink_client import Sink, end_with_parent  # noqa: E402

SLOW = 8 if any(s in BUILD.name for s in ("asan", "tsan")) else 1  # time limits stretch under sanitizers
FINAL = ("sent", "failed", "suppressed", "capped", "expired", "cancelled")


def pytest_configure(config):
    config.addinivalue_line("markers", "alone: measures times or shares, or fills the machine: nothing else runs beside it")
    config.addinivalue_line("markers", "threads: crosses threads, also run under TSan")


def wait_for(condition, seconds=15, what="the condition"):
    """Polls until condition() is true and returns its value; fails with `what` at the limit."""
    end = time.monotonic() + seconds * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            pytest.fail(f"{what}: not within {seconds * SLOW} s")
        time.sleep(0.02)


def free_port(beside=0):
    """A port nobody listens on; with `beside`, the one that much higher is free too (the bus of a Redis Cluster node)."""
    while True:
        with socket.socket() as s, socket.socket() as t:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
            if not beside:
                return port
            try:
                t.bind(("127.0.0.1", port + beside))
                return port
            except (OSError, OverflowError):  # taken, or beyond 65535
                continue


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


def http(method, url, body=None, headers=None, timeout=10):
    """One HTTP call; any status is an answer."""
    headers = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        headers.setdefault("Content-Type", "application/json")
    req = urllib.request.Request(url, data=body, method=method, headers=headers)
    try:
        with urllib.request.urlopen(req, timeout=timeout * SLOW) as r:
            return Answer(r.status, r.headers, r.read())
    except urllib.error.HTTPError as e:
        return Answer(e.code, e.headers, e.read())


class Process:
    """A child with its output in a file; always ended with the test."""

    def __init__(self, argv, log, env=None, cwd=None):
        self.log_path = Path(log)
        self.log_file = open(log, "ab")
        self.argv = [str(a) for a in argv]
        self.p = subprocess.Popen(self.argv, stdout=self.log_file, stderr=subprocess.STDOUT, env=env, cwd=cwd,
                                  preexec_fn=end_with_parent)

    @property
    def pid(self):
        return self.p.pid

    def log(self):
        return self.log_path.read_text(errors="replace")

    def alive(self):
        return self.p.poll() is None

    def kill9(self):
        self.p.send_signal(signal.SIGKILL)
        self.p.wait(30)

    def stop(self, seconds=40):
        """SIGTERM; returns the exit code."""
        if self.alive():
            self.p.terminate()
            try:
                self.p.wait(seconds * SLOW)
            except subprocess.TimeoutExpired:
                self.p.kill()
                self.p.wait(30)
                raise AssertionError(f"{self.argv[0]} did not end in {seconds * SLOW} s:\n{self.log()[-4000:]}")
        return self.p.returncode


class Redis(Process):
    def __init__(self, folder, *args, port=None):
        folder.mkdir(parents=True, exist_ok=True)
        self.dir, self.port, self.args = folder, port or free_port(10000 if "--cluster-enabled" in args else 0), args
        self.socket = folder / "r.sock"
        self._start()

    def _start(self):
        super().__init__(
            ["redis-server", "--port", self.port, "--bind", "127.0.0.1", "--unixsocket", self.socket, "--dir", self.dir,
             "--save", "", "--appendonly", "yes", "--appendfsync", "everysec", *self.args], self.dir / "redis.log")
        self.client = redis_py.Redis(unix_socket_path=str(self.socket))
        wait_for(self._pings, what="redis-server answers")

    def _pings(self):
        try:
            return self.client.ping()
        except redis_py.AuthenticationError:
            return True  # it answers
        except (redis_py.ConnectionError, redis_py.BusyLoadingError):
            return not self.alive() and pytest.fail(self.log())

    def restart(self):
        self._start()

    @property
    def url(self):
        return f"unix://{self.socket}"


class Engine(Process):
    def __init__(self, folder, config, port, env=None, extra=(), wait=True):
        self.dir, self.config_file, self.port, self.env, self.extra = Path(folder), config, port, env or {}, extra
        self.key = self.sink = None
        self.start(wait)

    def start(self, wait=True):
        env = dict(os.environ, **self.env)
        super().__init__([BUILD / "hermod", "run", "--config", self.config_file, *self.extra], self.dir / "engine.log", env=env,
                         cwd=self.dir)
        if wait:
            self.wait_ready()

    def _ready(self):
        try:
            return self.get("/readyz").status == 200
        except OSError:
            return False

    def wait_ready(self):
        def up():
            if not self.alive():
                pytest.fail(f"the engine ended with {self.p.returncode}:\n{self.log()[-4000:]}")
            return self._ready()
        wait_for(up, 20, "the engine is ready")

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def headers(self):
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def get(self, path, **kw):
        return http("GET", self.url(path), headers=self.headers(), **kw)

    def post(self, path, body=None, headers=None, **kw):
        return http("POST", self.url(path), body if body is not None else b"", headers={**self.headers(), **(headers or {})}, **kw)

    def send(self, **message):
        """Submits one message over HTTP; returns its id."""
        a = self.post("/v1/messages", message)
        assert a.status == 202, a.body
        return a.json["id"]

    def message(self, id):
        a = self.get(f"/v1/messages/{id}")
        return a.json if a.status == 200 else None

    def wait_state(self, id, *states, seconds=20):
        def there():
            m = self.message(id)
            return m if m and m["state"] in states else None
        return wait_for(there, seconds, f"message {id} is {' or '.join(states)} (now: {self.message(id)})")

    def report(self, campaign=None):
        a = self.get("/v1/report" + (f"?campaign={campaign}" if campaign else ""))
        if a.status == 404:  # nothing of the campaign has been seen yet
            return dict.fromkeys(("accepted", "pending", "unknown_attempts", *FINAL), 0)
        assert a.status == 200, a.body
        return a.json

    def final(self, campaign=None):
        r = self.report(campaign)
        return sum(r[s] for s in FINAL)

    def assert_balanced(self, campaign=None):
        r = self.report(campaign)
        assert r["accepted"] == self.final(campaign) + r["pending"], r
        return r

    def wait_final(self, n, campaign=None, seconds=60):
        wait_for(lambda: self.final(campaign) >= n, seconds, f"{n} messages are final (now: {self.report(campaign)})")
        return self.assert_balanced(campaign)

    def advance(self, ms):
        try:
            a = self.post("/v1/admin/clock", {"advance_ms": ms})
            assert a.status == 200, a.body
        except (RemoteDisconnected, ConnectionResetError):
            # Moved; the connection's idle time was over with that. Or it was killed by it.
            try:
                self.p.wait(0.2)
            except subprocess.TimeoutExpired:
                pass
            if not self.alive():
                raise
        # So may be the time of commands to Redis that were under way: until every shard has its connections again.
        wait_for(lambda: not self.alive() or all(self._ready() for _ in range(5)), what="the engine is ready after the move")
        if self.sink:
            self.sink.advance(ms)  # tokens carry times

    def metric(self, name):
        for line in self.get("/metrics").body.decode().splitlines():
            if line.startswith(name + " ") or line.startswith(name + "{"):
                return float(line.rsplit(" ", 1)[1])
        return None


def stream_key(partition, lane, prefix="hm"):
    return f"{{{prefix}:{partition}}}:q:{lane}"


def xadd(client, job, lane="normal", partition=0, prefix="hm"):
    """What a producer in another language does."""
    return client.xadd(stream_key(partition, lane, prefix), {"j": msgpack.packb(job)})


class Keys:
    """Credentials of the simulated providers, made once."""

    def __init__(self, folder):
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec, rsa
        folder.mkdir(parents=True, exist_ok=True)
        pem = dict(encoding=serialization.Encoding.PEM, format=serialization.PrivateFormat.PKCS8,
                   encryption_algorithm=serialization.NoEncryption())
        self.apns = folder / "apns.p8"
        self.apns.write_bytes(ec.generate_private_key(ec.SECP256R1()).private_bytes(**pem))
        rsa_pem = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(**pem)
        self.fcm_key = folder / "fcm.pem"
        self.fcm_key.write_bytes(rsa_pem)
        self.fcm_account = folder / "fcm.json"
        self.fcm_account_data = {"type": "service_account", "project_id": "demo-project", "private_key_id": "0123456789abcdef",
                                 "private_key": rsa_pem.decode(), "client_email": "sender@demo-project.iam.gserviceaccount.com",
                                 "token_uri": "https://oauth2.googleapis.com/token"}
        self.fcm_account.write_text(json.dumps(self.fcm_account_data))
        self.webhook_secret = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def hermod():
    def run(*args, stdin=None, env=None, timeout=60, cwd=None):
        return subprocess.run([str(BUILD / "hermod"), *map(str, args)], input=stdin, capture_output=True, text=True, cwd=cwd,
                              timeout=timeout * SLOW, env=dict(os.environ, **(env or {})))
    return run


@pytest.fixture
def redis(tmp_path):
    r = Redis(tmp_path / "redis")
    yield r
    r.stop()


@pytest.fixture
def sink(tmp_path, keys):
    s = Sink("--apns-key", keys.apns, "--fcm-key", keys.fcm_key, "--webhook-secret", keys.webhook_secret)
    yield s
    s.stop()


def channels_to(sink, keys):
    """The four demo channels, pointed at the simulator over TLS."""
    ca, tls = sink.ca, sink.tls_url
    return {
        "apns-sink": {"adapter": "push/apns", "team_id": "DEF123GHIJ", "key_id": "ABC123DEFG", "key": "${file:%s}" % keys.apns,
                      "topic": "com.example.app", "endpoint": {"url": tls, "ca_file": ca}},
        "fcm-sink": {"adapter": "push/fcm", "service_account": "${file:%s}" % keys.fcm_account, "send_id": True,
                     "endpoint": {"url": tls, "ca_file": ca}, "token_url": tls + "/token"},
        "wecom-sink": {"adapter": "chat/wecom-app", "corp_id": "ww1", "secret": "s3cret", "agent_id": 1000002,
                       "endpoint": {"url": tls, "ca_file": ca}},
        "hook-sink": {"adapter": "webhook/standard", "secrets": [keys.webhook_secret], "url": tls + "/hook/demo",
                      "endpoint": {"ca_file": ca}},
    }


def to_key(k):
    return '"*"' if k == "*" else k


def to_yaml(value, indent=0):
    """Enough YAML for test configurations; strings are always quoted."""
    pad = "  " * indent
    if isinstance(value, dict):
        if not value:
            return " {}"
        return "".join(f"\n{pad}{to_key(k)}:{to_yaml(v, indent + 1)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return "".join(f"\n{pad}-{to_yaml(v, indent + 1)}" if not isinstance(v, dict) else
                       f"\n{pad}- " + to_yaml(v, indent + 1).strip() for v in value) or " []"
    if isinstance(value, bool):
        return " true" if value else " false"
    if isinstance(value, (int, float)):
        return f" {value}"
    return " " + json.dumps(str(value), ensure_ascii=False)


@pytest.fixture
def engine(tmp_path, keys, request):
    """engine(sink, redis=None, channels=None, settings=None, templates=None, env=None) -> Engine"""
    started = []

    def make(sink=None, redis=None, channels=None, settings=None, templates=None, routes=None, env=None, name="engine", wait=True):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        port = free_port()
        config = {
            "node": {"data_dir": str(folder / "data"), "shards": 2},
            "redis": {"url": redis if isinstance(redis, str) else redis.url if redis else "embedded"},
            "http": {"listen": f"127.0.0.1:{port}", "auth": "off"},
            "queue": {"heartbeat": "200ms", "claim_after": "2s"},
            "templates": {"dir": str(folder / "templates")},
            "adapters": {"dir": str(ROOT / "adapters")},
            "log": {"level": "info"},
            "test": {"clock": True},
        }
        (folder / "templates").mkdir(exist_ok=True)
        for n, text in (templates or {}).items():
            (folder / "templates" / f"{n}.yaml").write_text(text)
        for section, values in (settings or {}).items():
            config.setdefault(section, {}).update(values)
        config["channels"] = channels if channels is not None else channels_to(sink, keys) if sink else {}
        if routes:
            config["routes"] = routes
        file = folder / "hermod.yaml"
        file.write_text(to_yaml(config).strip() + "\n")
        e = Engine(folder, file, port, env, wait=wait)
        e.sink = sink
        started.append(e)
        return e

    yield make
    wrong = []
    for e in started:  # all of them end, whatever one of them does
        if e.alive():
            try:
                code = e.stop()
                if code != 0:
                    wrong.append(f"the engine ended with {code}:\n{e.log()[-6000:]}")
            except AssertionError as late:
                wrong.append(str(late))
    assert not wrong, "\n".join(wrong)
    for e in started:
        log = e.log()
        for word in ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:", "PANIC", "panic"):
            assert word not in log, log[-8000:]
