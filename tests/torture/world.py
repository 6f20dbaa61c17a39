"""One world: a Redis, a simulator and an engine that dies often. Everything outlives many kills, only the engine does not.

Built on the actors of tests/scenario/conftest.py; a world belongs to one process and its processes end with it.
"""
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
os.environ.setdefault("HERMOD_BUILD", str(ROOT / "build" / "release"))
sys.path.insert(0, str(ROOT / "tests" / "scenario"))

import conftest  # noqa: E402
from conftest import BUILD, SLOW, Engine, Keys, Redis, free_port, http, to_yaml  # noqa: E402, F401
from sink_client import Sink  # noqa: E402

PARTITIONS = 4
LANES = ("critical", "high", "normal", "bulk")
PARTS = """
adapter: {name: chat/parts, title: A chat that takes 40 characters}
endpoint: {url: "https://parts.example"}
address: {max: 100, what: a name}
request:
  method: POST
  path: /parts
  headers: {x-hermod-id: "${message_id}-${part}"}
  json: {to: "${to}", text: "${body}", part: "${part}", parts: "${parts}"}
limits:
  fields: [{field: body, max: 40, unit: chars, over: split, numbered: true}]
answer: {format: none, success: status == 200}
outcomes: [{status: 5xx, outcome: provider_down}, {status: 4xx, outcome: bad_request}]
"""
TEMPLATE = """
kind: message
title: "Order ${no}"
body: "Dear ${user.name}, order ${no} is on its way<#if n gt 5>, all ${n} parts of it</#if>."
"""
# A provider on a bad day. What the engine is told it must count, what it is not told must be `unknown`.
WEATHER = {"*": {"latency": {"kind": "uniform", "min_ms": 1, "max_ms": 12},
                 "mix": [{"percent": 3, "status": 503}, {"percent": 1, "fault": "refused"},
                         {"percent": 0.7, "fault": "internal", "accept": True}, {"percent": 0.5, "fault": "internal"},
                         {"percent": 0.05, "fault": "close", "accept": True}]}}
FINE = {"*": {"latency": {"kind": "uniform", "min_ms": 1, "max_ms": 5}}}
FINAL = conftest.FINAL
BROKEN = ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:", "PANIC", "panic:")


class Trouble(Exception):
    """Something that must hold does not."""


def wait(condition, seconds, what):
    """The value of condition() as soon as it is true; Trouble at the limit. `what` may be a function: asked then."""
    end = time.monotonic() + seconds * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Trouble(f"not within {seconds * SLOW} s: {what() if callable(what) else what}")
        time.sleep(0.01)


def merge(into, more):
    for key, value in (more or {}).items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value
    return into


