"""./dev bench: the standard set, each part beside its peer in the same run.

send: against h2load, with the same simulator. The engine runs on the first core, Redis, the simulator and the load generator on the second; h2load runs on
the first core too, with the engine stopped.
render: templates rendered, against FreeMarker on a warm JVM.
adapters: one real adapter of each class, beside h2load and others. Method and figures: bench/README.md.
"""
import argparse
import json
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import adapters  # noqa: E402
import lanes  # noqa: E402
import render  # noqa: E402
from stack import BUILD, ROOT, Stack, cores  # noqa: E402


def say(*a):
    print(*a, file=sys.stderr, flush=True)


def machine():
    model = next((l.split(":", 1)[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return {"cpu": model, "cores": len(cores()), "kernel": platform.release(), "commit": commit, "date": time.strftime("%Y-%m-%d")}


def h2load(stack, core, seconds, connections=8, streams=100, paths=100_000):
    """The same requests: unique device paths, bearer header, a body of the same size."""
    import jwt
    token = jwt.encode({"iss": "DEF123GHIJ", "iat": int(time.time())}, (stack.keys / "apns.p8").read_text(), algorithm="ES256",
                       headers={"kid": "ABC123DEFG"})
    uris = stack.dir / "uris"
    with open(uris, "w") as f:
        for i in range(paths):
            f.write(f"{stack.url}/3/device/0{i:063x}\n")
    body = stack.dir / "body.json"
    body.write_text(json.dumps({"aps": {"alert": {"title": "Your order", "body":
                    "Hello Maria Rossi, order 100000 has left our warehouse and arrives on Friday."}}}, separators=(",", ":")))
    argv = ["taskset", "-c", str(core), "h2load", "-D", str(seconds), "--warm-up-time", "1", "-c", str(connections), "-m", str(streams), "-t", "1",
            "-i", str(uris), "-d", str(body), "-H", f"authorization: bearer {token}", "-H", "apns-topic: com.example.app",
            "-H", "apns-push-type: alert", "-H", "apns-priority: 10", "-H", "content-type: application/json"]
    out = subprocess.run(argv, capture_output=True, text=True).stdout
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", out)
    ok = re.search(r"(\d+) 2xx", out)
    if not rate or not ok or int(ok.group(1)) == 0:
        sys.exit("h2load did not work:\n" + out)
    return float(rate.group(1))


def send(o):
    c = cores()
    if len(c) < 2:
        sys.exit("the standard set needs two cores: one for the engine, one for everything else")
    first, second = {c[0]}, {c[1]}
    # A provider that answers within milliseconds needs no more in flight, and what is in flight then fits the caches.
    with Stack(engine_cores=first, other_cores=second, settings="dispatch: {max_in_flight: 1000}", sink_args=["--lean-ledger"]) as s:
        say("h2load, same requests, same core, same simulator")
        peer = [h2load(s, c[0], 4) for _ in range(o.runs)]
        say("  " + "  ".join(f"{x:,.0f}/s" for x in peer))
        s.start_redis()
        s.start_engine(s.redis_url)
        say("warm-up")
        s.bench("--messages", 100_000, "--chunk", o.chunk, "--mix", "apns=apns-sink", quiet=True)
        runs = []
        for i in range(o.runs):
            s.control("POST", "/control/reset")
            say(f"throughput run {i + 1} of {o.runs}: {o.messages:,} messages through Redis, TLS, templates and the ledger")
            r = s.bench("--messages", o.messages, "--chunk", o.chunk, "--mix", "apns=apns-sink", quiet=o.json)
            led = s.ledger()
            if r["sent"] != o.messages or led["unique"] != o.messages:
                sys.exit(f"the books do not agree: {r} against {led}")
            say(f"  {r['sends_per_second']:,.0f}/s")
            runs.append(r)
        best = sorted(runs, key=lambda r: r["sends_per_second"])[len(runs) // 2]
        rate = int(best["sends_per_second"] * 0.5)
        rate_single = min(rate, 10_000)
        say(f"latency at {rate_single:,}/s, single messages")
        lat = s.bench("--messages", rate_single * 8, "--chunk", 1, "--rate", rate_single, "--window", 2000, "--mix", "apns=apns-sink", quiet=o.json)
        peer_rate = sorted(peer)[len(peer) // 2]
        return {
            "messages": o.messages, "chunk": o.chunk,
            "sends_per_minute": best["sends_per_minute"], "sends_per_second": best["sends_per_second"],
            "h2load_requests_per_second": peer_rate, "h2load_ratio": round(best["sends_per_second"] / peer_rate, 4),
            "p50_us": lat["p50_us"], "p90_us": lat["p90_us"], "p99_us": lat["p99_us"], "p999_us": lat["p999_us"],
            "latency_rate_per_second": rate_single,
            "cpu_us_per_send": best["cpu_us_per_send"], "rss_bytes": best["rss_bytes"],
            "runs": [r["sends_per_second"] for r in runs], "h2load_runs": peer,
            "failed": best["failed"], "unknown_attempts": best["unknown_attempts"],
        }


def send_table(doc):
    rows = [("sends/min", f"{doc['sends_per_minute']:,.0f}"), ("sends/s", f"{doc['sends_per_second']:,.0f}"),
            ("h2load requests/s, same core", f"{doc['h2load_requests_per_second']:,.0f}"), ("ratio", f"{doc['h2load_ratio']:.1%}"),
            (f"enqueue -> accepted at {doc['latency_rate_per_second']:,}/s, p50", f"{doc['p50_us'] / 1000:.2f} ms"),
            ("p99", f"{doc['p99_us'] / 1000:.2f} ms"), ("p99.9", f"{doc['p999_us'] / 1000:.2f} ms"),
            ("CPU per send", f"{doc['cpu_us_per_send']:.2f} us"), ("memory", f"{doc['rss_bytes'] / 2**20:.1f} MiB")]
    for k, v in rows:
        yield f"  {k:<48} {v:>14}"


def main():
    p = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    p.add_argument("part", nargs="?", choices=["send", "render", "lanes", "adapters"],
                   help="only this part; send and render when left out")
    p.add_argument("--json", action="store_true", help="one JSON document on stdout")
    p.add_argument("--messages", type=int, help="messages of the throughput run (2,000,000), of the flood (5,000,000)")
    p.add_argument("--chunk", type=int, default=500, help="recipients per queue entry")
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--quick", action="store_true", help="lanes: a flood of 500,000; adapters: a fifth of the messages")
    p.add_argument("--only", help="adapters: these classes (words, divided by commas)")
    p.add_argument("--rate", type=int, default=200, help="lanes: critical messages per second")
    p.add_argument("--http-rate", type=int, default=50, help="lanes: as many again over HTTP; 0: none")
    p.add_argument("--in-flight", type=int, default=1000, help="lanes: dispatch.max_in_flight; 0: its default")
    p.add_argument("--quiet-seconds", type=float, default=5, help="lanes: before and after the flood")
    p.add_argument("--plot", help="lanes: where the picture goes (bench/lanes.svg; --quick draws none unless told)")
    o = p.parse_args()
    doc = {"machine": machine()}
    if o.messages is None:
        o.messages = 2_000_000 if o.part != "lanes" else 500_000 if o.quick else 5_000_000
    if o.part == "lanes":
        d, points = lanes.measure(o)
        doc.update(d)
        if o.plot or not o.quick:
            lanes.plot(*points, d["lanes"], o.plot or lanes.PLOT)
        print(json.dumps(doc, indent=1) if o.json else "\n".join(["", *lanes.table(doc)]))
        return
    if o.part == "adapters":
        doc.update(adapters.measure(o, say))
        print(json.dumps(doc, indent=1) if o.json else "\n".join(["", f"{doc['machine']['cpu']}; {doc['machine']['date']}, commit {doc['machine']['commit']}", "",
                                                                 *adapters.table(doc)]))
        return
    if o.part != "render":
        doc.update(send(o))
    if o.part != "send":
        doc["render"] = render.measure(BUILD, runs=o.runs, say=say)
    if o.json:
        print(json.dumps(doc, indent=1))
        return
    m = doc["machine"]
    print(f"\n{m['cpu']}; {m['date']}, commit {m['commit']}")
    if "runs" in doc:
        print("\nsend: engine on one core, Redis + simulator + load on another\n", *send_table(doc), sep="\n")
    if "render" in doc:
        print("\nrender: one thread, beside FreeMarker on a warm JVM\n", *render.table(doc["render"]), sep="\n")


if __name__ == "__main__":
    main()
