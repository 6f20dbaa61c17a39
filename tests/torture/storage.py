"""Redis dies, stalls, is cut off, loses its last second; disks are full; the provider's connection breaks in the middle."""
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

from books import Books, Row, compare, drain, records
from proxy import Proxy
from traffic import Producer
from world import FINAL, SLOW, Trouble, World, wait

NO_GHOSTS = ("chunk", "single", "http", "keyed", "batch", "later", "hopeless", "late", "broken", "cancelled")


class Bench:
    """A world with its books, one campaign after the other."""

    def __init__(self, name, seed, **kw):
        self.w = World(name, seed, **kw)
        self.books = Books(self.w)
        self.seed, self.n = seed, 0

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.w.close(check=kind is None)

    def load(self, **kw):
        self.n += 1
        kw.setdefault("kinds", NO_GHOSTS)
        p = Producer(self.w, f"{self.w.name}{self.n}", f"{self.seed}/{self.w.name}/{self.n}", **kw)
        p.start()
        return p

    def settle(self, name, p, kills, seconds=45):
        p.finish()
        drain([self.w], [p], p.campaign, seconds)
        return compare(name, self.books, [self.w], [p], p.campaign, kills)


def sending(w, p, more=50):
    """Until it is seen that messages leave."""
    start = w.engine.final(p.campaign)

    def moved():
        try:
            return w.engine.final(p.campaign) >= start + more
        except OSError:
            return False
    wait(moved, 30, lambda: f"messages leave: {w.tail()}")


# -- Redis dies ---------------------------------------------------------------------------------

def redis_killed(fsync, times, seed):
    with Bench(f"redis-{fsync}", seed, redis_args=("--appendfsync", fsync)) as b:
        w = b.w
        w.start()
        p = b.load()
        for _ in range(times):
            sending(w, p)
            w.redis.kill9()
            time.sleep(w.rng.uniform(0, 0.2))
            w.redis.restart()
        sending(w, p)
        return b.settle(f"kill -9 Redis, {fsync}", p, times)


def embedded_pid(w):
    out = subprocess.run(["pgrep", "-P", str(w.pid()), "redis-server"], capture_output=True, text=True).stdout.split()
    return int(out[0]) if out else None


def embedded_killed(fsync, times, seed):
    with Bench(f"embedded-{fsync}", seed, redis=False, settings={"redis": {"appendfsync": fsync}}) as b:
        w = b.w
        w.start()
        p = b.load()
        for _ in range(times):
            sending(w, p)
            os.kill(wait(lambda: embedded_pid(w), 10, "the embedded Redis is there"), signal.SIGKILL)
        sending(w, p)
        return b.settle(f"kill -9 embedded Redis, {fsync}", p, times)


def aof_size(w):
    return sum(f.stat().st_size for f in (w.redis.dir / "appendonlydir").glob("*.incr.aof"))


def power_cut(times, seed):
    """The machine of Redis loses power with appendfsync everysec. What write(2) took and fsync did not is gone: the worst case is
    the file as it was a second before. Engine and simulator stay up. -> (row, seconds between an acceptance lost and the cut)"""
    # few at once: what is accepted waits in Redis, as behind any campaign
    slow = {"*": {"latency": {"kind": "fixed", "ms": 100}}}
    with Bench("power", seed, weather=slow, settings={"node": {"shards": 1}, "dispatch": {"max_in_flight": 40, "read_ahead": 100}, "queue": {"read_count": 5}}) as b:
        w, sizes, stop = b.w, [], threading.Event()
        w.start()

        def sample():
            while not stop.wait(0.02):
                try:
                    sizes.append((time.monotonic(), aof_size(w)))
                except OSError:
                    pass
        threading.Thread(target=sample, daemon=True).start()
        row, oldest, cuts = Row("power cut of Redis, everysec"), 0.0, []
        for _ in range(times):
            p = b.load(kinds=("chunk", "single", "http"))
            sending(w, p, 200)
            wait(lambda: sizes and sizes[-1][0] - sizes[0][0] > 1.2, 10, "a second of load")
            w.redis.kill9()
            at = time.monotonic()
            p.done.set()
            size = max(s for t, s in sizes if t <= at - 1.0)
            file = next((w.redis.dir / "appendonlydir").glob("*.incr.aof"))
            os.truncate(file, size)
            sizes.clear()
            w.redis.restart()
            p.finish()
            wait(lambda: w.is_ready() and w.queued() == 0, 30, "the queues are empty")
            quiet(w, p.campaign)
            found, before = records([w], p.campaign), set(p.accepted)
            gone = {id for id in before if not any(m["state"] in FINAL for m in found.get(id, ()))}
            for id in gone:
                oldest = max(oldest, at - p.accepted[id][1])
                del p.accepted[id]
            row.add(compare(row.name, b.books, [w], [p], p.campaign, 1, forgotten=True))
            cuts.append(f"{len(gone)} of {len(before)}")
        stop.set()
        row.note = f"acceptances lost: {', '.join(cuts)}; the oldest {oldest:.2f} s before the cut"
        if oldest > 1.3:
            row.wrong.append(f"an acceptance {oldest:.2f} s before the cut is lost")
        return row


def quiet(w, campaign):
    """Nothing changes any more."""
    last, since = None, time.monotonic()
    end = time.monotonic() + 30 * SLOW
    while time.monotonic() < end:
        now = str(w.report(campaign))
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > 0.8:
            return
        time.sleep(0.05)
    raise Trouble(f"{campaign} never comes to rest: {last}")


# -- Redis stalls or is cut off -----------------------------------------------------------------

