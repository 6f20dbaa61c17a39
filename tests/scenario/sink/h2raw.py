"""A small HTTP/2 client with nothing hidden: events as they come."""
import socket
import ssl

import h2.config
import h2.connection
import h2.events
import h2.settings
import hyperframe.frame


class Closed(Exception):
    pass


class H2:
    def __init__(self, sink, tls=True, settings=None, check=True):
        sock = socket.create_connection(("127.0.0.1", sink.tls_listen if tls else sink.listen), timeout=30)
        if tls:
            ctx = ssl.create_default_context(cafile=sink.ca)
            ctx.set_alpn_protocols(["h2"])
            sock = ctx.wrap_socket(sock, server_hostname="localhost")
            assert sock.selected_alpn_protocol() == "h2"
        self.sock = sock
        self.conn = h2.connection.H2Connection(h2.config.H2Configuration(
            header_encoding="utf-8", validate_outbound_headers=check, normalize_outbound_headers=check))
        # The h2 package treats GOAWAY as the end; streams below last_stream_id still finish.
        self.conn._frame_dispatch_table[hyperframe.frame.GoAwayFrame] = self.on_goaway
        self.conn.initiate_connection()
        if settings:
            self.conn.update_settings(settings)
        self.events = []
        self.flush()

    @staticmethod
    def on_goaway(frame):
        e = h2.events.ConnectionTerminated()
        e.error_code, e.last_stream_id = frame.error_code, frame.last_stream_id
        e.additional_data = frame.additional_data
        return [], [e]

    def flush(self):
        data = self.conn.data_to_send()
        if data:
            self.sock.sendall(data)

    def send(self, path, headers=(), body=b"", method="POST", end=True, scheme="https"):
        sid = self.conn.get_next_available_stream_id()
        all_ = [(":method", method), (":path", path), (":scheme", scheme), (":authority", "localhost"), *headers]
        self.conn.send_headers(sid, all_, end_stream=end and not body)
        while body:
            part = body[:min(len(body), self.conn.local_flow_control_window(sid), 16384)]
            if not part:
                self.flush()
                self.pump()
                continue
            body = body[len(part):]
            self.conn.send_data(sid, part, end_stream=end and not body)
        self.flush()
        return sid

    def pump(self):
        data = self.sock.recv(65536)
        if not data:
            raise Closed()
        got = self.conn.receive_data(data)
        for e in got:
            if isinstance(e, h2.events.DataReceived) and e.flow_controlled_length:
                self.conn.acknowledge_received_data(e.flow_controlled_length, e.stream_id)
        self.events += got
        try:
            self.flush()
        except OSError:
            pass  # the sink has closed; what it said before is in `got`
        return got

    def wait(self, kind, stream=None):
        """First event of that kind (of that stream), now or later."""
        def fits(e):
            return isinstance(e, kind) and (stream is None or getattr(e, "stream_id", None) == stream)
        for e in self.events:
            if fits(e):
                return e
        while True:
            for e in self.pump():
                if fits(e):
                    return e

    def answer(self, sid):
        self.wait(h2.events.StreamEnded, sid)
        head = next(e for e in self.events if isinstance(e, h2.events.ResponseReceived) and e.stream_id == sid)
        body = b"".join(e.data for e in self.events if isinstance(e, h2.events.DataReceived) and e.stream_id == sid)
        headers = dict(head.headers)
        return int(headers[":status"]), headers, body

    def get(self, path, headers=(), body=b"", **more):
        return self.answer(self.send(path, headers, body, **more))

    def wait_closed(self):
        try:
            while True:
                self.pump()
        except (Closed, OSError):
            return

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
