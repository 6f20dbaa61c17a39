"""A stage that several tests of a file share: one Redis, one sink, one engine.

    @pytest.fixture(scope="module")
    def stage(tmp_path_factory, keys):
        with Stage(tmp_path_factory.mktemp("bad-http"), keys) as s:
            yield s
"""
import json
import socket
import time

from conftest import ROOT, SLOW, Engine, Redis, channels_to, free_port, to_yaml
from sink_client import Sink


class Stage:
    def __init__(self, folder, keys, settings=None, templates=None, routes=None, redis=True, channels=channels_to):
        self.dir = folder
        self.redis = Redis(folder / "redis") if redis else None
        self.sink = Sink("--apns-key", keys.apns, "--fcm-key", keys.fcm_key, "--webhook-secret", keys.webhook_secret)
        self.port = free_port()
        config = {
            "node": {"data_dir": str(folder / "data"), "shards": 1},
            "redis": {"url": self.redis.url if redis else "embedded"},
            "http": {"listen": f"127.0.0.1:{self.port}", "auth": "off"},
            "queue": {"heartbeat": "200ms", "claim_after": "2s"},
            "templates": {"dir": str(folder / "templates")},
            "adapters": {"dir": str(ROOT / "adapters")},
        }
        (folder / "templates").mkdir()
        for name, text in (templates or {}).items():
            (folder / "templates" / f"{name}.yaml").write_text(text)
        for section, values in (settings or {}).items():
            config.setdefault(section, {}).update(values)
        config["channels"] = channels(self.sink, keys)
        if routes:
            config["routes"] = routes
        self.config = folder / "hermod.yaml"
        self.config.write_text(to_yaml(config).strip() + "\n")
        self.engine = None

    def __enter__(self):
        self.engine = Engine(self.dir, self.config, self.port)
        self.engine.sink = self.sink
        return self

    def __exit__(self, *exc):
        code = self.engine.stop()
        self.sink.stop()
        if self.redis:
            self.redis.stop()
        log = self.engine.log()
        assert code == 0, log[-6000:]
        for word in ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:", "PANIC"):
            assert word not in log, log[-8000:]

    def raw(self, data, seconds=10, end=False):
        """Sends bytes and reads until the server closes (or `seconds` pass): what an odd client does."""
        with socket.create_connection(("127.0.0.1", self.port)) as s:
            s.settimeout(seconds * SLOW)
            s.sendall(data)
            if end:
                s.shutdown(socket.SHUT_WR)
            got = b""
            try:
                while piece := s.recv(65536):
                    got += piece
            except TimeoutError:
                raise AssertionError(f"the connection stays open; so far: {got[:2000]!r}") from None
            except ConnectionResetError:
                pass
            return got


class Response:
    """One answer cut from the bytes of a connection."""

    def __init__(self, head, body):
        lines = head.decode("latin-1").split("\r\n")
        self.version, status = lines[0].split(" ")[:2]
        self.status = int(status)
        self.headers = {k.lower(): v.strip() for k, v in (x.split(":", 1) for x in lines[1:])}
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)


def responses(data):
    """All answers of a connection, in order."""
    found = []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        r = Response(head, b"")
        n = int(r.headers.get("content-length", 0))
        r.body, data = rest[:n], rest[n:]
        found.append(r)
    return found


def problem(answer, status, slug, field=None, text=None):
    """The answer is a problem (RFC 9457) that says what, where and why in one sentence."""
    assert answer.status == status, (answer.status, answer.body)
    kind = answer.headers.get("Content-Type") or answer.headers.get("content-type")
    assert kind == "application/problem+json", kind
    p = answer.json
    assert p["type"] == f"urn:hermod:problem:{slug}" and p["status"] == status and p["title"], p
    assert p["detail"] and "\n" not in p["detail"], p
    if field is not None:
        assert p.get("field") == field, p
    if text is not None:
        assert text in p["detail"], p
    return p


def now_ms():
    return int(time.time() * 1000)
