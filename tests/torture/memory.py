"""Allocations that fail, one at a time; and a steady rate for a long time."""
import re
import statistics
import time

from books import Books, Row, compare, drain
from traffic import Producer
from world import BROKEN, FINE, SLOW, Trouble, World

FIRED = re.compile(r"^fault: alloc fails, hit (\d+)", re.M)


class OneLife:
    """Starts an engine whose nth allocation fails, and gives it one message of each kind."""

    def __init__(self, name, seed):
        self.w = World(name, seed, settings={"node": {"shards": 1}})
        self.books, self.n, self.seed = Books(self.w), 0, seed
        self.row = Row("allocation fails")
        self.fell = []  # (n, what it said)

    def run(self, nth):
        """-> "start" (failed before it was up), "life" or "never" (so many allocations there are not)"""
        w = self.w
        self.n += 1
        at = len(w.tail(1 << 30)) if w.engine else 0
        w.start(faults=f"alloc:fail@{nth}", wait_ready=False)
        while w.engine.alive() and not w.is_ready():
            time.sleep(0.01)
        said = w.engine.log()[at:]
        if not w.engine.alive():
            if not FIRED.search(said) or w.engine.p.returncode not in (1, 2):
                raise Trouble(f"alloc@{nth}: ended with {w.engine.p.returncode}: {said[-800:]}")
            return "start"
        early = FIRED.search(said) is not None
        p = Producer(w, f"life{self.n}", f"{self.seed}/{self.n}", pace=0)
        for channel in ("push", "hook", "corp", "parts", "both"):
            p.xadd(1, channel=channel)
        p.xadd(3, channel="push")
        p.xadd(1, channel="once", at=int(time.time() * 1000) + 30)
        for send in (p.send_http, p.send_keyed, p.send_batch, p.send_broken):
            send()
        p.start()
        p.done.set()
        try:
            p.finish()
            drain([w], [p], p.campaign, 8)
            self.row.add(compare("", self.books, [w], [p], p.campaign, 0, verify=False))
            w.stop()
        except Trouble as e:
            said = w.engine.log()[at:]
            self.fell.append((nth, said[said.index("panic:"):][:900] if "panic:" in said else str(e)[:600]))
            if w.engine.alive():
                w.engine.kill9()
            w.start()  # without the fault it must come right
            drain([w], [p], p.campaign, 20)
            self.row.add(compare("", self.books, [w], [p], p.campaign, 1, verify=False))
            w.stop()
        said = w.engine.log()[at:]
        return "start" if early else "life" if FIRED.search(said) else "never"


def alloc_sweep(seed, most=None, share=(0, 1), say=None):
    """share: (which, of how many) for several at a time"""
    life = OneLife(f"alloc{share[0]}", seed)
    row, good = life.row, False
    try:
        low, high = 0, 64
        while life.run(high) == "start":
            low, high = high, high * 2
        while high - low > 4:
            middle = (low + high) // 2
            low, high = (middle, high) if life.run(middle) == "start" else (low, middle)
        first = high
        end = first
        step = 64
        while life.run(end + step) != "never":
            end += step
        total = end + step - first
        stride = max(1, total // most) if most else 1
        done = [n for n in range(first + share[0] * stride, end + step, stride * share[1])]
        for i, n in enumerate(done):
            life.run(n)
            if i % 20 == 19:
                say and say(f"alloc: {i + 1} of {len(done)}, {len(life.fell)} fell")
        row.note = f"{life.n} runs, allocations {first} to {end + step}" + (f", every {stride}th" if stride > 1 else "")
        stuck = [n for n, what in life.fell if "panic:" not in what]  # came right after a restart, or this row says `lost`
        if stuck:
            row.note += f"; {len(stuck)} needed a restart"
        row.wrong += [f"alloc@{n}: {what}" for n, what in life.fell if n not in stuck or most is None]
        good = True
    finally:
        life.w.close(good, [w for w in BROKEN if "panic" not in w.lower()])  # those are in `fell`
    return row


def soak(seconds, seed, pace=0.01, say=None):
    w = World("soak", seed, weather=FINE, settings={"ledger": {"ttl": "1m"}})
    good, row = False, None
    try:
        books = Books(w)
        w.start()
        samples = []
        p = Producer(w, "soak", seed, pace=pace, kinds=("chunk", "single", "http", "later"), max_chunk=20)
        p.start()
        started = time.monotonic()
        copies = 0
        while time.monotonic() - started < seconds:
            time.sleep(0.5)
            samples.append((time.monotonic() - started, w.memory_mib(), w.descriptors()))
            if len(samples) % 60 == 0:
                say and say(f"soak: {samples[-1][0]:.0f} s, {samples[-1][1]:.1f} MiB, {samples[-1][2]} descriptors")
        p.finish()
        drain([w], [p], "soak")
        row = Row("soak", accepted=len(p.accepted))
        r = w.report("soak")
        led = w.sink.ledger()
        row.states.update({k: r[k] for k in ("sent", "failed", "expired", "cancelled")})
        row.unknown = r["unknown_attempts"]
        copies = led["duplicates"]
        row.marked = copies
        if copies > row.unknown or r["accepted"] < len(p.accepted) or r["pending"]:
            row.wrong.append(f"the books of the soak: {r}, the simulator: {led}")
        # warmed up after a third: what comes later is growth
        a = [s for s in samples if seconds / 3 < s[0] <= seconds * 2 / 3]
        z = [s for s in samples if s[0] > seconds * 2 / 3]
        mib, fds = (statistics.median(x[1] for x in a), statistics.median(x[1] for x in z)), (max(x[2] for x in a), max(x[2] for x in z))
        row.note = (f"{seconds} s at {len(p.accepted) / seconds:.0f}/s: memory {mib[0]:.1f} -> {mib[1]:.1f} MiB, "
                    f"descriptors at most {fds[0]} -> {fds[1]}")
        if mib[1] > mib[0] * 1.1 + 4 * SLOW:
            row.wrong.append(f"memory grows: {mib[0]:.1f} MiB in the second third, {mib[1]:.1f} in the last")
        if fds[1] > fds[0] + 4:
            row.wrong.append(f"descriptors grow: {fds[0]} in the second third, {fds[1]} in the last")
        assert books
        good = True
    finally:
        w.close(check=good)
    return row
