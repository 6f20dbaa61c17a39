"""Facts from sources that misbehave: slow, huge, wrong, away. Messages fall back, the process stays small and sound."""
import os
import signal
import socket
import threading

import pytest
from conftest import Redis, wait_for, xadd
from test_g40_facts import STOCK, bodies, counted, send


class Bad:
    """A server on a raw socket: `answer` writes what it likes."""

    def __init__(self):
        self.answer, self.connections, self.bytes = None, 0, 0
        self.s = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self.s.getsockname()[1]}"
        self.ended = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while not self.ended.is_set():
            try:
                c, _ = self.s.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(c,), daemon=True).start()

    def write(self, c, data):
        c.sendall(data)
        self.bytes += len(data)

    def serve(self, c):
        c.settimeout(30)
        try:
            while not self.ended.is_set():
                head = b""
                while b"\r\n\r\n" not in head:
                    more = c.recv(65536)
                    if not more:
                        return
                    head += more
                if self.answer(self, c, head) is False:
                    return
        except OSError:
            pass
        finally:
            c.close()

    def close(self):
        self.ended.set()
        self.s.close()


def ok(length, extra=b""):
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n%sContent-Length: %d\r\n\r\n" % (extra, length)


def one_byte_a_second(bad, c, head):
    bad.write(c, ok(100))
    for _ in range(100):
        bad.write(c, b"7")
        if bad.ended.wait(1):
            return False
    return None


def a_gigabyte(bad, c, head):
    bad.write(c, ok(1 << 30))
    block = b"7" * (1 << 20)
    for _ in range(1024):
        bad.write(c, block)


def endless_headers(bad, c, head):
    bad.write(c, b"HTTP/1.1 200 OK\r\n")
    for i in range(200000):
        bad.write(c, b"X-Filler-%d: %s\r\n" % (i, b"y" * 1000))


def garbage(bad, c, head):
    bad.write(c, bytes(range(256)) * 40)
    return False


def cut_short(bad, c, head):
    bad.write(c, ok(100) + b"12")
    return False