class World:
    def __init__(self, name, seed=1, weather=FINE, settings=None, redis=True, redis_args=(), channels=None, engine="engine", parent=None):
        """parent: another world whose Redis and simulator this one shares."""
        self.name, self.rng = name, random.Random(f"{seed}/{name}")
        self.own = parent is None
        self.dir = Path(tempfile.mkdtemp(prefix=f"torture-{name}-")) if self.own else parent.dir
        self.redis = self.sink = self.engine = None
        self.kills = 0
        try:
            if self.own:
                self.keys = Keys(self.dir / "keys")
                self.redis = Redis(self.dir / "redis", *redis_args) if redis else None
                self.sink = Sink("--apns-key", self.keys.apns, "--fcm-key", self.keys.fcm_key, "--webhook-secret", self.keys.webhook_secret,
                                 "--seed", str(seed), keep_requests=16)
                self.sink.knobs(weather)
                shutil.copytree(ROOT / "adapters", self.dir / "adapters")
                (self.dir / "adapters" / "chat" / "parts.yaml").write_text(PARTS)
                (self.dir / "templates").mkdir()
                (self.dir / "templates" / "order.yaml").write_text(TEMPLATE)
            else:
                self.keys, self.redis, self.sink = parent.keys, parent.redis, parent.sink
            self.weather = weather
            self._configure(engine, settings, channels)
        except BaseException:
            self.close(check=False)
            raise

    def _configure(self, engine, settings, channels):
        sink, keys = self.sink, self.keys
        at = {"url": sink.tls_url, "ca_file": sink.ca}
        fcm = {"adapter": "push/fcm", "service_account": "${file:%s}" % keys.fcm_account, "send_id": True, "endpoint": at,
               "token_url": sink.tls_url + "/token"}
        self.channels = {
            "push": {"adapter": "push/apns", "team_id": "DEF123GHIJ", "key_id": "ABC123DEFG", "key": "${file:%s}" % keys.apns,
                     "topic": "com.example.app", "endpoint": at},
            "second": fcm,
            "once": {**fcm, "resend_unknown": False},
            "corp": {"adapter": "chat/wecom-app", "corp_id": "ww1", "secret": "s3cret", "agent_id": 1000002, "endpoint": at},
            "hook": {"adapter": "webhook/standard", "secrets": [keys.webhook_secret], "url": sink.tls_url + "/hook/torture",
                     "endpoint": {"ca_file": sink.ca}},
            "parts": {"adapter": "chat/parts", "endpoint": at},
        }
        self.channels.update(channels or {})
        self.folder = self.dir / engine
        self.folder.mkdir(exist_ok=True)
        self.port = free_port()
        self.config = merge({
            "node": {"data_dir": str(self.folder / "data"), "shards": 2, "drain_timeout": "5s"},
            "redis": {"url": self.redis.url if self.redis else "embedded"},
            "http": {"listen": f"127.0.0.1:{self.port}", "auth": "off"},
            # everything is quick, so that a round is
            "queue": {"partitions": PARTITIONS, "heartbeat": "150ms", "claim_after": "1s"},
            "dispatch": {"retry_base": "20ms", "retry_max": "100ms", "max_attempts": 6, "request_timeout": "5s"},
            # small segments: sealing, compressing and expiry happen all the time
            "ledger": {"ttl": "2m", "cache_bytes": "1MiB"},
            "templates": {"dir": str(self.dir / "templates")},
            "adapters": {"dir": str(self.dir / "adapters")},
            "test": {"clock": True},
            "channels": self.channels,
            "routes": {"both": [{"channel": "push"}, {"channel": "second"}]},
        }, settings)
        self.file = self.folder / "hermod.yaml"
        self.file.write_text(to_yaml(self.config).strip() + "\n")

    # -- the engine -----------------------------------------------------------------------------
    def start(self, faults=None, wait_ready=True, env=None):
        env = dict(env or {}, **({"HERMOD_FAULTS": faults} if faults else {}))
        self.engine = Engine(self.folder, self.file, self.port, env, wait=False)
        self.engine.sink = self.sink
        if wait_ready:
            self.wait_ready()
        return self.engine

    def wait_ready(self, seconds=20):
        def ready():
            if not self.engine.alive():
                raise Trouble(f"the engine ended with {self.engine.p.returncode}: {self.tail()}")
            return self.is_ready()
        wait(ready, seconds, lambda: f"the engine is ready: {self.tail()}")

    def is_ready(self):
        try:
            return self.engine.get("/readyz", timeout=2).status == 200
        except OSError:
            return False

    def kill(self):
        if self.engine.alive():
            self.engine.kill9()
        self.kills += 1

    def stop(self):
        code = self.engine.stop()
        if code != 0:
            raise Trouble(f"the engine ended with {code}: {self.tail()}")

    def tail(self, n=1500):
        return self.engine.log()[-n:] if self.engine else ""

    def pid(self):
        return self.engine.pid

    def memory_mib(self):
        for line in Path(f"/proc/{self.pid()}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid()}/fd"))

    # -- what it says -----------------------------------------------------------------------------
    def report(self, campaign=None):
        return self.engine.report(campaign)

    def cli(self, *args):
        return subprocess.run([str(BUILD / "hermod"), *args, "--config", str(self.file)], capture_output=True, text=True, timeout=120 * SLOW)

    # -- Redis ------------------------------------------------------------------------------------
    def client(self):
        import redis
        if self.redis:
            return redis.Redis(unix_socket_path=str(self.redis.socket))
        return redis.Redis(unix_socket_path=str(self.folder / "data" / "redis" / "redis.sock"))

    def queued(self):
        """Entries in the streams and among the delayed: 0 when everything is done and acknowledged."""
        c = self.client()
        pipe = c.pipeline(transaction=False)
        for p in range(PARTITIONS):
            for lane in LANES:
                pipe.xlen(f"{{hm:{p}}}:q:{lane}")
            pipe.zcard(f"{{hm:{p}}}:delayed")
        n = sum(pipe.execute())
        c.close()
        return n

    def untold(self):
        """What nodes have not read yet: that a message is another's."""
        c = self.client()
        n = sum(c.xlen(k) for k in c.scan_iter("{hm:*}:moved:*", count=1000))
        c.close()
        return n

    def left(self):
        """What queued() counts, for the sentence that says it is still there."""
        c, found = self.client(), []
        for p in range(PARTITIONS):
            for lane in LANES:
                key = f"{{hm:{p}}}:q:{lane}"
                for id, fields in c.xrange(key, count=3):
                    found.append((key, id, [(x["consumer"], x["time_since_delivered"], x["times_delivered"]) for x in
                                            c.xpending_range(key, "hermod", id, id, 1)], fields.get(b"j", b"")[:60]))
            found += [("delayed", p, *x) for x in c.zrange(f"{{hm:{p}}}:delayed", 0, 3, withscores=True)]
        return found

    # -- the end ------------------------------------------------------------------------------------
    def close(self, check=True, broken=BROKEN):
        wrong = []
        if self.engine:
            if self.engine.alive():
                try:
                    self.stop()
                except (Trouble, AssertionError) as e:
                    wrong.append(str(e))
            log = self.engine.log()
            for word in broken:
                if word in log:
                    at = log.index(word)
                    wrong.append(log[max(0, at - 300):at + 1500])
        if self.own:
            for part in (self.sink, self.redis):
                try:
                    if part:
                        part.stop()
                except Exception as e:  # noqa: BLE001 - all of them end, whatever one of them does
                    wrong.append(str(e))
            if not wrong and not os.environ.get("TORTURE_KEEP"):
                shutil.rmtree(self.dir, ignore_errors=True)
        if wrong and check:
            raise Trouble(f"{self.name} (kept: {self.dir}): " + "\n".join(wrong))

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close(check=kind is None)
