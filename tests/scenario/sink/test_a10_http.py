"""HTTP/2 and HTTP/1.1, TLS and clear, limits and broken input."""
import re
import socket
import ssl

import h2.errors
import h2.events
import hpack
import httpx
import pytest
from h2raw import H2, Closed
from sink_client import Sink


def raw(sink, data, reply_until=None):
    """Bytes to the clear port; everything that comes back until the end, or until a marker."""
    with socket.create_connection(("127.0.0.1", sink.listen), timeout=30) as s:
        s.sendall(data)
        if reply_until is None:
            s.shutdown(socket.SHUT_WR)
        out = b""
        while reply_until is None or reply_until not in out:
            part = s.recv(65536)
            if not part:
                break
            out += part
        return out


@pytest.mark.parametrize("http2", [True, False])
def test_tls_by_alpn(sink, http2):
    with httpx.Client(http2=http2, verify=sink.ca) as c:
        r = c.post(sink.tls_url + "/echo", content=b"hello", headers={"x-hermod-id": "m-1"})
    assert r.status_code == 200 and r.text == "ok\n"
    assert r.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
    got = sink.requests()[-1]
    assert got.protocol == ("h2" if http2 else "http/1.1")
    assert (got.method, got.path, got.body) == ("POST", "/echo", b"hello")
    assert got.headers["x-hermod-id"] == "m-1" and got.headers["host"].startswith("localhost")
    assert sink.accepted("echo", "m-1") == 1


def test_certificate_names(sink):
    ctx = ssl.create_default_context(cafile=sink.ca)
    for name in ("localhost", "127.0.0.1", "sink.test"):
        with socket.create_connection(("127.0.0.1", sink.tls_listen)) as s, ctx.wrap_socket(s, server_hostname=name) as t:
            assert t.version() == "TLSv1.3"
    with socket.create_connection(("127.0.0.1", sink.tls_listen)) as s, pytest.raises(ssl.SSLCertVerificationError):
        ctx.wrap_socket(s, server_hostname="elsewhere.test")


