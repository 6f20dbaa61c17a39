"""The table of adapter classes: one real adapter each, a real engine, Redis and ledger, beside a peer in the same run.

Runs of engine and peer alternate, class by class, several times over; figures are medians. Method: bench/README.md.
"""
import base64
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from stack import BUILD, Stack, child_setup, cores  # noqa: E402

SUBSCRIPTIONS = 20_000
SMPP_WINDOW = 100
SMTP_SOURCE = "/usr/sbin/smtp-source"  # of Debian's postfix
FOREVER = 10**12
VAPID = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"  # of RFC 8291, section 5


@dataclass
class Row:
    name: str               # of the class
    adapter: str
    kind: str               # of address (hermod-bench --mix)
    channel: str            # its settings, YAML lines
    messages: int           # of a run
    path: str               # prefix of the requests' paths
    answer: dict = None     # what the simulator says; None: its profile's own answer
    args: tuple = ()        # for hermod-bench
    chunk: int = 500
    exact: bool = True      # one call is one message
    in_flight: int = 1000   # dispatch.max_in_flight
    peer: str = "h2load"
    peer_args: tuple = ("-c", 8, "-m", 100)
    also: str = None        # a line of micro_crypto: what the peer leaves out
    numbers: dict = field(default_factory=dict)


def answer(body=None, status=200):
    return {"status": status, **({"json": body} if isinstance(body, dict) else {"body": body} if body else {})}


def rows(s):
    url = f'endpoint: {{url: "{s.url}", ca_file: "{s.ca}", http: %s}}'
    return [
        Row("HTTP/2 JSON", "push/apns", "apns", "", 200_000, "/3/device/"),
        Row("HTTP/1.1 JSON", "chat/mattermost", "plain", f"""
    server: "{s.url}"
    key: abcdefghijklmnopqrstuvwxyz
    rate: off
    {url % "1.1"}""", 40_000, "/hooks/", answer("ok"), peer_args=("--h1", "-c", 8, "-m", 1)),
        Row("form + signature", "sms/aliyun", "phone", f"""
    access_key_id: LTAI5tExample
    access_key_secret: abcdefghijklmnopqrstuvwxyz0123
    sign_name: 阿里云
    template: SMS_123456789
    rate: off
    {url % "2"}""", 60_000, "/", answer({"Code": "OK", "Message": "OK", "BizId": "{unique}^0",
                                         "RequestId": "F655A8D5-B967-440B-8683-DAD6FF8DE990"}), also="hmac_sha1"),
        Row("Web Push", "push/webpush", "list", f"""
    vapid_key: {VAPID}
    contact: mailto:push@example.com
    allow_private: true
    endpoint: {{ca_file: "{s.ca}"}}""", 30_000, "/push/", answer(status=201),
            args=("--addresses", s.dir / "subscriptions"), also="webpush_openssl"),
        Row("JSON, batched", "push/jpush", "plain", f"""
    app_key: 7d431e42dfa6a6d693ac2d04
    master_secret: 5e987ac6d2e04d95a9d8f0d1
    receipts: false
    rate: off
    {url % "2"}""", 600_000, "/v3/push", answer({"sendno": "0", "msg_id": "{unique}"}), args=("--same",), chunk=1000,
            exact=False, in_flight=10_000),
        Row("SMTP", "email/smtp", "email", f"""
    host: 127.0.0.1
    port: {s.ports["smtp"]}
    security: none
    from: news@example.com
    verp: false
    rate: off""", 20_000, "/mail/", peer="smtp-source"),
        Row("SMPP", "sms/smpp", "phone", f"""
    host: 127.0.0.1
    port: {s.ports["smpp"]}
    system_id: hermod
    password: secret
    from: Acme
    window: {SMPP_WINDOW}
    receipts: false
    rate: off""", 120_000, "/sms/", peer="micro_smpp"),
    ]


def name_of(row):
    return "apns-sink" if row.adapter == "push/apns" else row.adapter.replace("/", "-")


