"""The parts of a measurement: Redis, simulator and engine as processes, pinned to cores.

Used by run.py and demo.py. Everything lives in one folder and ends with the `with` block, or with this process.
"""
import base64
import ctypes
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = Path(os.environ.get("HERMOD_BUILD", ROOT / "build" / "release"))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cores():
    return sorted(os.sched_getaffinity(0))


def wait_until(check, seconds, what):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if check():
                return
        except OSError:
            pass
        time.sleep(0.02)
    sys.exit(f"{what}: not within {seconds} s")


LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def child_setup(where):
    """What a child does before exec: it ends when we do, however we end, and runs on the cores `where`."""
    def setup():
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if where:
            os.sched_setaffinity(0, where)
    return setup


def make_keys(folder):
    """Credentials for the simulated providers."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "fcm.json").exists():
        make = lambda *a: subprocess.run(["openssl", "genpkey", *a], check=True, capture_output=True)
        make("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(folder / "apns.p8"))
        make("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(folder / "fcm.pem"))
        key = (folder / "fcm.pem").read_text()
        (folder / "webhook.secret").write_text("whsec_" + base64.b64encode(os.urandom(32)).decode())
        (folder / "fcm.json").write_text(json.dumps({
            "type": "service_account", "project_id": "demo-project", "private_key_id": "0123456789abcdef", "private_key": key,
            "client_email": "sender@demo-project.iam.gserviceaccount.com", "token_uri": "https://oauth2.googleapis.com/token"}))
    return folder


def channels_yaml(keys, ca, url):
    """Four channels of the simulator."""
    return f"""
channels:
  apns-sink:
    adapter: push/apns
    team_id: DEF123GHIJ
    key_id: ABC123DEFG
    key: ${{file:{keys}/apns.p8}}
    topic: com.example.app
    endpoint: {{url: "{url}", ca_file: "{ca}"}}
  fcm-sink:
    adapter: push/fcm
    service_account: ${{file:{keys}/fcm.json}}
    token_url: "{url}/token"
    send_id: true
    endpoint: {{url: "{url}", ca_file: "{ca}"}}
  wecom-sink:
    adapter: chat/wecom-app
    corp_id: ww1234567890abcdef
    secret: demo-secret
    agent_id: 1000002
    endpoint: {{url: "{url}", ca_file: "{ca}"}}
  hook-sink:
    adapter: webhook/standard
    secrets: ["${{file:{keys}/webhook.secret}}"]
    url: "{url}/hook/demo"
    endpoint: {{ca_file: "{ca}"}}
"""


class Stack:
    def __init__(self, folder=None, engine_cores=None, other_cores=None, shards=1, settings="", sink_args=()):
        self.own = folder is None
        self.dir = Path(folder or tempfile.mkdtemp(prefix="hermod-bench-"))
        self.dir.mkdir(parents=True, exist_ok=True)
        self.engine_cores, self.other_cores, self.shards, self.settings = engine_cores, other_cores, shards, settings
        self.keys = make_keys(self.dir / "keys")
        self.channels = ""  # further ones, as lines below channels:
        self.children, self.engine = [], None
        self.sink = self.start_sink(sink_args)

    def spawn(self, argv, where, log, **kw):
        # A session of its own: Ctrl-C in the terminal is for us, who then end the children in order.
        with open(self.dir / log, "ab") as err:
            p = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stderr=err, preexec_fn=child_setup(where),
                                 start_new_session=True, **kw)
        self.children.append(p)
        return p

    def start_sink(self, args):
        p = self.spawn([BUILD / "hermod-sink", "--tls-listen", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0",
                        "--cert-dir", self.dir / "certs", "--apns-key", self.keys / "apns.p8", "--fcm-key", self.keys / "fcm.pem",
                        "--webhook-secret", (self.keys / "webhook.secret").read_text(), "--quiet", *args],
                       self.other_cores, "sink.log", stdout=subprocess.PIPE)
        ready, _, _ = select.select([p.stdout], [], [], 30)
        line = p.stdout.readline() if ready else b""
        if not line:
            sys.exit("hermod-sink did not start:\n" + self.tail("sink.log"))
        self.ports = json.loads(line)
        self.url, self.ca = f"https://127.0.0.1:{self.ports['tls_listen']}", self.ports["ca"]
        return p

    def start_redis(self):
        self.redis_socket = self.dir / "redis.sock"
        p = self.spawn(["redis-server", "--port", "0", "--unixsocket", self.redis_socket, "--dir", self.dir, "--save", "", "--appendonly",
                        "yes", "--appendfsync", "everysec", "--daemonize", "no", "--logfile", self.dir / "redis.log"],
                       self.other_cores, "redis.err")

        def up():
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(str(self.redis_socket))
                s.sendall(b"PING\r\n")
                return s.recv(16) == b"+PONG\r\n"
        wait_until(up, 20, "redis-server")
        self.redis_url = f"unix://{self.redis_socket}"
        return p

    def start_engine(self, redis_url, port=None, data_dir=None):
        self.port = port or free_port()
        self.config = self.dir / "hermod.yaml"
        self.engine_redis = redis_url
        self.data_dir = data_dir or self.dir / "data"
        self.write_config()
        self.engine = self.spawn([BUILD / "hermod", "run", "--config", self.config], self.engine_cores, "engine.log")
        wait_until(lambda: self.engine.poll() is not None or self.get("/readyz")[0] == 200, 60, "the engine")
        if self.engine.poll() is not None:
            sys.exit("the engine ended:\n" + self.tail("engine.log"))

    def write_config(self):
        self.config.write_text(f"""