def redirect(bad, c, head):
    bad.write(c, b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/elsewhere\r\nContent-Length: 0\r\n\r\n")


def not_utf8(bad, c, head):
    bad.write(c, ok(3) + b"\xff\xfe\xfd")


def nothing(bad, c, head):
    return False


ANSWERS = [one_byte_a_second, a_gigabyte, endless_headers, garbage, cut_short, redirect, not_utf8, nothing]


def rss_kb(e):
    with open(f"/proc/{e.pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


@pytest.fixture
def bad():
    b = Bad()
    yield b
    b.close()


@pytest.mark.parametrize("answer", ANSWERS, ids=[a.__name__ for a in ANSWERS])
def test_a_source_that_misbehaves_costs_a_fallback(answer, engine, sink, redis, bad):
    bad.answer = answer
    e = engine(sink, redis, templates={"stock": STOCK, "plain": "body: hello\n"}, settings={"node": {"shards": 1}, "facts": {
        "pause_after": 1000, "stock": {"from": "http", "url": bad.url + "/k/{key}", "timeout": "400ms", "fallback": "few",
                                          "max_in_flight": 8, "cache": 0}}})
    e.wait_state(e.send(channel="apns-sink", to="1" * 64, template="plain"), "sent")
    before = rss_kb(e)
    for i in range(3):
        rs = [{"addr": f"{k:064x}", "data": {"sku": f"sku{i}-{k}"}} for k in range(50)]
        xadd(redis.client, {"channel": "apns-sink", "rs": rs, "template": "stock", "campaign": "bad"})
        e.send(channel="apns-sink", to="2" * 64, template="plain", campaign="plain")
    r = e.wait_final(150, "bad", 60)
    assert r["sent"] == 150 and e.wait_final(3, "plain")["sent"] == 3
    assert sum("only few left" in b for b in bodies(sink)) == 150
    assert counted(e, "hermod_fact_fallbacks_total") == 150
    grown = rss_kb(e) - before
    assert grown < 150_000, grown
    # and it recovers by itself
    bad.answer = lambda b, c, head: b.write(c, ok(1) + b"5")
    wait_for(lambda: e.wait_state(send(e, "lamp"), "sent") and "only 5 left of lamp" in bodies(sink), 40, "the value is there again")
    e.assert_balanced()


BATCHES = [b"", b"[]", b"{}", b'{"values": []}', b'{"values": {"lamp": {"a": [1, 2]}}}', b'{"values": {"lamp": null}}', b'{"values"',
           b'{"values": {"lamp": 1}} trailing', b'{"values": {"lamp": 1e999999999}}', b"[" * 100000, b'{"values": {"lamp": "\\ud800"}}',
           b'{"values": {"other": 1}}', b"\x00" * 50, b'{"values": {"lamp": "' + b"x" * 200000 + b'"}}']


def test_every_wrong_batch_answer_falls_back(engine, sink, redis, bad):
    e = engine(sink, redis, templates={"stock": STOCK}, settings={"node": {"shards": 1}, "facts": {
        "pause_after": 1000, "missing_for": "1ms", "stock": {"from": "http", "url": bad.url + "/k", "timeout": "5s", "fallback": "few",
                                         "type": "number", "cache": 0}}})
    for n, body in enumerate(BATCHES):
        bad.answer = lambda b, c, head, body=body: b.write(c, ok(len(body)) + body)
        m = e.wait_state(send(e, "lamp", campaign="wrong"), "sent", "failed")
        assert m["state"] == "sent" and m["facts"] == {"left": "few"}, (body[:60], m)
    assert sum("only few left of lamp" in b for b in bodies(sink)) == len(BATCHES)
    e.assert_balanced("wrong")


def test_a_source_that_dies_and_returns_under_load(engine, sink, redis, tmp_path):
    own = Redis(tmp_path / "own")
    try:
        e = engine(sink, redis, templates={"stock": STOCK}, settings={
            "facts": {"pause": "100ms", "pause_after": 3, "stock": {"from": "redis", "redis": own.url, "key": "stock:{key}", "cache": "5ms",
                                                                  "timeout": "200ms", "fallback": "few"}}})
        own.client.mset({f"stock:sku{i}": "9" for i in range(500)})
        sent = 0
        for turn in range(4):
            for lane in ("normal", "bulk"):
                rs = [{"addr": f"{k:064x}", "data": {"sku": f"sku{k}"}} for k in range(500)]
                xadd(redis.client, {"channel": "apns-sink", "rs": rs, "template": "stock", "campaign": "dies"}, lane=lane)
                sent += 500
            if turn % 2 == 0:
                own.stop()
            else:
                own.restart()
        own.client.mset({f"stock:sku{i}": "9" for i in range(500)})
        r = e.wait_final(sent, "dies", 90)
        assert r["sent"] == sent, r
        wait_for(lambda: e.wait_state(send(e, "sku1"), "sent") and "only 9 left of sku1" in bodies(sink)[-1], 40, "values again")
    finally:
        own.stop()


def test_a_hung_redis_holds_nobody_back(engine, sink, redis, tmp_path):
    own = Redis(tmp_path / "own")
    try:
        e = engine(sink, redis, templates={"stock": STOCK, "plain": "body: hello\n"}, settings={
            "facts": {"pause_after": 1000, "stock": {"from": "redis", "redis": own.url, "key": "stock:{key}", "cache": 0, "timeout": "200ms",
                                "fallback": "few"}}})
        own.client.set("stock:lamp", "3")
        e.wait_state(send(e, "lamp"), "sent")
        os.kill(own.pid, signal.SIGSTOP)
        rs = [{"addr": f"{k:064x}", "data": {"sku": f"s{k}"}} for k in range(1000)]
        xadd(redis.client, {"channel": "apns-sink", "rs": rs, "template": "stock", "campaign": "hung"})
        assert e.wait_final(1000, "hung", 60)["sent"] == 1000
        os.kill(own.pid, signal.SIGCONT)
        wait_for(lambda: e.wait_state(send(e, "lamp"), "sent") and "only 3 left of lamp" in bodies(sink)[-1], 40, "values again")
    finally:
        os.kill(own.pid, signal.SIGCONT)
        own.stop()
