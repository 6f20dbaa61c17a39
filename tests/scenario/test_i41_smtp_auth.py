"""What is said to log in to a mail server, to the byte: the published examples of each mechanism."""
import base64
import socketserver
import threading

import pytest

CHALLENGE = b"<1896.697170952@postoffice.reston.mci.net>"
GOOGLE = "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ=="


class Mailer(socketserver.ThreadingTCPServer):
    """Takes every password and every mail, and writes down what was said between AUTH and the answer to it, and who sends."""
    allow_reuse_address = daemon_threads = True

    def __init__(self, mechanism):
        self.mechanism, self.said, self.mails, self.senders = mechanism, [], 0, []
        super().__init__(("127.0.0.1", 0), Talk)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Talk(socketserver.StreamRequestHandler):
    def say(self, *lines):
        for line in lines:
            self.wfile.write(line.encode() + b"\r\n")

    def hear(self):
        line = self.rfile.readline().decode().rstrip("\r\n")
        self.server.said.append(line)
        return line

    def challenge(self, text):
        self.say("334 " + base64.b64encode(text).decode())
        return self.hear()

    def log_in(self, words):
        said = self.server.said
        said.append(" ".join(words))
        if words[1] == "LOGIN":
            if len(words) == 2:
                self.challenge(b"Username:")
            self.challenge(b"Password:")
        elif words[1] == "CRAM-MD5":
            self.challenge(CHALLENGE)
        elif len(words) == 2:
            self.challenge(b"")
        self.say("235 2.7.0 Accepted")

    def handle(self):
        self.say("220 mx.example.org ESMTP")
        while line := self.rfile.readline().decode().rstrip("\r\n"):
            words = line.split(" ")
            verb = words[0].upper()
            if verb == "EHLO":
                self.say("250-mx.example.org", f"250 AUTH {self.server.mechanism}")
            elif verb == "AUTH":
                self.log_in(words)
            elif verb == "DATA":
                self.say("354 go on")
                while self.rfile.readline() not in (b".\r\n", b""):
                    pass
                self.server.mails += 1
                self.say("250 2.0.0 Ok")
            else:
                if verb == "MAIL":
                    self.server.senders.append(words[1].partition(":")[2])
                self.say("221 bye" if verb == "QUIT" else "250 2.0.0 Ok")
                if verb == "QUIT":
                    return


@pytest.mark.parametrize("mechanism,user,password,said", [
    ("PLAIN", "user@example.com", "s3cret", ["AHVzZXJAZXhhbXBsZS5jb20AczNjcmV0"]),
    ("LOGIN", "user@example.com", "s3cret", ["dXNlckBleGFtcGxlLmNvbQ==", "czNjcmV0"]),
    ("CRAM-MD5", "tim", "tanstaaftanstaaf", [base64.b64encode(b"tim b913a602c7eda7a495b4e6e7334d3890").decode()]),
    ("XOAUTH2", "someuser@example.com", "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg", [GOOGLE]),
])
def test_what_logs_in(engine, sink, redis, mechanism, user, password, said):
    with Mailer(mechanism) as server:
        e = engine(sink, redis, channels={"mail": {
            "adapter": "email/smtp", "host": "127.0.0.1", "port": server.server_address[1], "security": "none", "auth": mechanism, "user": user,
            "password": password, "from": "news@example.com"}})
        e.wait_state(e.send(channel="mail", to="bo@example.net", content={"title": "t", "body": "hi"}), "sent", "failed")
        server.shutdown()
        words = " ".join(server.said).split(" ")
        assert words[:2] == ["AUTH", mechanism] and words[2:] == said and server.mails == 1
