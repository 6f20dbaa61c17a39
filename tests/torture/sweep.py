"""kill -9 at every named point, and at random moments."""
import re
import time

from books import Books, Row, compare, drain
from traffic import Producer
from world import BUILD, ROOT, SLOW, WEATHER, Trouble, World

# Points that one engine beside a healthy Redis and provider does not pass. The rest must be reached, also points that come later.
ELSEWHERE = {
    **dict.fromkeys(("escalate_go_on", "escalate_put", "escalate_recorded", "receipt_noted", "route_all", "route_late"),
                    "routes that wait for receipts, send to all or have a time limit: scenario h50 kills there"),
    "callback_stored": "what providers report: scenario i10 kills there",
    "inbox_stored": "the in-app inbox: scenario i50 kills there",
    **dict.fromkeys(("aside_after", "aside_before", "aside_put"), "messages that wait long: scenarios h50 and h60 kill there"),
    **dict.fromkeys(("delay_resume_after", "delay_release_after"), "the end of a pause, a cancel: scenario h60 kills there"),
    **dict.fromkeys(("schedule_entry", "schedule_fired", "schedule_moved"), "recurring schedules: scenario h60 kills there"),
    **dict.fromkeys(("spill_before", "spill_after", "unspill_before", "unspill_after"), "a tenant's flood: scenario h20 kills there"),
    **dict.fromkeys(("replay_before", "replay_after"), "an operator's replay: scenario h70 kills there"),
    "call_split": "a batch refused because of one recipient: scenario g22 kills there",
    "takeover_after": "another node takes over: scenario h75 kills there",
    **dict.fromkeys(("moved_tell", "moved_told", "moved_written"), "several nodes: scenario h75 kills there"),
}
AT_STOP = ("handback_before", "handback_after")  # passed when the engine is asked to end
PATIENCE_S = 6  # of load without reaching the point


def points():
    """The names in the table, as far as this engine was built with them."""
    text, binary = (ROOT / "engine" / "tbl" / "faults.h").read_text(), (BUILD / "hermod").read_bytes()
    return [n for n in re.findall(r"^HM_FAULT\((\w+),", text, re.M) if b"%s\0" % n.encode() in binary]


class Sweep:
    def __init__(self, name, seed):
        self.w = World(name, seed, weather=WEATHER)
        self.books = Books(self.w)
        self.seed, self.n = seed, 0
        self.rng = self.w.rng

    def close(self, check=True):
        self.w.close(check)

    def load(self):
        self.n += 1
        p = Producer(self.w, f"r{self.n}", f"{self.seed}/{self.w.name}/{self.n}")
        p.start()
        return p

    def settle(self, name, p, kills):
        """Healthy from here on: everything comes to its end, and the ledgers are compared."""
        w = self.w
        if not w.engine.alive():
            w.start()
        p.finish()
        drain([w], [p], p.campaign)
        return compare(name, self.books, [w], [p], p.campaign, kills)

    def point(self, name, nth, patience=PATIENCE_S):
        """Dies at the nth pass of the point, with the remains of an earlier crash behind it."""
        w, before = self.w, self.w.kills
        p = self.load()
        if w.engine is None or not w.engine.alive():
            w.start()
        time.sleep(self.rng.uniform(0.05, 0.2) * min(SLOW, 3))
        w.kill()
        w.start(faults=f"{name}:kill@{nth}", wait_ready=False)
        if name in AT_STOP:
            w.wait_ready()
            time.sleep(self.rng.uniform(0.1, 0.5) * min(SLOW, 3))
            w.engine.p.terminate()
        end = time.monotonic() + patience * min(SLOW, 3)
        while w.engine.alive() and time.monotonic() < end:
            time.sleep(0.01)
        reached = not w.engine.alive()
        if reached and name in AT_STOP and w.engine.p.returncode == 0:
            reached = False  # it had less to give back
        elif reached and w.engine.p.returncode != -9:
            raise Trouble(f"{name}: the engine ended with {w.engine.p.returncode}: {w.tail()}")
        w.kill()
        return self.settle(name, p, w.kills - before), reached

    def moment(self):
        """Dies once, or a second and third time while it recovers."""
        w, before = self.w, self.w.kills
        p = self.load()
        if w.engine is None or not w.engine.alive():
            w.start()
        time.sleep(self.rng.uniform(0.0, 0.35) * min(SLOW, 3))
        w.kill()
        while self.rng.random() < 0.4:
            w.start(wait_ready=False)
            time.sleep(self.rng.uniform(0.0, 0.25) * min(SLOW, 3))
            w.kill()
        return self.settle("random moments", p, w.kills - before)


def nth_of(rng, name, round):
    """Early, later, late: points passed once in a while and points passed by every message both get their turn."""
    low, high = ((0, 3), (2, 6), (4, 9))[round % 3]
    return int(2 ** (rng.uniform(low, high) + (3 if name == "alloc" else 0)))


def sweep_points(names, seed, rounds, name="points", say=None, quick=False):
    """-> (rows, names of the points that were not reached)"""
    s = Sweep(name, seed)
    rows, missed, good = [], [], False
    try:
        for point in names:
            total, hits = Row(point), 0
            for i in range(rounds):
                row, reached = s.point(point, s.rng.randrange(1, 4) if quick else nth_of(s.rng, point, i), 2.5 if quick else PATIENCE_S)
                if not reached and point in ELSEWHERE:
                    total.add(row)
                    break
                if not reached and not quick:  # so often it is not passed
                    total.add(row)
                    row, reached = s.point(point, 1)
                total.add(row)
                hits += reached
            total.note = "" if hits == rounds else f"reached {hits} of {rounds} times" if hits else "not reached"
            if hits == 0:
                missed.append(point)
            rows.append(total)
            say and say(f"{point}: {total.accepted} accepted, {total.lost} lost, {total.marked} copies marked, {total.unmarked} unmarked {total.note}")
        good = True
    finally:
        s.close(check=good)
    return rows, missed


def sweep_moments(count, seed, name="moments", say=None):
    s = Sweep(name, seed)
    total, good = Row("random moments"), False
    try:
        while total.kills < count:
            total.add(s.moment())
            say and say(f"{total.kills} kills: {total.accepted} accepted, {total.lost} lost, {total.marked} copies marked, {total.unmarked} unmarked")
        good = True
    finally:
        s.close(check=good)
    return [total]
