"""Providers that mean harm, each a few lines of socket code. They run in a process of their own: what they burn is not the engine's.

A peer is a function (connection, first bytes read) that plays until the other side has had enough.
"""
import multiprocessing
import os
import socket
import struct
import threading
import time

CHUNK = b"x" * 65536


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_HEADERS = 4
OK_200 = b"\x88"  # :status 200 of HPACK's static table
HELLO = frame(SETTINGS, 0, 0) + frame(SETTINGS, 1, 0)


def streams_of(data):
    """Ids of the streams that HEADERS frames in these bytes open."""
    if data.startswith(b"PRI * HTTP/2.0"):
        data = data[24:]
    found = []
    while len(data) >= 9:
        n = int.from_bytes(data[:3], "big")
        if data[3] == HEADERS:
            found.append(int.from_bytes(data[5:9], "big") & 0x7fffffff)
        data = data[9 + n:]
    return found


def requests_h2(s, data):
    """Says hello, then yields the streams of every read."""
    s.sendall(HELLO)
    while data:
        yield streams_of(data)
        data = s.recv(65536)


def drink(s):
    while s.recv(65536):
        pass


# -- HTTP/1.1 -----------------------------------------------------------------------------------

def never_answers(s, data):
    drink(s)


def byte_a_second(s, data):
    for c in b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"y" * 100:
        s.sendall(bytes((c,)))
        time.sleep(1)


def gigabyte(s, data):
    s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
    for _ in range(16384):
        s.sendall(CHUNK)


def million_headers(s, data):
    s.sendall(b"HTTP/1.1 200 OK\r\n")
    block = b"".join(b"x-header-%d: value\r\n" % i for i in range(1000))
    for _ in range(1000):
        s.sendall(block)
    s.sendall(b"\r\n")


def garbage(s, data):
    s.sendall(os.urandom(4096))


# -- HTTP/2 -----------------------------------------------------------------------------------------

def h2_never_answers(s, data):
    for _ in requests_h2(s, data):
        pass


def h2_byte_a_second(s, data):
    for ids in requests_h2(s, data):
        for id in ids:
            for c in frame(HEADERS, END_HEADERS, id, OK_200) + frame(DATA, 1, id, b"z" * 50):
                s.sendall(bytes((c,)))
                time.sleep(1)


def h2_gigabyte(s, data):
    for ids in requests_h2(s, data):
        for id in ids:
            s.sendall(frame(HEADERS, END_HEADERS, id, OK_200))
            for _ in range(65536):  # the flow-control window is not respected either
                s.sendall(frame(DATA, 0, id, CHUNK[:16384]))


def h2_continuation_flood(s, data):
    field = b"".join(b"\x00\x06x-%04d\x05value" % i for i in range(1000))[:16000]
    for ids in requests_h2(s, data):
        for id in ids:
            s.sendall(frame(HEADERS, 0, id, OK_200))
            for _ in range(100000):
                s.sendall(frame(CONTINUATION, 0, id, field))


def h2_invalid_frames(s, data):
    for ids in requests_h2(s, data):
        for id in ids:
            s.sendall(frame(HEADERS, END_HEADERS, id + 2, OK_200) + frame(DATA, 8, id, b"\xff") + frame(PING, 0, 3, b"1") + os.urandom(64))


def h2_reset_flood(s, data):
    for ids in requests_h2(s, data):
        for id in ids:
            s.sendall(frame(RST, 0, id, struct.pack(">I", 2)) * 100)
        s.sendall((frame(PING, 0, 0, b"12345678") + frame(SETTINGS, 0, 0)) * 2000)


def h2_goaway_loop(s, data):
    s.sendall(HELLO + frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0)))


def tls_stalls(s, data):
    drink(s)


# name -> (peer, scheme, endpoint.http)
PEERS = {
    "never answers": (never_answers, "http", "1.1"),
    "a byte a second": (byte_a_second, "http", "1.1"),
    "1 GB body": (gigabyte, "http", "1.1"),
    "1 M headers": (million_headers, "http", "1.1"),
    "garbage": (garbage, "http", "1.1"),
    "h2: never answers": (h2_never_answers, "http", "h2c"),
    "h2: a byte a second": (h2_byte_a_second, "http", "h2c"),
    "h2: 1 GB body": (h2_gigabyte, "http", "h2c"),
    "h2: CONTINUATION flood": (h2_continuation_flood, "http", "h2c"),
    "h2: invalid frames": (h2_invalid_frames, "http", "h2c"),
    "h2: RST and PING flood": (h2_reset_flood, "http", "h2c"),
    "h2: GOAWAY loop": (h2_goaway_loop, "http", "h2c"),
    "TLS handshake stalls": (tls_stalls, "https", "auto"),
}


def play(s, peer):
    try:
        with s:
            data = s.recv(65536)
            if data:
                peer(s, data)
    except OSError:
        pass  # the other side has had enough


def serve(listener, peer):
    while True:
        s, _ = listener.accept()
        threading.Thread(target=play, args=(s, peer), daemon=True).start()


def run(listeners):
    os.nice(5)
    for name, listener in listeners.items():
        threading.Thread(target=serve, args=(listener, PEERS[name][0]), daemon=True).start()
    threading.Event().wait()


class Peers:
    """All of them, each on a port of its own: .ports[name]"""

    def __init__(self):
        listeners = {name: socket.create_server(("127.0.0.1", 0), backlog=100) for name in PEERS}
        self.ports = {name: s.getsockname()[1] for name, s in listeners.items()}
        self.process = multiprocessing.get_context("fork").Process(target=run, args=(listeners,), daemon=True)
        self.process.start()
        for s in listeners.values():
            s.close()

    def close(self):
        self.process.kill()
        self.process.join()
