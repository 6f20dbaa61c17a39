"""The render table: micro_render beside FreeMarker on a warm JVM, one thread each, taking turns in the same run.

Both programs read "NAME SECONDS" lines and answer with one line each; while one measures, the other waits for input.
"""
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
JAR = Path("/usr/share/java/freemarker.jar")
NAMES = ("a", "b", "c")
# Of the collectors none is clearly fastest here (within 5 %); this one takes least of the other core. The heap is large, so that it seldom collects.
JAVA = ["java", "-XX:+UseParallelGC", "-Xms1g", "-Xmx1g", "-Xmn768m"]


class Player:
    def __init__(self, argv):
        self.p = subprocess.Popen([str(a) for a in argv] + [str(ROOT / "bench" / "templates")], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True, bufsize=1)

    def run(self, name, seconds):
        self.p.stdin.write(f"{name} {seconds}\n")
        line = self.p.stdout.readline().split()
        if len(line) != 7 or line[0] != name:
            sys.exit(f"{self.p.args[0]} failed at template {name}")
        renders, ns, cpu_ns, bytes_, memory, allocations = map(int, line[1:])
        return {"renders_per_second": renders / ns * 1e9, "ns_per_render": ns / renders, "cpu_ns_per_render": cpu_ns / renders,
                "bytes": bytes_, "memory": memory, "allocations": allocations}

    def close(self):
        self.p.stdin.close()
        if self.p.wait(timeout=30):
            sys.exit(f"{self.p.args[0]} failed")


def compiled(build):
    """The peer's classes, made by javac when the source is newer."""
    source, out = ROOT / "bench" / "micro" / "render_freemarker" / "Render.java", build / "render_freemarker"
    if not (out / "Render.class").exists() or (out / "Render.class").stat().st_mtime < source.stat().st_mtime:
        out.mkdir(parents=True, exist_ok=True)
        subprocess.run(["javac", "-cp", JAR, "-d", out, source], check=True)
    return out


def measure(build, seconds=2.0, runs=3, warm=5.0, say=lambda *a: None):
    """{name: {hermod, freemarker, ratio, ...}}; runs alternate between the two."""
    classes = compiled(build)
    doc = {}
    for name in NAMES:
        ours = Player([build / "micro_render"])
        peer = Player([*JAVA, "-cp", f"{JAR}{os.pathsep}{classes}", "Render"])  # a JVM that knows this template only: its best case
        say(f"render {name}: {runs} runs of {seconds:g} s each, in turns; FreeMarker warms up {warm:g} s")
        peer.run(name, warm)
        ours.run(name, 0.5)
        got = [(ours.run(name, seconds), peer.run(name, seconds)) for _ in range(runs)]
        median = [statistics.median(r[i]["renders_per_second"] for r in got) for i in (0, 1)]
        best = [max(r[i]["renders_per_second"] for r in got) for i in (0, 1)]
        first = got[0][0]
        doc[name] = {
            "output_bytes": first["bytes"],
            "hermod_renders_per_second": median[0], "hermod_ns": 1e9 / median[0],
            "freemarker_renders_per_second": median[1], "freemarker_ns": 1e9 / median[1],
            "ratio": median[0] / median[1], "ratio_of_best": best[0] / best[1],
            "hermod_output_mb_per_second": median[0] * first["bytes"] / 1e6,
            "hermod_arena_bytes": first["memory"], "freemarker_heap_bytes": got[-1][1]["memory"],
            "hermod_allocations": sum(r[0]["allocations"] for r in got),
            "cpu_ratio": min(r[1]["cpu_ns_per_render"] for r in got) / min(r[0]["cpu_ns_per_render"] for r in got),
            "hermod_runs": [r[0]["renders_per_second"] for r in got], "freemarker_runs": [r[1]["renders_per_second"] for r in got],
        }
        if doc[name]["hermod_allocations"]:
            sys.exit(f"render {name}: the timed loop allocated memory {doc[name]['hermod_allocations']} times")
        ours.close()
        peer.close()
    return doc


def table(doc):
    yield "  template    Hermod/s       ns     MB/s   FreeMarker/s       ns   ratio   of best   text B   arena B   (FM heap B)   allocations"
    for name, d in doc.items():
        yield (f"  {name:<8} {d['hermod_renders_per_second']:>11,.0f} {d['hermod_ns']:>8,.0f} {d['hermod_output_mb_per_second']:>8,.0f}"
               f" {d['freemarker_renders_per_second']:>14,.0f} {d['freemarker_ns']:>8,.0f} {d['ratio']:>6.1f}x {d['ratio_of_best']:>8.1f}x"
               f" {d['output_bytes']:>8,} {d['hermod_arena_bytes']:>9,} {d['freemarker_heap_bytes']:>13,} {d['hermod_allocations']:>13}")