def subscriptions(s):
    """Distinct keys and secrets, as browsers make them. Returns the private half of each."""
    from cryptography.hazmat.primitives import serialization as ser
    from cryptography.hazmat.primitives.asymmetric import ec
    b64 = lambda b: base64.urlsafe_b64encode(b).rstrip(b"=").decode()
    kept = {}
    with open(s.dir / "subscriptions", "w") as f:
        for i in range(SUBSCRIPTIONS):
            key, auth = ec.generate_private_key(ec.SECP256R1()), os.urandom(16)
            point = key.public_key().public_bytes(ser.Encoding.X962, ser.PublicFormat.UncompressedPoint)
            f.write(json.dumps({"endpoint": f"{s.url}/push/{i}", "keys": {"p256dh": b64(point), "auth": b64(auth)}},
                               separators=(",", ":")) + "\n")
            kept[f"/push/{i}"] = key, point, auth
    return kept


def opened(kept, request):
    """What a browser makes of a push (RFC 8291); raises when it is not for it."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    hkdf = lambda salt, ikm, info, n: HKDF(hashes.SHA256(), n, salt, info).derive(ikm)
    key, point, auth = kept[request["path"]]
    body = base64.b64decode(request["body_base64"])
    salt, sender = body[:16], body[21:86]
    shared = key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender))
    ikm = hkdf(auth, shared, b"WebPush: info\0" + point + sender, 32)
    text = AESGCM(hkdf(salt, ikm, b"Content-Encoding: aes128gcm\0", 16)).decrypt(hkdf(salt, ikm, b"Content-Encoding: nonce\0", 12), body[86:], None)
    return json.loads(text.rstrip(b"\0")[:-1])


def in_flight(n):
    return f"dispatch: {{max_in_flight: {n}}}"


def prepare(s, row):
    """The simulator as this class needs it, its books empty."""
    s.control("POST", "/control/reset")
    if row.answer:
        s.control("POST", "/control/script", {"match": {"path": row.path}, "replies": [row.answer | {"repeat": FOREVER}]})


def cpu_of(pid):
    with open(f"/proc/{pid}/stat") as f:
        v = f.read().rsplit(")", 1)[1].split()
    return (int(v[11]) + int(v[12])) / os.sysconf("SC_CLK_TCK")


def engine_run(s, row, messages, *more, chunk=None):
    """One run, whose books must agree."""
    prepare(s, row)
    s.reload(in_flight(row.in_flight))
    sink, load = cpu_of(s.sink.pid), os.getloadavg()[0]
    r = s.bench("--messages", messages, "--chunk", chunk or row.chunk, "--mix", f"{row.kind}={name_of(row)}", *row.args, *more, quiet=True)
    led = s.ledger()
    taken = sum(p["accepted_requests"] for p in led["profiles"].values())
    if r["sent"] != messages or (row.exact and taken != messages) or taken == 0 or (led["unique"] not in (0, messages)):
        sys.exit(f"{row.name}: the books do not agree: {r} against {led}\n" + s.tail("engine.log"))
    r["per_call"] = messages / taken
    r["sink_us"] = (cpu_of(s.sink.pid) - sink) * 1e6 / taken
    r["load"] = (load + os.getloadavg()[0]) / 2
    return r


def recorded(s, row):
    """The last request of this class as the simulator received it."""
    got = json.loads(s.control("GET", f"/control/requests?n=64&path={row.path}"))
    return got[-1]


SKIPPED = {"host", "content-length", "connection", "user-agent", "accept", "accept-encoding", ":authority"}


def timed(argv, core):
    """Runs a peer; its output and the processor time it took, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    out = subprocess.run([str(a) for a in argv], capture_output=True, text=True, preexec_fn=child_setup({core}))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return out, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def h2load(s, row, request, core, n):
    """The engine's last request again and again; with other devices or subscriptions where the engine had others too."""
    body, uris = s.dir / "peer.body", s.dir / "peer.uris"
    body.write_bytes(base64.b64decode(request["body_base64"]) if "body_base64" in request else request["body"].encode())
    paths = [f"/3/device/0{i:063x}" for i in range(100_000)] if row.adapter == "push/apns" else \
        [f"/push/{i}" for i in range(SUBSCRIPTIONS)] if row.adapter == "push/webpush" else [request["path"]]
    uris.write_text("".join(f"{s.url}{p}\n" for p in paths))
    argv = ["h2load", "-n", n, "-t", 1, *row.peer_args, "-i", uris, "-d", body]
    for name, value in request["headers"]:
        if name not in SKIPPED:
            argv += ["-H", f"{name}: {value}"]
    done, cpu = timed(argv, core)
    rate, ok = re.search(r"finished in .*?, ([\d.]+) req/s", done.stdout), re.search(r"(\d+) 2xx", done.stdout)
    if not rate or not ok or int(ok.group(1)) != n:
        sys.exit(f"{row.name}: h2load did not work:\n{done.stdout}{done.stderr}")
    return {"per_second": float(rate.group(1)), "cpu_us": cpu * 1e6 / n}