def test_h2c_prior_knowledge_and_h1_on_one_port(sink):
    with H2(sink, tls=False) as c:
        assert c.get("/echo", scheme="http")[0] == 200
    out = raw(sink, b"GET /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert out.startswith(b"HTTP/1.1 200 OK\r\n") and out.endswith(b"\r\n\r\nok\n")
    assert [r.protocol for r in sink.requests()] == ["h2", "http/1.1"]


def test_h2c_byte_by_byte(sink):
    """Every frame split at every place: preface, frame headers, header blocks, data."""
    c = H2(sink, tls=False)
    record = []
    c.sock, real = type("Tap", (), {"sendall": staticmethod(record.append)})(), c.sock
    c.send("/echo", [("x-hermod-id", "slow-1"), ("authorization", "bearer " + "Ab9_" * 60)], b"body of it", scheme="http")
    c.sock = real
    real.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for b in b"".join(record):
        real.sendall(bytes([b]))
    assert c.answer(1)[0] == 200
    got = sink.requests()[-1]
    assert got.body == b"body of it" and got.headers["authorization"] == "bearer " + "Ab9_" * 60
    c.close()


def test_header_fields_survive_every_coding(sink):
    """Plain and Huffman literals, every printable character, the dynamic table and its eviction."""
    values = ["".join(chr(c) for c in range(0x20, 0x7f)).strip(), "x" * 3000, "%&'()*+,;<>@[]^`{|}~\\"]
    with H2(sink) as c:
        for round_ in range(3):
            for i, v in enumerate(values):
                for n in range(20):
                    c.send("/echo", [(f"x-{n % 7}-{i}", v + str(n)), ("x-round", str(round_)), ("cookie", "a=b; c=d")])
        c.answer(c.send("/last?x=1", [("x-end", "1")]))
        assert c.answer(c.send("/echo", [("x-utf", "né")]))[0] == 200
    got = sink.requests(path="/echo")
    assert len(got) == 181
    for k, r in enumerate(got[:-1]):
        round_, i, n = k // 60, k // 20 % 3, k % 20
        assert r.headers[f"x-{n % 7}-{i}"] == values[i] + str(n) and r.headers["x-round"] == str(round_)
    assert got[-1].headers["x-utf"] == "né"


def test_header_table_size_may_shrink(sink):
    with H2(sink) as c:
        assert c.get("/echo", [("x-a", "1")])[0] == 200
        c.conn.encoder.header_table_size = 0
        assert c.get("/echo", [("x-a", "1"), ("x-b", "2")])[0] == 200
        c.conn.encoder.header_table_size = 4096
        assert c.get("/echo", [("x-a", "1"), ("x-b", "2")])[0] == 200
        assert c.get("/echo", [("x-a", "1"), ("x-b", "2")])[0] == 200
    assert [r.headers.get("x-b") for r in sink.requests()] == [None, "2", "2", "2"]


def test_large_header_block_in_continuations(sink):
    with H2(sink) as c:
        headers = [(f"x-h{i}", "v" * 1000) for i in range(40)]
        assert c.get("/echo", headers)[0] == 200
        assert len(sink.requests()[-1].headers["x-h39"]) == 1000
        assert c.get("/echo", headers * 2)[0] == 431
        assert c.get("/echo", [(f"x-h{i}", "v") for i in range(80)])[0] == 431
        assert c.get("/echo")[0] == 200, "the header table is still right"


@pytest.mark.parametrize("headers", [
    [(":method", "GET"), (":path", "/echo")],
    [(":method", "GET"), (":scheme", "https")],
    [(":method", "GET"), (":path", "/echo"), (":scheme", "https"), ("Upper", "x")],
    [(":method", "GET"), (":path", "/echo"), (":scheme", "https"), ("connection", "close")],
    [(":method", "GET"), (":path", "/echo"), (":scheme", "https"), ("x", "a\nb")],
    [(":method", "GET"), (":path", "/echo"), (":scheme", "https"), ("x", "y"), (":authority", "z")],
    [(":method", "GET"), (":path", "/echo"), (":path", "/other"), (":scheme", "https")],
    [(":method", "GET"), (":path", "/echo"), (":scheme", "https"), (":status", "200")],
    [(":method", "GET"), (":path", "/echo"), (":scheme", "https"), ("content-length", "5")],
    [(":method", "GET"), (":path", "/echo"), (":scheme", "https"), ("content-length", "x")],
])
def test_malformed_request_resets_its_stream_only(sink, headers):
    with H2(sink, check=False) as c:
        block = hpack.Encoder().encode(headers)
        c.sock.sendall(len(block).to_bytes(3, "big") + b"\x01\x05" + (1).to_bytes(4, "big") + block)
        data = b""
        while b"\x00\x00\x04\x03\x00\x00\x00\x00\x01" not in data:
            data += c.sock.recv(65536)
        code = data[data.index(b"\x00\x00\x04\x03\x00\x00\x00\x00\x01") + 9:][:4]
        assert int.from_bytes(code, "big") == h2.errors.ErrorCodes.PROTOCOL_ERROR
    assert sink.ledger()["requests"] == 0
    with H2(sink) as c:
        assert c.get("/echo")[0] == 200


@pytest.mark.parametrize("bytes_, code", [
    (b"\x00\x00\x01\x01\x05\x00\x00\x00\x01\xc8", "COMPRESSION_ERROR"),              # index 72 of an empty table
    (b"\x00\x00\x03\x01\x05\x00\x00\x00\x01\x04\x81\xff", "COMPRESSION_ERROR"),      # Huffman padding of 8 bits
    (b"\x00\x00\x06\x01\x05\x00\x00\x00\x01\x04\x84\xff\xff\xff\xff", "COMPRESSION_ERROR"),  # EOS inside
    (b"\x00\x00\x04\x01\x05\x00\x00\x00\x01\x3f\xff\xff\x7f", "COMPRESSION_ERROR"),  # table size beyond 4096
    (b"\x00\x00\x03\x01\x05\x00\x00\x00\x01\x04\x7f\xff", "COMPRESSION_ERROR"),      # string longer than the block
    (b"\x00\x00\x01\x01\x01\x00\x00\x00\x01\x82" + b"\x00\x00\x00\x00\x01\x00\x00\x00\x01", "PROTOCOL_ERROR"),
    (b"\x00\x00\x01\x09\x04\x00\x00\x00\x01\x82", "PROTOCOL_ERROR"),                 # CONTINUATION out of nowhere
    (b"\x00\x00\x02\x01\x0d\x00\x00\x00\x01\x05\x82", "PROTOCOL_ERROR"),             # more padding than frame
    (b"\x00\x00\x01\x01\x05\x00\x00\x00\x02\x82", "PROTOCOL_ERROR"),                 # even stream id
    (b"\x00\x40\x01\x01\x05\x00\x00\x00\x01" + b"\x82" * 16385, "FRAME_SIZE_ERROR"),
])
def test_broken_frames_end_the_connection(sink, bytes_, code):
    with H2(sink) as c:
        c.sock.sendall(bytes_)
        e = c.wait(h2.events.ConnectionTerminated)
        assert e.error_code == h2.errors.ErrorCodes[code]
        c.wait_closed()
    with H2(sink) as c:
        assert c.get("/echo")[0] == 200


def test_trailers_and_padding(sink):
    with H2(sink) as c:
        sid = c.send("/echo", [("x-hermod-id", "t1")], b"", end=False)
        c.conn.send_data(sid, b"abc", pad_length=20)
        c.conn.send_headers(sid, [("x-trailer", "1")], end_stream=True)
        c.flush()
        assert c.answer(sid)[0] == 200
        assert c.get("/echo", [("x-trailer", "1")])[0] == 200
    assert sink.requests()[0].body == b"abc" and "x-trailer" not in sink.requests()[0].headers


def test_pipelined_h1_answers_in_order(sink):
    sink.script({"path": "/first"}, [{"status": 201, "body": "one", "delay_ms": 50}])
    out = raw(sink, b"GET /first HTTP/1.1\r\nhost: x\r\n\r\nGET /status/404 HTTP/1.1\r\nhost: x\r\n\r\n"
                    b"POST /x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
                    b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", reply_until=b"ok\n")
    assert re.findall(rb"HTTP/1.1 (\d+)", out) == [b"201", b"404", b"200"]
    assert sink.requests()[-1].body == b"abcde"


def test_expect_continue_and_head(sink):
    out = raw(sink, b"PUT /x HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n", reply_until=b"\r\n\r\n")
    assert out == b"HTTP/1.1 100 Continue\r\n\r\n"
    out = raw(sink, b"HEAD /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert b"content-length: 3\r\n" in out and out.endswith(b"\r\n\r\n")
    with H2(sink) as c:
        status, headers, body = c.get("/echo", method="HEAD")
        assert status == 200 and body == b""


def test_h1_half_close_still_gets_late_answers(sink):
    sink.knobs({"echo": {"latency": 50}})
    out = raw(sink, b"GET /a HTTP/1.1\r\nhost: x\r\n\r\nGET /b HTTP/1.1\r\nhost: x\r\n\r\nGET /cut HTTP/1.1\r\nho")
    assert out.count(b"HTTP/1.1 200") == 2 and sink.ledger()["requests"] == 2


def test_h1_garbage_gets_400(sink):
    assert raw(sink, b"\x16\x03\x01 this is TLS on a clear port\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert raw(sink, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 100 + b"\r\n").startswith(b"HTTP/1.1 431 ")
    assert raw(sink, b"GET /" + b"x" * 70000 + b" HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 431 ")


def test_body_limit():
    with Sink("--max-body", "100KB", tls=False) as sink:
        with httpx.Client() as c:
            assert c.post(sink.url + "/echo", content=b"x" * 100_000).status_code == 200
            assert c.post(sink.url + "/echo", content=b"x" * 100_001).status_code == 413
        with H2(sink, tls=False) as c:
            assert c.get("/echo", body=b"y" * 100_000)[0] == 200
            assert c.get("/echo", body=b"y" * 3_000_000)[0] == 413
            assert c.get("/echo", body=b"y")[0] == 200
        assert sink.ledger("echo")["status"] == {"200": 3, "413": 2}


def test_connection_limit_and_idle_timeout():
    with Sink("--max-connections", 2, "--idle-timeout", "1s", tls=False) as sink:
        a = H2(sink, tls=False)
        b = H2(sink, tls=False)
        assert a.get("/echo")[0] == 200 and b.get("/echo")[0] == 200
        with pytest.raises((Closed, ConnectionError)):
            H2(sink, tls=False).get("/echo")
        assert sink.ledger()["connections"]["refused"] == 1
        a.wait_closed()
        b.wait_closed()
        assert H2(sink, tls=False).get("/echo")[0] == 200


def test_threads_share_the_ledger(keys):
    with Sink("--threads", 4) as sink:
        for n in range(8):
            with H2(sink) as c:
                for i in range(50):
                    c.send("/echo", [("x-hermod-id", f"id-{i}")])
                c.get("/echo")
        t = sink.ledger()
        assert (t["requests"], t["accepted"], t["unique"], t["duplicates"]) == (408, 400, 50, 350)
        assert set(sink.dump("echo").values()) == {8}
