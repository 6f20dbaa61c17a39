"""./dev bench lanes: critical messages while a backlog of bulk drains at full speed.

A probe submits critical messages at a fixed rate, open loop, before, during and after the flood; the simulator stamps each with the clock of
the machine when it decides its answer. Beside it, at the same rate, the probe sends the same kind of request straight to the simulator: that is the
simulator's own latency, under the same load. Method and figures: bench/README.md.
"""
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

from stack import BUILD, ROOT, Stack, child_setup, cores

PREFIX = "c0de"  # device tokens of the probe; those of the load begin with 0
DIRECT = "c0dedd"
VIA = {"xadd": "c0deaa", "http": "c0debb"}
PARTITIONS = 16
PLOT = ROOT / "bench" / "lanes.svg"


# -- the probe: a process of its own (python3 lanes.py probe ...) --------------------------------------------------

def token(kind, i):
    return f"{kind}{i:0{64 - len(kind)}x}"


class Direct:
    """The same request as the engine's, over a connection of its own, by HTTP/1.1."""

    def __init__(self, port, ca, bearer):
        self.addr, self.ca, self.bearer, self.sock = ("127.0.0.1", port), ca, bearer, None
        self.body = json.dumps({"aps": {"alert": {"title": "Your code", "body": "Your code is 123456"}}}, separators=(",", ":")).encode()

    def send(self, i):
        if self.sock is None:
            raw = socket.create_connection(self.addr)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sock = ssl.create_default_context(cafile=self.ca).wrap_socket(raw, server_hostname="127.0.0.1")
            threading.Thread(target=self.swallow, args=(self.sock,), daemon=True).start()
        head = (f"POST /3/device/{token(DIRECT, i)} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: bearer {self.bearer}\r\napns-topic: com.example.app\r\n"
                f"apns-push-type: alert\r\ncontent-type: application/json\r\ncontent-length: {len(self.body)}\r\n\r\n")
        self.sock.sendall(head.encode() + self.body)

    @staticmethod
    def swallow(sock):
        while sock.recv(65536):
            pass


class Xadd:
    def __init__(self, path):
        import msgpack
        import redis
        self.pack, self.client = msgpack.packb, redis.Redis(unix_socket_path=path)
        self.client.ping()

    def send(self, i):
        self.client.xadd(f"{{hm:{i % PARTITIONS}}}:q:critical", {"j": self.pack({
            "channel": "apns-sink", "to": token(VIA["xadd"], i), "campaign": "probe", "content": {"title": "Your code", "body": "Your code is 123456"}})})