def redis_stopped(times, seconds, seed):
    with Bench("stall", seed, settings={"redis": {"command_timeout": "700ms", "connect_timeout": "700ms"}, "queue": {"block": "200ms"}}) as b:
        w = b.w
        w.start()
        p = b.load(pace=0.01)
        for _ in range(times):
            sending(w, p)
            w.redis.p.send_signal(signal.SIGSTOP)
            time.sleep(seconds)  # the stall is what is tested
            w.redis.p.send_signal(signal.SIGCONT)
        sending(w, p)
        return b.settle(f"Redis stopped for {seconds} s", p, times)


def redis_cut(times, seed):
    with Bench("cut", seed) as b:
        w = b.w
        proxy = Proxy(str(w.redis.socket), seed)
        w.file.write_text(w.file.read_text().replace(w.redis.url, f"redis://127.0.0.1:{proxy.port}"))
        try:
            w.start()
            p = b.load()
            for i in range(times):
                sending(w, p, 20)
                before = proxy.cuts
                if i % 4 == 3:  # carries nothing for a moment, then cuts
                    proxy.open.clear()
                    time.sleep(0.2)
                    proxy.cut()
                    proxy.open.set()
                else:  # in the middle of a command or of an answer
                    proxy.cut_in = w.rng.randrange(20000)
                    wait(lambda: proxy.cuts > before, 20, "the connection is cut")
            sending(w, p)
            return b.settle("connection to Redis cut", p, times)
        finally:
            proxy.close()


# -- disks ----------------------------------------------------------------------------------------

class SmallDisk:
    """A tmpfs that is filled and freed; None of it where mounting is not allowed."""

    def __init__(self, path, mib):
        self.path, self.mib = Path(path), mib
        self.path.mkdir(parents=True, exist_ok=True)

    def __enter__(self):
        r = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.mib}m", "torture", self.path], capture_output=True)
        self.mounted = r.returncode == 0
        return self

    def __exit__(self, *exc):
        if self.mounted:
            subprocess.run(["umount", "-l", self.path], check=True)

    def fill(self):
        with open(self.path / "filler", "wb", buffering=0) as f:
            block = b"x" * 65536
            while block:
                try:
                    f.write(block)
                except OSError:
                    block = block[:len(block) // 2]

    def free(self):
        (self.path / "filler").unlink()


def ledger_disk_full(times, seed):
    with Bench("disk", seed) as b:
        w = b.w
        with SmallDisk(w.folder / "data", 24) as disk:
            name = "ledger's disk full" if disk.mounted else "ledger cannot be written (fault)"
            try:
                if not disk.mounted:
                    w.start(faults="ledger_before_write:fail@5")
                    p = b.load()
                    sending(w, p, 300)
                    return b.settle(name, p, 0)
                w.start()
                p = b.load()
                for _ in range(times):
                    sending(w, p)
                    disk.fill()
                    wait(lambda: w.engine.log().count("cannot write") > 0, 20, lambda: f"the log says so: {w.tail()}")
                    time.sleep(0.3)
                    if w.rng.random() < 0.5:
                        w.kill()
                        disk.free()
                        w.start()
                    else:
                        disk.free()
                sending(w, p)
                row = b.settle(name, p, w.kills)
                w.stop()
                return row
            finally:
                if w.engine and w.engine.alive():
                    w.engine.kill9()


def redis_disk_full(times, seed):
    """everysec: Redis refuses writes until there is room. What was accepted stays."""
    with Bench("aof", seed) as b:
        w = b.w
        with SmallDisk(w.dir / "small", 16) as disk:
            if not disk.mounted:
                row = Row("Redis' disk full")
                row.note = "not run: mounting a small disk is not allowed here"
                return row
            w.redis.stop()
            w.redis.dir = disk.path
            w.redis.restart()
            try:
                w.start()
                p = b.load()
                for _ in range(times):
                    sending(w, p)
                    disk.fill()
                    wait(lambda: w.redis.client.info("persistence")["aof_last_write_status"] == "err", 20, "Redis cannot write")
                    time.sleep(0.3)
                    disk.free()
                    wait(lambda: w.redis.client.info("persistence")["aof_last_write_status"] == "ok", 20, "Redis can write again")
                sending(w, p)
                return b.settle("Redis' disk full", p, 0)
            finally:
                if w.engine and w.engine.alive():
                    w.stop()
                w.redis.stop()
                w.redis.dir = w.dir / "redis"


# -- the provider's connection ----------------------------------------------------------------------

BREAKS = {"*": {"latency": {"kind": "uniform", "min_ms": 1, "max_ms": 10},
                "mix": [{"percent": 0.15, "fault": f, "accept": a} for f in ("close", "reset", "truncate") for a in (True, False)]}}


def provider_cut(seconds, seed):
    """Cut in the middle of requests and of answers, by the provider and by the network between."""
    with Bench("provider", seed, weather=BREAKS) as b:
        w = b.w
        proxy = Proxy(("127.0.0.1", int(w.sink.tls_listen)), seed)
        w.file.write_text(w.file.read_text().replace(w.sink.tls_url, f"https://localhost:{proxy.port}"))
        try:
            w.start()
            p = b.load()
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                before = proxy.cuts
                proxy.cut_in = w.rng.randrange(60000)
                wait(lambda: proxy.cuts > before, 30, "the connection is cut")
                time.sleep(0.05)
            row = b.settle("provider cut mid-request", p, 0)
            row.note = f"{proxy.cuts} cuts"
            return row
        finally:
            proxy.close()
