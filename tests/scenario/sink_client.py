"""hermod-sink as an actor of scenario tests.

    with Sink() as sink:
        sink.script({"profile": "apns", "token": "aa11"}, [{"status": 429, "retry_after": 2}])
        ... let the engine send to sink.tls_url ...
        assert sink.ledger()["unique"] == 1
        assert sink.requests(profile="apns")[-1].json["aps"]["alert"] == "hi"

The binary is $HERMOD_SINK, else the newest build/*/hermod-sink of the tree.
Ports are picked by the sink; nothing sleeps; stop() ends the process and gives its totals.
"""
import base64
import ctypes
import glob
import http.client
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
START_LIMIT_S = 60


LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def end_with_parent():
    """For preexec_fn: a child of a test run that was killed ends too."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def find_binary():
    if os.environ.get("HERMOD_SINK"):
        return os.environ["HERMOD_SINK"]
    found = sorted(glob.glob(str(ROOT / "build" / "*" / "hermod-sink")), key=os.path.getmtime)
    if not found:
        raise FileNotFoundError("no build/*/hermod-sink: build the target hermod-sink, or set HERMOD_SINK")
    return found[-1]


class ControlError(Exception):
    """The control API refused: .status and the sentence it gave."""

    def __init__(self, status, text):
        super().__init__(f"{status}: {text}")
        self.status = status
        self.text = text


class Request:
    """A request as the sink received it."""

    def __init__(self, raw):
        self.raw = raw
        self.number = raw["n"]
        self.method = raw["method"]
        self.path = raw["path"]
        self.profile = raw["profile"]
        self.protocol = raw["protocol"]
        self.status = raw["status"]
        self.accepted = raw["accepted"]
        self.headers = {name: value for name, value in raw["headers"]}
        if "body_base64" in raw:
            self.body = base64.b64decode(raw["body_base64"])
        else:
            self.body = raw["body"].encode()

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<Request {self.number} {self.method} {self.path} -> {self.status}>"


class Sink:
    def __init__(self, *args, tls=True, clear=True, keep_requests=1000, start=True):
        self.dir = tempfile.mkdtemp(prefix="hermod-sink-test-")
        self.args = ["--control", "127.0.0.1:0", "--keep-requests", str(keep_requests)]
        if clear:
            self.args += ["--listen", "127.0.0.1:0"]
        if tls:
            self.args += ["--tls-listen", "127.0.0.1:0", "--cert-dir", os.path.join(self.dir, "certs")]
        self.args += [str(a) for a in args]
        self.process = None
        self.totals = None
        if start:
            self.start()

    # -- life ---------------------------------------------------------------------
    def start(self):
        self.process = subprocess.Popen([find_binary(), *self.args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        preexec_fn=end_with_parent)
        ready, _, _ = select.select([self.process.stdout], [], [], START_LIMIT_S)
        line = self.process.stdout.readline() if ready else b""
        if not line:
            self.process.kill()
            _, err = self.process.communicate()
            raise RuntimeError(f"hermod-sink did not start: {err.decode()}")
        self.ports = json.loads(line)
        self.listen = self.ports.get("listen")
        self.tls_listen = self.ports.get("tls_listen")
        self.control = self.ports["control"]
        self.ca = self.ports.get("ca")
        self.pid = self.ports["pid"]
        return self

    def stop(self, expect=0):
        """SIGTERM; checks the exit code (sanitizers speak through it) and returns the totals."""
        if self.process is None:
            return self.totals
        process, self.process = self.process, None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
        shutil.rmtree(self.dir, ignore_errors=True)
        if expect is not None and process.returncode != expect:
            raise RuntimeError(f"hermod-sink ended with {process.returncode}: {err.decode()[-4000:]}")
        lines = out.decode().strip().splitlines()
        self.totals = json.loads(lines[-1]) if lines else None
        return self.totals

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.communicate()
            self.process = None
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind:
            self.kill()
        else:
            self.stop()

    # -- addresses ------------------------------------------------------------------
    @property
    def url(self):
        return f"http://127.0.0.1:{self.listen}"

    @property
    def tls_url(self):
        return f"https://localhost:{self.tls_listen}"

    # -- control API ------------------------------------------------------------------
    def call(self, method, path, body=None):
        conn = http.client.HTTPConnection("127.0.0.1", self.control, timeout=60)
        try:
            data = body if isinstance(body, (bytes, str)) or body is None else json.dumps(body)
            conn.request(method, path, body=data)
            answer = conn.getresponse()
            text = answer.read().decode()
        finally:
            conn.close()
        if answer.status >= 400:
            try:
                text = json.loads(text)["error"]
            except (ValueError, KeyError):
                pass
            raise ControlError(answer.status, text)
        return text

    def get(self, path):
        return json.loads(self.call("GET", path))

    def script(self, match, replies):
        """The next replies to requests that match, in order; then back to normal."""
        return json.loads(self.call("POST", "/control/script", {"match": match, "replies": replies}))

    def scripts(self):
        return self.get("/control/script")

    def knobs(self, profiles=None, connection=None):
        """Merges behaviour: sink.knobs({"apns": {"latency": 5}}, {"max_streams": 10})."""
        body = {}
        if profiles is not None:
            body["profiles"] = profiles
        if connection is not None:
            body["connection"] = connection
        return json.loads(self.call("POST", "/control/knobs", body))

    def action(self, do, **more):
        return json.loads(self.call("POST", "/control/action", {"do": do, **more}))["connections"]

    def tokens(self, do="invalidate", profile=None):
        body = {"do": do}
        if profile:
            body["profile"] = profile
        return json.loads(self.call("POST", "/control/tokens", body))["tokens"]

    def advance(self, ms):
        return json.loads(self.call("POST", "/control/clock", {"advance_ms": ms}))["now_ms"]

    def ledger(self, profile=None):
        """Totals, or those of one profile."""
        all_ = self.get("/control/ledger")
        return all_["profiles"][profile] if profile else all_

    def dump(self, profile=None, min=1):
        """{(profile, id): times accepted}"""
        query = f"?min={min}" + (f"&profile={profile}" if profile else "")
        lines = self.call("GET", "/control/ledger/dump" + query).splitlines()
        return {(e["profile"], e["id"]): e["accepted"] for e in map(json.loads, lines)}

    def accepted(self, profile, id_):
        """How often one id was accepted."""
        from urllib.parse import quote
        return self.get(f"/control/ledger/id?profile={profile}&id={quote(id_, safe='')}")["accepted"]

    def requests(self, n=1000, profile=None, path=None, after=0):
        from urllib.parse import quote
        query = f"?n={n}&after={after}"
        if profile:
            query += f"&profile={profile}"
        if path:
            query += f"&path={quote(path, safe='')}"
        return [Request(r) for r in self.get("/control/requests" + query)]

    def reset(self):
        """Ledger, counts, requests, scripts, knobs: as just started. Tokens and connections stay."""
        self.call("POST", "/control/reset")
