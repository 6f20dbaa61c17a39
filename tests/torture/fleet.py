"""Two engines on one Redis: one dies again and again, or both are replaced one after the other."""
import datetime
import time

from books import Books, compare, drain, records
from traffic import Producer
from world import FINE, SLOW, WEATHER, Trouble, World, wait

# HTTP by load balancer: the client asks the other process when one refuses
BOTH = ("chunk", "single", "http", "batch", "later", "hopeless", "broken", "cancelled", "late")


class Pair:
    def __init__(self, name, seed, weather):
        self.a = World(name, seed, weather=weather)
        try:
            self.b = World(name + "-b", seed, weather=weather, parent=self.a, engine="b")
        except BaseException:
            self.a.close(check=False)
            raise
        self.books = Books(self.a)

    def __enter__(self):
        for w in (self.a, self.b):
            w.start()
        return self

    def __exit__(self, kind, value, trace):
        try:
            self.b.close(check=kind is None)
        finally:
            self.a.close(check=kind is None)


def one_dies(kills, seed):
    with Pair("two", seed, WEATHER) as t:
        p = Producer(t.a, "two", seed, kinds=BOTH, http_ports=[t.a.port, t.b.port])
        p.start()
        for i in range(kills):
            time.sleep(t.a.rng.uniform(0.1, 0.5) * min(SLOW, 3))
            t.b.kill()
            if i % 3 == 2:  # away for so long that the other takes over
                time.sleep(1.5)
            t.b.start(wait_ready=t.a.rng.random() < 0.5)
        t.b.wait_ready()
        p.finish()
        drain([t.a, t.b], [p], p.campaign)
        return compare("two engines, one dies", t.books, [t.a, t.b], [p], p.campaign, kills)


def lateness_ms(records):
    """From the stream to the provider's answer, of each critical message that was sent."""
    late = []
    for rs in records.values():
        for m in rs:
            if m["state"] == "sent" and m["lane"] == "critical":
                a = m["attempts"][-1]
                when = datetime.datetime.fromisoformat(a["at"].replace("Z", "+00:00")).timestamp() * 1000 + a["took_us"] / 1000
                late.append(when - datetime.datetime.fromisoformat(m["accepted_at"].replace("Z", "+00:00")).timestamp() * 1000)
    return sorted(late)


LATE_MS = 1500


def rolling(restarts, seed):
    """SIGTERM, start again, one after the other, while critical messages come in at some 200 a second."""
    with Pair("rolling", seed, FINE) as t:
        load = Producer(t.a, "rolling", f"{seed}/load", kinds=("chunk", "later"), lanes=("normal", "bulk"), http_ports=[t.a.port, t.b.port])
        critical = Producer(t.a, "rolling", f"{seed}/critical", kinds=("single", "http"), lanes=("critical",), channels=("push", "hook", "once"),
                            http_ports=[t.a.port, t.b.port])
        for p in (load, critical):
            p.start()
        for i in range(restarts):
            w = (t.a, t.b)[i % 2]
            time.sleep(0.4)
            w.stop()
            w.start()
        time.sleep(0.4)
        for p in (load, critical):
            p.finish()
        drain([t.a, t.b], [load, critical], "rolling")
        found = records([t.a, t.b], "rolling")
        row = compare("rolling restart", t.books, [t.a, t.b], [load, critical], "rolling", 0)
        late = lateness_ms(found)
        sent = [i for i, (_, _, lane) in critical.accepted.items() if lane == "critical"]
        row.note = (f"{restarts} restarts; {len(sent)} critical messages, queue to answer: median {late[len(late) // 2]:.0f} ms, "
                    f"p99 {late[len(late) * 99 // 100]:.0f} ms, worst {late[-1]:.0f} ms")
        if late[-1] > LATE_MS * SLOW:
            row.wrong.append(f"a critical message took {late[-1]:.0f} ms, more than {LATE_MS * SLOW}")
        unsent = [i for i in sent if not any(m["state"] == "sent" for m in found[i])]
        if unsent:
            row.wrong.append(f"{len(unsent)} critical messages are not sent, the first: {found[unsent[0]]}")
        return row
