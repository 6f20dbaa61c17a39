"""Load: all lanes, chunks and single messages, by XADD and by HTTP, for now and for later, good ones and hopeless ones.

A Producer runs in a thread of its own beside the kills. What it was told is accepted stands in `accepted`; a submission whose
answer was lost with the engine is either repeated with its Idempotency-Key until it is answered, or counted in `unanswered`.
"""
import json
import threading
import time

import ids
import msgpack
import redis
from world import LANES, PARTITIONS, http

WORDS = "The first sentence is of some length. The second one is as long as that. And the third ends it."
KINDS = (("chunk", 30), ("single", 25), ("http", 12), ("keyed", 8), ("batch", 4), ("later", 8), ("hopeless", 5), ("late", 2), ("broken", 2),
         ("ghost", 2), ("cancelled", 2))
WEIGHTS = [w for _, w in KINDS]
CHANNELS = (("push", 30), ("hook", 20), ("once", 15), ("corp", 12), ("parts", 8), ("both", 15))


class Producer(threading.Thread):
    def __init__(self, world, campaign, seed, pace=0.004, kinds=None, channels=None, lanes=None, http_ports=None, max_chunk=40):
        super().__init__(daemon=True)
        import random
        self.w, self.campaign, self.rng = world, campaign, random.Random(seed)
        self.pace, self.max_chunk = pace, max_chunk
        self.kinds = [k for k in KINDS if kinds is None or k[0] in kinds]
        self.channels = [c for c in CHANNELS if channels is None or c[0] in channels]
        self.lanes = lanes or LANES
        self.ports = http_ports or [world.port]
        self.accepted = {}  # id -> (channel, first sent)
        self.broken = set()
        self.maybe = set()  # XADD broke off: it may be in the queue
        self.unanswered = 0  # messages nobody can say whether they were accepted
        self.refused = 0
        self.keyed = []  # (key, body): asked again until there is an answer
        self.failure = None
        self.done = threading.Event()
        self.r = world.client()
        self.ghosts = 0
        self.made = 0

    # -- life -----------------------------------------------------------------------------------
    def run(self):
        try:
            while not self.done.is_set():
                self.step()
                self.done.wait(self.pace)
        except Exception as e:  # noqa: BLE001 - told by finish()
            self.failure = e

    def step(self):
        kind = self.rng.choices([k for k, _ in self.kinds], [w for _, w in self.kinds])[0]
        try:
            getattr(self, "send_" + kind)()
        except redis.RedisError:
            self.refused += 1  # Redis is away: nothing was accepted, or nobody knows
            self.done.wait(0.05)
            self.r = self.w.client()

    def finish(self):
        """Ends the load; every keyed submission gets its answer. The engine must be up."""
        self.done.set()
        self.join(60)
        if self.failure:
            raise self.failure
        end = time.monotonic() + 30
        while self.keyed and time.monotonic() < end:
            self.repeat_keyed()
            if self.keyed:
                time.sleep(0.05)
        self.unanswered += len(self.keyed)
        self.r.close()

    # -- parts of a message -----------------------------------------------------------------------
    def lane(self):
        return self.rng.choice(self.lanes)

    def channel(self):
        return self.rng.choices([c for c, _ in self.channels], [w for _, w in self.channels])[0]

    def address(self, channel, id, bad=False):
        token = f"{self.rng.getrandbits(256):064x}"
        if bad:
            token = "dead4100" + token[8:]
        if channel == "push":
            return token
        if channel == "corp":
            return ("bad" if bad else "u") + (id or "")
        if channel == "both":
            return {"push": token, "second": "f" + token}
        return ("sink-UNREGISTERED" if bad and channel == "once" else "t") + token

    def content(self, channel):
        if channel == "parts":
            return {"content": {"body": WORDS}}
        if self.rng.random() < 0.4:
            return {"template": "order", "data": {"no": f"A{self.rng.randrange(10 ** 6)}", "n": self.rng.randrange(10), "user": {"name": "Li"}}}
        return {"content": {"title": "t", "body": "hello"}}

    def target(self, channel):
        return {"route": "both"} if channel == "both" else {"channel": channel}

    # -- by XADD ------------------------------------------------------------------------------------
    def xadd(self, n, bad=False, lane=None, channel=None, **more):
        channel = channel or self.channel()
        first = ids.new(self.rng)
        rs = [{"addr": self.address(channel, ids.text(first + i), bad), "user": f"n{self.made + i}"} for i in range(n)]
        job = {"id": ids.text(first), "campaign": self.campaign, **self.target(channel), **self.content(channel), **more}
        job.update({"rs": rs} if n > 1 else {"to": rs[0]})
        lane = lane or self.lane()
        now = time.monotonic()
        try:
            self.r.xadd(f"{{hm:{self.rng.randrange(PARTITIONS)}}}:q:{lane}", {"j": msgpack.packb(job)})
        except redis.RedisError:
            self.maybe.update(ids.text(first + i) for i in range(n))
            raise
        for i in range(n):
            self.accepted[ids.text(first + i)] = (channel, now, lane)
        self.made += n
        return ids.text(first)

    def send_chunk(self):
        self.xadd(self.rng.randrange(2, self.max_chunk + 1))

    def send_single(self):
        self.xadd(1)

    def send_later(self):
        self.xadd(self.rng.randrange(1, 6), at=int(time.time() * 1000) + self.rng.randrange(50, 500))

    def send_late(self):
        self.xadd(3, expires=int(time.time() * 1000) + self.rng.randrange(-5, 20))

    def send_hopeless(self):
        self.xadd(self.rng.randrange(1, 8), bad=True, channel=self.rng.choice([c for c, _ in self.channels]))

    def send_broken(self):
        """What does not decode must be found in the dead-letter stream; `mark` finds it there."""
        mark = f"{self.campaign}-{self.rng.getrandbits(64):016x}"
        payload = self.rng.choice((b"\xc1" + mark.encode(), msgpack.packb({"to": "x", "mark": mark}), msgpack.packb({"to": mark})))
        self.r.xadd(f"{{hm:{self.rng.randrange(PARTITIONS)}}}:q:{self.lane()}", {"j": payload})
        self.broken.add(mark)

    def send_ghost(self):
        """A consumer of another process reads some entries and is never heard of again."""
        p, lane = self.rng.randrange(PARTITIONS), self.lane()
        try:
            self.r.xreadgroup("hermod", f"ghost{self.ghosts}", {f"{{hm:{p}}}:q:{lane}": ">"}, count=2)
            self.ghosts += 1
        except redis.ResponseError:
            pass  # no group yet

    def send_cancelled(self):
        id = self.xadd(1, at=int(time.time() * 1000) + self.rng.randrange(100, 400))
        try:
            http("POST", self.url(f"/v1/messages/{id}/cancel"), b"", timeout=2)
        except OSError:
            pass

    # -- by HTTP --------------------------------------------------------------------------------------
    def url(self, path):
        return f"http://127.0.0.1:{self.rng.choice(self.ports)}{path}"

    def body(self, channel):
        return {"to": self.address(channel, None), **self.target(channel), **self.content(channel), "campaign": self.campaign,
                "lane": self.lane()}

    def http_channel(self):
        while True:
            c = self.channel()
            if c != "corp":  # its addresses carry the id, which is not known yet
                return c

    def take(self, answer, channel, lane, at):
        if answer.status == 202:
            self.accepted[answer.json["id"]] = (channel, at, lane)
        elif b"queue-unknown" in answer.body:
            self.unanswered += 1
        else:
            self.refused += 1

    def send_http(self):
        channel = self.http_channel()
        body, now = self.body(channel), time.monotonic()
        try:
            self.take(http("POST", self.url("/v1/messages"), body, timeout=8), channel, body["lane"], now)
        except ConnectionRefusedError:
            self.refused += 1
        except OSError:
            self.unanswered += 1
        except Exception as e:  # noqa: BLE001 - http.client: the answer broke off
            self.cut(e)
            self.unanswered += 1

    def cut(self, e):
        import http.client
        if not isinstance(e, (http.client.HTTPException, ValueError)):
            raise e

    def keyed_now(self, key, body):
        try:
            a = http("POST", self.url("/v1/messages"), body, {"Idempotency-Key": key}, timeout=8)
        except OSError:
            return False
        except Exception as e:  # noqa: BLE001
            self.cut(e)
            return False
        if a.status == 202:
            channel = body.get("channel", "both")
            self.accepted[a.json["id"]] = (channel, time.monotonic(), body["lane"])
        return a.status < 500

    def send_keyed(self):
        channel = self.http_channel()
        key, body = f"{self.campaign}-{self.rng.getrandbits(64):x}", self.body(channel)
        if not self.keyed_now(key, body):
            self.keyed.append((key, body))

    def repeat_keyed(self):
        self.keyed = [kb for kb in self.keyed if not self.keyed_now(*kb)]

    def send_batch(self):
        bodies = [self.body(self.http_channel()) for _ in range(self.rng.randrange(2, 12))]
        data, now = "\n".join(json.dumps(b) for b in bodies).encode(), time.monotonic()
        try:
            a = http("POST", self.url("/v1/messages/batch"), data, {"Content-Type": "application/x-ndjson"}, timeout=8)
        except ConnectionRefusedError:
            self.refused += 1
            return
        except OSError:
            self.unanswered += len(bodies)
            return
        except Exception as e:  # noqa: BLE001
            self.cut(e)
            self.unanswered += len(bodies)
            return
        if a.status != 202:
            self.refused += 1
            # a part of it may be in the queue: the answer says how much is not known
            self.unanswered += len(bodies)
            return
        given = a.json.get("ids") or [None] * len(bodies)  # no memory for them: ids_omitted
        for i, id in enumerate(given):
            if id:
                self.accepted[id] = (bodies[i].get("channel", "both"), now, bodies[i]["lane"])
        self.unanswered += given.count(None)