def smtp_source(s, row, request, core, n):
    """Postfix' load generator: as many connections as the engine has, each kept, mails of the same size."""
    prepare(s, row)
    start = time.monotonic()
    done, cpu = timed([SMTP_SOURCE, "-s", 8, "-d", "-m", n, "-l", request["body_bytes"], "-f", "news@example.com", "-t", "u1@mail.test",
                       f"127.0.0.1:{s.ports['smtp']}"], core)
    seconds = time.monotonic() - start
    if done.returncode or s.ledger()["profiles"]["smtp"]["status"].get("250", 0) != n:
        sys.exit(f"{row.name}: smtp-source did not work:\n{done.stdout}{done.stderr}")
    return {"per_second": n / seconds, "cpu_us": cpu * 1e6 / n}


def micro_smpp(s, row, request, core, n):
    """One session and the same window, with a PDU that is finished."""
    done, cpu = timed([BUILD / "micro_smpp", "127.0.0.1", s.ports["smpp"], n, SMPP_WINDOW], core)
    if done.returncode:
        sys.exit(f"{row.name}: micro_smpp did not work:\n{done.stdout}{done.stderr}")
    sent, seconds, _ = done.stdout.split()
    return {"per_second": int(sent) / float(seconds), "cpu_us": cpu * 1e6 / n}


def crypto(core):
    out = subprocess.run([BUILD / "micro_crypto", "0.3"], capture_output=True, text=True, check=True, preexec_fn=child_setup({core})).stdout
    return {k: float(v) / 1000 for k, v in (line.split() for line in out.splitlines())}


PEERS = {"h2load": h2load, "smtp-source": smtp_source, "micro_smpp": micro_smpp}


def settings(table):
    return "\n".join(f"  {name_of(r)}:\n    adapter: {r.adapter}{r.channel}" for r in table if r.channel)


