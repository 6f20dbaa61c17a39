"""Broken bytes, every fault, all at once: the sink stays up, answers the next sender and ends cleanly (sanitizers watch)."""
import random
import socket
import ssl

import pytest
from h2raw import H2
from sink_client import Sink

PATHS = ["/echo", "/3/device/" + "ab" * 32, "/cgi-bin/message/send?access_token=x", "/v1/projects/p/messages:send",
         "/hook/a", "/token"]
FAULTS = ["stall", "refused", "internal", "cancel", "close", "reset", "truncate", "half_open", "goaway", "goaway_refuse",
          "slow", "huge", "garbage", "bad_frame"]
H1 = (b"POST /3/device/abc HTTP/1.1\r\nHost: x\r\nauthorization: bearer a.b.c\r\nContent-Length: 5\r\n\r\nhello" * 3 +
      b"GET /x HTTP/1.1\r\nhost: y\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")


def recorded_h2(sink):
    out = []
    c = H2(sink, tls=False)
    c.sock.close()
    c.sock = type("Tap", (), {"sendall": staticmethod(out.append)})()
    for i, path in enumerate(PATHS):
        c.send(path, [("authorization", "bearer " + "Ab9." * 40), ("apns-topic", "t"), ("x", "y" * i * 30)],
               b'{"message":{"token":"a"}}' * (i % 3), scheme="http")
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0" + b"".join(out)


def mutate(rng, data):
    b = bytearray(data)
    for _ in range(rng.choice([0, 1, 1, 3, 10])):
        at = rng.randrange(len(b))
        kind = rng.randrange(4)
        if kind == 0:
            b[at] = rng.randrange(256)
        elif kind == 1:
            del b[at:at + rng.randrange(1, 20)]
        elif kind == 2:
            b[at:at] = rng.randbytes(rng.randrange(1, 20))
        else:
            b[at:at] = b[rng.randrange(len(b)):][:rng.randrange(200)]
    return bytes(b)


def send(rng, sink, data):
    tls = rng.random() < 0.3
    s = socket.create_connection(("127.0.0.1", sink.tls_listen if tls else sink.listen), timeout=30)
    try:
        if tls and rng.random() < 0.8:
            ctx = ssl.create_default_context(cafile=sink.ca)
            ctx.set_alpn_protocols(rng.choice([["h2"], ["http/1.1"], ["x"]]))
            s = ctx.wrap_socket(s, server_hostname="localhost")
        while data:
            n = rng.choice([1, 3, 9, 50, 10000])
            s.sendall(data[:n])
            data = data[n:]
        s.settimeout(rng.choice([0.001, 0.01]))
        while s.recv(65536):
            pass
    except OSError:
        pass
    s.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_survives(seed):
    rng = random.Random(seed)
    sink = Sink("--threads", 2, "--max-body", "64KiB")
    h2 = recorded_h2(sink)
    for n in range(300):
        if n % 20 == 0:
            sink.knobs({"*": {"mix": [{"percent": 6, "fault": f} for f in FAULTS] + [{"percent": 5, "status": 503}],
                              "latency": rng.choice([0, {"kind": "uniform", "min_ms": 0, "max_ms": 5}])}},
                       {"huge_bytes": 300000, "trickle_ms": 1, "goaway_after": rng.choice([0, 2]),
                        "close_after": rng.choice([0, 3]), "max_streams": rng.choice([1, 100]),
                        "stream_window": rng.choice([0, 10, 1000000]), "first_streams": rng.choice([0, 1])})
        if n % 7 == 0:
            sink.script({}, [{"fault": rng.choice(FAULTS), "delay_ms": rng.choice([0, 1, 5]), "accept": True},
                             {"status": 200, "body": "x" * rng.choice([1, 5000, 200000])}])
        if n % 10 == 0:
            sink.action(rng.choice(["goaway", "close", "reset", "half_open", "garbage"]), limit=1)
        send(rng, sink, mutate(rng, rng.choice([h2, h2, H1])))
        assert sink.process.poll() is None, sink.process.communicate()[1].decode()[-3000:]
    assert sink.ledger()["requests"] > 50
    sink.reset()
    with H2(sink) as c:
        assert c.get("/echo")[0] == 200
    assert sink.stop()["requests"] == 1
