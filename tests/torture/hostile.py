"""A provider that misbehaves hurts its own channel and no other: throughput and latency beside it stay, memory stays, and its own
messages end as their policy says."""
import datetime
import time

import ids
import msgpack
from books import Row, records
from peers import PEERS, Peers
from traffic import Producer
from world import FINAL, FINE, PARTITIONS, SLOW, Trouble, World, wait

PER_PEER = 60  # messages for a hostile provider
EXPIRES_S = 6  # three tries of 1 s each; what waits for a breaker longer than that expires
LIMIT_S = 25
MORE_MIB = 96  # memory beside a hostile provider, at most


def slug(name):
    return "evil-" + "".join(c if c.isalnum() else "-" for c in name.lower())


def millis(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000


class Neighbours:
    def __init__(self, seed):
        self.peers = Peers()
        channels = {}
        for name, (_, scheme, http) in PEERS.items():
            channels[slug(name)] = {"adapter": "webhook/standard", "secrets": ["whsec_" + "A" * 32], "allow_http": True, "timeout": "1s",
                                    "max_attempts": 3, "url": f"{scheme}://localhost:{self.peers.ports[name]}/x",
                                    "endpoint": {"http": http, "verify": False}}
        try:
            self.w = World("hostile", seed, weather=FINE, channels=channels, settings={"wire": {"connect_timeout": "1s"}, "breaker": {"open": "300ms"}})
        except BaseException:
            self.peers.close()
            raise
        self.seed, self.n = seed, 0

    def close(self, check):
        try:
            self.w.close(check)
        finally:
            self.peers.close()

    def send_evil(self, names, campaign):
        c, made = self.w.client(), {}
        for name in names:
            for i in range(PER_PEER):
                id = ids.new(self.w.rng)
                job = {"id": ids.text(id), "campaign": campaign, "channel": slug(name), "to": f"r{i}", "content": {"body": "x"},
                       "expires": int(time.time() * 1000) + EXPIRES_S * 1000}
                c.xadd(f"{{hm:{i % PARTITIONS}}}:q:{('normal', 'critical')[i % 2]}", {"j": msgpack.packb(job)})
                made[ids.text(id)] = name
        c.close()
        return made

    def beside(self, names, seconds):
        """Load on a good channel for so long, with these peers beside it -> (messages/s, % of them sent when the
        load ends, median ms, p99 ms, MiB at most, wrong)"""
        w, wrong = self.w, []
        self.n += 1
        good, evil = f"good{self.n}", f"evil{self.n}"
        made = self.send_evil(names, evil)
        p = Producer(w, good, f"{self.seed}/{good}", kinds=("single",), channels=("push",), lanes=("normal",), pace=0.001)
        p.start()
        most, end, began = 0.0, time.monotonic() + seconds, time.monotonic()
        while time.monotonic() < end:
            most = max(most, w.memory_mib())
            time.sleep(0.05)
        p.done.set()
        p.join(60)
        took, kept = time.monotonic() - began, w.engine.final(good)
        p.finish()
        wait(lambda: w.engine.final(good) >= len(p.accepted), 20, lambda: f"the good channel is done: {w.report(good)}")
        late = []
        for rs in records([w], good).values():
            a = rs[0]["attempts"][-1]
            late.append(millis(a["at"]) + a["took_us"] / 1000 - millis(rs[0]["accepted_at"]))
            if rs[0]["state"] != "sent":
                wrong.append(f"a message of the good channel: {rs[0]}")
        late.sort()
        if made:
            try:
                wait(lambda: w.engine.final(evil) >= len(made), LIMIT_S, "")
            except Trouble:
                stuck = {}
                for id, rs in records([w], evil).items():
                    if rs[0]["state"] not in FINAL:
                        stuck[made[id]] = stuck.get(made[id], 0) + 1
                wrong.append(f"messages for hostile providers have no end after {LIMIT_S * SLOW} s: {w.report(evil)}, held: {stuck}")
            for id, rs in records([w], evil).items():
                # a webhook's answer is its status, however long the body that is not read
                if rs[0]["state"] == "sent" and "body" not in made[id]:
                    wrong.append(f"{made[id]}: an answer like that is no success: {rs[0]}")
            most = max(most, w.memory_mib())
        return len(late) / took, 100 * kept / max(1, len(late)), late[len(late) // 2], late[len(late) * 99 // 100], most, wrong


def hostile(names, seconds, seed, together=False, say=None):
    t, good, rows, lines = Neighbours(seed), False, [], []
    try:
        t.w.start()
        t.beside([], min(1, seconds))  # warm
        base = t.beside([], seconds)
        lines.append(f"  {'beside':26} {'good msg/s':>10} {'kept up %':>10} {'median ms':>10} {'p99 ms':>8} {'MiB':>7}")
        lines.append(f"  {'nobody':26} {base[0]:10.0f} {base[1]:10.1f} {base[2]:10.1f} {base[3]:8.1f} {base[4]:7.1f}")
        for name in ["all of them"] if together else [*names, "all of them"]:
            rate, kept, median, p99, mib, wrong = t.beside(names if name == "all of them" else [name], seconds)
            if kept < 85:
                wrong.append(f"the good channel has sent {kept:.0f} % of what it was given when the load ends")
            if p99 > base[3] * 4 + 50 * SLOW:
                wrong.append(f"the good channel's p99 is {p99:.1f} ms instead of {base[3]:.1f}")
            if mib > base[4] + MORE_MIB * SLOW:
                wrong.append(f"memory: {mib:.1f} MiB instead of {base[4]:.1f}")
            lines.append(f"  {name:26} {rate:10.0f} {kept:10.1f} {median:10.1f} {p99:8.1f} {mib:7.1f}  {'WRONG' if wrong else ''}")
            say and say(lines[-1].strip())
            row = Row(f"beside: {name}")
            row.wrong = wrong
            rows.append(row)
        if not t.w.engine.alive():
            raise Trouble(f"the engine ended: {t.w.tail()}")
        good = True
    finally:
        t.close(good)
    return rows, lines