def measure(o, say):
    c = cores()
    if len(c) < 2:
        sys.exit("this table needs two cores: one for the engine, one for everything else")
    with Stack(engine_cores={c[0]}, other_cores={c[1]}, settings=in_flight(1000), sink_args=["--lean-ledger", "--smtp", "127.0.0.1:0", "--smpp", "127.0.0.1:0"]) as s:
        table = [r for r in rows(s) if not o.only or any(w.lower() in f"{r.name} {r.adapter}".lower() for w in o.only.split(","))]
        if not table:
            sys.exit(f"no class is called {o.only}: " + ", ".join(r.name for r in rows(s)))
        say("subscriptions of browsers")
        kept = subscriptions(s)
        s.start_redis()
        s.channels = settings(table)
        s.start_engine(s.redis_url)
        share = 0.2 if o.quick else 1
        for row in table:
            row.numbers = {"runs": [], "peer_runs": [], "crypto": []}
            if row.peer == "smtp-source" and not Path(SMTP_SOURCE).exists():
                say("SMTP without its peer: Postfix is not installed (this machine has another mail server)")
                row.peer = None
        for i in range(o.runs):
            for row in table:
                n = max(int(row.messages * share) // row.chunk, 1) * row.chunk
                if i == 0:
                    engine_run(s, row, n // 4 // row.chunk * row.chunk or row.chunk)  # warm
                    if row.adapter == "push/webpush" and not opened(kept, recorded(s, row))["body"].startswith("Hello "):
                        sys.exit("Web Push: what arrives cannot be read")
                r = engine_run(s, row, n)
                line = f"{row.name}: {r['sends_per_second']:,.0f}/s, {r['cpu_us_per_send']:.1f} us"
                row.numbers["runs"].append(r)
                if row.peer and row.exact:
                    peer = PEERS[row.peer](s, row, recorded(s, row), c[0], n)
                    row.numbers["peer_runs"].append(peer)
                    line += f"; {row.peer} {peer['per_second']:,.0f}/s, {peer['cpu_us']:.1f} us"
                if row.also:
                    row.numbers["crypto"].append(crypto(c[0]))
                    line += f"; crypto alone {row.numbers['crypto'][-1][row.also]:.1f} us"
                say(f"[{i + 1} of {o.runs}, load {os.getloadavg()[0]:.1f}] {line}")
        out = []
        for row in table:
            d = summary(row)
            rate = max(min(int(d["sends_per_second"] * 0.25), 5000), 10)
            seconds = 2 if o.quick else 5
            lat = engine_run(s, row, rate * seconds, "--rate", rate, "--window", 2000, chunk=1)
            d |= {"latency_rate_per_second": rate, "p50_us": lat["p50_us"], "p99_us": lat["p99_us"]}
            say(f"{row.name}: at {rate:,}/s p50 {lat['p50_us'] / 1000:.2f} ms, p99 {lat['p99_us'] / 1000:.2f} ms")
            out.append(d)
        return {"adapters": out}


def summary(row):
    v = row.numbers
    med = lambda key: statistics.median(r[key] for r in v["runs"])
    d = {"class": row.name, "adapter": row.adapter, "messages": int(v["runs"][0]["messages"]),
         "sends_per_second": med("sends_per_second"), "cpu_us_per_send": med("cpu_us_per_send"), "messages_per_call": round(med("per_call"), 1),
         "simulator_cpu_us_per_call": round(med("sink_us"), 2), "load_average": round(med("load"), 1),
         "runs": [r["sends_per_second"] for r in v["runs"]], "cpu_runs": [r["cpu_us_per_send"] for r in v["runs"]]}
    if v["peer_runs"]:
        peer, cpu = (statistics.median(p[k] for p in v["peer_runs"]) for k in ("per_second", "cpu_us"))
        d |= {"peer": row.peer, "peer_per_second": peer, "peer_cpu_us": round(cpu, 2), "peer_runs": [p["per_second"] for p in v["peer_runs"]]}
        if row.also:  # the peer sends one finished request: what making it costs is added
            us = {k: statistics.median(x[k] for x in v["crypto"]) for k in v["crypto"][0]}
            d |= {"crypto_alone_us": us[row.also], "crypto_hermod_us": us.get(row.also.replace("_openssl", "_hermod"), us[row.also])}
            peer, cpu = 1e6 / (1e6 / peer + us[row.also]), cpu + us[row.also]
            d |= {"peer_with_crypto_per_second": peer, "peer_with_crypto_cpu_us": round(cpu, 2)}
        d |= {"ratio": round(d["sends_per_second"] / peer, 4), "cpu_ratio": round(d["cpu_us_per_send"] / cpu, 2)}
    return d


def table(doc):
    yield ("  class                 adapter            sends/s   CPU us   a call     p50 ms   p99 ms     at/s |   peer/s   CPU us    ratio   CPU x"
           " | simulator us/call   load")
    for d in doc["adapters"]:
        peer, cpu = (d.get("peer_with_crypto_" + k, d.get("peer_" + k)) for k in ("per_second", "cpu_us"))
        yield (f"  {d['class']:<21} {d['adapter']:<15} {d['sends_per_second']:>10,.0f} {d['cpu_us_per_send']:>8.1f} {d['messages_per_call']:>8,.0f}"
               f" {d['p50_us'] / 1000:>10.2f} {d['p99_us'] / 1000:>8.2f} {d['latency_rate_per_second']:>8,} |"
               + (f" {peer:>8,.0f} {cpu:>8.1f} {d['ratio']:>8.0%} {d['cpu_ratio']:>7.1f}" if peer else f" {'-':>8} {'-':>8} {'-':>8} {'-':>7}")
               + f" | {d['simulator_cpu_us_per_call']:>17.1f} {d['load_average']:>6.1f}")
    yield "  CPU us: of the engine, of the peer, for a message; CPU x: how often the peer's the engine's is"
    for d in doc["adapters"]:
        if "crypto_alone_us" in d:
            yield (f"  {d['class']}: the peer is {d['peer']} with a finished request ({d['peer_per_second']:,.0f}/s, {d['peer_cpu_us']:.1f} us), and the"
                   f" crypto alone by OpenSSL's own interface ({d['crypto_alone_us']:.1f} us; Hermod's {d['crypto_hermod_us']:.1f})")