node: {{data_dir: "{self.data_dir}", shards: {self.shards}}}
redis: {{url: "{self.engine_redis}"}}
http: {{listen: "127.0.0.1:{self.port}", auth: "off"}}
templates: {{dir: "{self.dir / 'templates'}"}}
adapters: {{dir: "{ROOT / 'adapters'}"}}
{self.settings}
{channels_yaml(self.keys, self.ca, self.url)}{self.channels}""")

    def reload(self, settings):
        """Other settings for the running engine, of those it takes up without a restart."""
        self.settings = settings
        self.write_config()
        req = urllib.request.Request(f"http://127.0.0.1:{self.port}/v1/admin/reload", method="POST", data=b"")
        with urllib.request.urlopen(req, timeout=30) as r:
            r.read()

    def tail(self, log):
        return (self.dir / log).read_text(errors="replace")[-3000:]

    def get(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as r:
                return r.status, r.read()
        except urllib.error.HTTPError as e:
            return e.code, e.read()

    def control(self, method, path, body=None):
        req = urllib.request.Request(f"http://127.0.0.1:{self.ports['control']}{path}", method=method,
                                     data=json.dumps(body).encode() if body is not None else None)
        with urllib.request.urlopen(req, timeout=60) as r:
            return r.read()

    def ledger(self):
        return json.loads(self.control("GET", "/control/ledger"))

    def bench(self, *args, quiet=False):
        """hermod-bench on the other core; returns its JSON."""
        r = subprocess.run([str(BUILD / "hermod-bench"), "--redis", self.redis_url, "--http", f"http://127.0.0.1:{self.port}", "--json",
                            "--hook-url", self.url + "/hook/demo", *(["--quiet"] if quiet else []), *map(str, args)],
                           stdout=subprocess.PIPE, preexec_fn=child_setup(self.other_cores))
        if r.returncode != 0:
            sys.exit(f"hermod-bench ended with {r.returncode}")
        return json.loads(r.stdout)

    def cpu(self):
        """Seconds of processor time the engine has used."""
        with open(f"/proc/{self.engine.pid}/stat") as f:
            v = f.read().rsplit(")", 1)[1].split()
        return (int(v[11]) + int(v[12])) / os.sysconf("SC_CLK_TCK")

    def stop_engine(self):
        code = None
        if self.engine and self.engine.poll() is None:
            self.engine.terminate()
            try:
                code = self.engine.wait(60)
            except subprocess.TimeoutExpired:
                self.engine.kill()
                code = self.engine.wait()
        self.engine = None
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop_engine()
        for p in reversed(self.children):
            if p.poll() is None:
                p.send_signal(signal.SIGTERM)
        for p in self.children:
            try:
                p.wait(20)
            except subprocess.TimeoutExpired:
                p.kill()
        if self.own:
            shutil.rmtree(self.dir, ignore_errors=True)
