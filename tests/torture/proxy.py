"""A TCP proxy that breaks: cuts its connections at a byte, or carries nothing for a while."""
import random
import socket
import struct
import threading


class Proxy:
    def __init__(self, target, seed=1):
        """target: ("127.0.0.1", port) or the path of a unix socket"""
        self.target, self.rng = target, random.Random(seed)
        self.pairs, self.lock = set(), threading.Lock()
        self.open = threading.Event()
        self.open.set()
        self.cut_in = None  # bytes until all connections are cut
        self.cuts = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                if isinstance(self.target, str):
                    server = socket.socket(socket.AF_UNIX)
                    server.connect(self.target)
                else:
                    server = socket.create_connection(self.target)
            except OSError:
                client.close()
                continue
            pair = (client, server)
            with self.lock:
                self.pairs.add(pair)
            for a, b in (pair, pair[::-1]):
                threading.Thread(target=self._carry, args=(a, b, pair), daemon=True).start()

    def _carry(self, a, b, pair):
        try:
            while data := a.recv(65536):
                self.open.wait()
                if self.cut_in is not None:
                    if self.cut_in < len(data):
                        b.sendall(data[:self.cut_in])
                        self.cut_in = None
                        self.cut()
                        return
                    self.cut_in -= len(data)
                b.sendall(data)
        except OSError:
            pass
        self._close(pair)

    def _close(self, pair, reset=False):
        with self.lock:
            self.pairs.discard(pair)
        for s in pair:
            try:
                if reset:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                s.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)  # wakes the thread that reads it
                if reset:
                    s.close()
            except OSError:
                pass

    def cut(self):
        self.cuts += 1
        for pair in list(self.pairs):
            self._close(pair, reset=self.rng.random() < 0.5)

    def close(self):
        self.open.set()
        self.listener.close()
        self.cut()