class Post:
    """POST /v1/messages, answers read behind."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=Direct.swallow, args=(self.sock,), daemon=True).start()

    def send(self, i):
        body = json.dumps({"lane": "critical", "channel": "apns-sink", "to": token(VIA["http"], i), "campaign": "probe",
                           "content": {"title": "Your code", "body": "Your code is 123456"}}).encode()
        self.sock.sendall(b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


def probe(argv):
    """Open loop: message i is due at start + i / rate, whatever became of those before it. Written at the end: [kind, i, due, sent, taken] of each, in us;
    taken: XADD was answered, or the request was in the socket's buffer."""
    o = json.loads(argv[0])
    ways = {"xadd": Xadd(o["redis"]), DIRECT: Direct(o["sink"], o["ca"], o["bearer"])}
    if o["http_rate"]:
        ways["http"] = Post(o["http"])
    rates = {"xadd": o["rate"], DIRECT: o["rate"], "http": o["http_rate"]}
    start = time.monotonic_ns() // 1000 + 20000
    done, stop, threads = [], threading.Event(), []

    def run(kind, first):
        try:  # a load generator that waits for a processor would measure the scheduler
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
        except PermissionError:
            print("the probe may not use real-time scheduling: its own delays count too", file=sys.stderr)
        i = 0
        while not stop.is_set():
            at = first + i * 1_000_000 // rates[kind]
            now = time.monotonic_ns() // 1000
            if now < at:
                time.sleep((at - now) / 1e6)
                now = time.monotonic_ns() // 1000
            ways[kind].send(i)
            done.append((kind, i, at, now, time.monotonic_ns() // 1000))
            i += 1

    for j, kind in enumerate(ways):  # a thread for each, so that none waits for another; not all due in the same moment
        threads.append(threading.Thread(target=run, args=(kind, start + j * 1000)))
        threads[-1].start()
    sys.stdin.read()
    stop.set()
    for t in threads:
        t.join()
    json.dump(done, sys.stdout)


# -- the measurement ---------------------------------------------------------------------------------------------

def say(*a):
    print(*a, file=sys.stderr, flush=True)


def percentile(v, p):
    v = sorted(v)
    return v[min(len(v) - 1, int(len(v) * p / 100))] if v else None


def summary(v):
    return {"n": len(v), "p50_us": percentile(v, 50), "p90_us": percentile(v, 90), "p99_us": percentile(v, 99), "p999_us": percentile(v, 99.9),
            "max_us": max(v, default=None)}


def bearer(keys):
    import jwt
    return jwt.encode({"iss": "DEF123GHIJ", "iat": int(time.time())}, (keys / "apns.p8").read_text(), algorithm="ES256", headers={"kid": "ABC123DEFG"})


def arrivals(stack):
    """Moment of arrival of every request of the probe, by device token."""
    got = json.loads(stack.control("GET", f"/control/requests?n=1000000&path=/3/device/{PREFIX}"))
    at = {}
    for r in got:
        if r["status"] != 200:
            sys.exit(f"the simulator refused a request of the probe: {r}")
        at.setdefault(r["path"].rsplit("/", 1)[1], r["mono_us"])
    return at


def final(stack, campaign):
    code, body = stack.get(f"/v1/report?campaign={campaign}")
    if code != 200:
        return 0
    r = json.loads(body)
    return sum(r[s] for s in ("sent", "failed", "suppressed", "capped", "expired", "cancelled"))


def measure(o):
    c = cores()
    if len(c) < 2:
        sys.exit("this needs two cores: one for the engine, one for everything else")
    first, second = {c[0]}, {c[1]}
    settings = f"dispatch: {{max_in_flight: {o.in_flight}}}" if o.in_flight else ""
    with Stack(engine_cores=first, other_cores=second, settings=settings,
               sink_args=["--lean-ledger", "--keep-requests", 100000, "--keep-path", f"/3/device/{PREFIX}", "--keep-body", "1KiB"]) as s:
        s.start_redis()
        import redis
        r = redis.Redis(unix_socket_path=str(s.redis_socket))
        # A fork of a Redis that holds all of the backlog stops it for tens of milliseconds: not what is measured here.
        r.config_set("auto-aof-rewrite-percentage", 0)
        s.start_engine(s.redis_url)
        s.bench("--messages", 50_000, "--chunk", o.chunk, "--mix", "apns=apns-sink", quiet=True)
        say(f"backlog: {o.messages:,} messages in entries of {o.chunk}, beside the queues")
        subprocess.run([str(BUILD / "hermod-bench"), "--redis", s.redis_url, "--http", f"http://127.0.0.1:{s.port}", "--prefix", "held", "--no-wait", "--quiet",
                        "--messages", str(o.messages), "--chunk", str(o.chunk), "--lane", "bulk", "--campaign", "flood", "--mix", "apns=apns-sink"],
                       stdout=subprocess.DEVNULL, check=True, preexec_fn=child_setup(None))
        s.control("POST", "/control/reset")
        spec = {"redis": str(s.redis_socket), "sink": s.ports["tls_listen"], "ca": s.ca, "bearer": bearer(s.keys), "http": s.port, "rate": o.rate,
                "http_rate": o.http_rate}
        p = subprocess.Popen([sys.executable, __file__, "probe", json.dumps(spec)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=child_setup(second))
        say(f"before: {o.quiet_seconds} s of critical messages alone")
        time.sleep(o.quiet_seconds)
        say("during: the backlog drains")
        cpu, flood = s.cpu(), time.monotonic_ns() // 1000
        for i in range(PARTITIONS):
            if r.exists(f"{{held:{i}}}:q:bulk"):
                r.rename(f"{{held:{i}}}:q:bulk", f"{{hm:{i}}}:q:bulk")
        moved = last = time.monotonic()
        done = 0
        while done < o.messages:
            time.sleep(0.2)
            n = final(s, "flood")
            if n > done:
                done, moved = n, time.monotonic()
            if time.monotonic() - moved > 60:
                sys.exit(f"the backlog stands still at {done:,} of {o.messages:,}")
            if time.monotonic() - last > 10:
                last = time.monotonic()
                say(f"  {done:,} of {o.messages:,}")
        ebb, cpu = time.monotonic_ns() // 1000, s.cpu() - cpu
        say(f"after: {o.quiet_seconds} s")
        time.sleep(o.quiet_seconds)
        p.stdin.close()
        sent = json.loads(p.stdout.read())
        p.wait(30)
        want = len([x for x in sent if x[0] != DIRECT])
        end = time.monotonic() + 20
        while final(s, "probe") < want and time.monotonic() < end:
            time.sleep(0.1)
        at = arrivals(s)
    return evaluate(o, sent, at, flood, ebb, cpu)


def evaluate(o, sent, at, flood, ebb, cpu):
    parts = {"before": (0, flood), "during": (flood, ebb), "after": (ebb, float("inf"))}
    kinds = {"critical": "xadd", "http": "http", "sink": DIRECT}
    doc, points, lost = {}, {}, 0
    for name, kind in kinds.items():
        rows = []
        for k, i, due, went, taken in sent:
            if k != kind:
                continue
            arrived = at.get(token(VIA.get(kind, kind), i))
            if arrived is None:
                lost += 1
                continue
            rows.append((due, arrived - due, arrived - went, arrived - taken))
        if not rows:
            continue
        points[name] = [(due - flood, lat) for due, lat, *_ in rows]
        # Counted from when it was due, so that a probe that was held up counts; as sent, for comparison.
        doc[name] = {part: {**summary([lat for due, lat, *_ in rows if a <= due < b]),
                            "p99_from_sent_us": percentile([r[2] for r in rows if a <= r[0] < b], 99),
                            "p50_from_taken_us": percentile([r[3] for r in rows if a <= r[0] < b], 50),
                            "p99_from_taken_us": percentile([r[3] for r in rows if a <= r[0] < b], 99)} for part, (a, b) in parts.items()}
    if lost:
        sys.exit(f"{lost} messages of the probe never reached the simulator")
    over = {part: doc["critical"][part]["p99_us"] - doc["sink"][part]["p99_us"] for part in parts}
    return {"lanes": {"messages": o.messages, "chunk": o.chunk, "rate_per_second": o.rate, "http_rate_per_second": o.http_rate,
                      "max_in_flight": o.in_flight or 10000, "flood_seconds": round((ebb - flood) / 1e6, 2),
                      "flood_per_second": round(o.messages / ((ebb - flood) / 1e6)), "cpu_us_per_send": round(cpu * 1e6 / o.messages, 2),
                      "p99_over_sink_us": over, **doc}}, (points, (ebb - flood) / 1e6)


def plot(points, ebb, doc, path=PLOT):
    import matplotlib
    matplotlib.use("svg")
    import matplotlib.pyplot as plt
    matplotlib.rcParams["svg.hashsalt"] = "lanes"
    fig, ax = plt.subplots(figsize=(10, 4.6), layout="constrained")
    ax.axvspan(0, ebb, color="#f1f1f1", zorder=0)
    for name, label, colour in (("sink", "simulator alone (direct)", "#8d99ae"), ("http", "critical, HTTP", "#2a9d8f"), ("critical", "critical, XADD", "#d62828")):
        if name not in points:
            continue
        bins = {}
        for t, lat in points[name]:
            bins.setdefault(int(t // 250_000), []).append(lat)
        x = sorted(bins)
        ax.plot([(b + 0.5) / 4 for b in x], [percentile(bins[b], 50) / 1000 for b in x], color=colour, lw=1.2, label=f"{label}: median of 250 ms")
        ax.plot([(b + 0.5) / 4 for b in x], [max(bins[b]) / 1000 for b in x], color=colour, lw=0.6, ls=":", label=f"{label}: slowest of 250 ms")
    ax.axhline(10, color="black", lw=0.6)
    ax.set_yscale("log")
    ax.set_xlabel(f"seconds since the flood began (grey: {doc['messages']:,} bulk messages at {doc['flood_per_second']:,}/s)")
    ax.set_ylabel("due to arrival at the provider, ms")
    ax.set_title(f"critical at {doc['rate_per_second']}/s while bulk drains: p99 {doc['critical']['during']['p99_us'] / 1000:.2f} ms, "
                 f"the simulator alone {doc['sink']['during']['p99_us'] / 1000:.2f} ms")
    ax.legend(fontsize=7, ncols=3, loc="upper left")
    fig.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(fig)


def table(doc):
    d = doc["lanes"]
    yield f"  {d['messages']:,} bulk messages in {d['flood_seconds']:.1f} s: {d['flood_per_second']:,}/s, {d['cpu_us_per_send']:.2f} us CPU each"
    yield ""
    yield f"  {'ms from due to arrival':<34}{'n':>8}{'p50':>9}{'p90':>9}{'p99':>9}{'p99.9':>9}{'max':>9}"
    for name, label in (("critical", "critical by XADD"), ("http", "critical by HTTP"), ("sink", "simulator alone")):
        for part in ("before", "during", "after"):
            x = d.get(name, {}).get(part)
            if x and x["n"]:
                yield f"  {label + ', ' + part:<34}{x['n']:>8}" + "".join(f"{x[k] / 1000:>9.2f}" for k in ("p50_us", "p90_us", "p99_us", "p999_us", "max_us"))
    yield ""
    yield "  p99 over the simulator's own: " + ", ".join(f"{part} {us / 1000:.2f} ms" for part, us in d["p99_over_sink_us"].items())


if __name__ == "__main__":
    if sys.argv[1:2] == ["probe"]:
        probe(sys.argv[2:])
