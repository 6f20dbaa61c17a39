"""Amazon SNS end to end: a topic subscribes, is confirmed, and reports what failed; its certificate is fetched. Amazon is a server of this test."""
import base64
import datetime
import http.server
import json
import ssl
import threading
import urllib.parse

import pytest
from conftest import http as call, wait_for
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

HOST = "sns.us-east-1.amazonaws.com"
TOPIC = "arn:aws:sns:us-east-1:123456789012:push-failures"
PHONE = "arn:aws:sns:us-east-1:123456789012:endpoint/GCM/app/5e3e9847-3183-3f18-a7e8-671c3a57d4b3"
CERTIFICATE = f"https://{HOST}/SimpleNotificationService-1.pem"


def certificate(name, key, issuer, issuer_key, ca=False):
    now = datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    b = (x509.CertificateBuilder().subject_name(name).issuer_name(issuer or name).public_key(key.public_key()).serial_number(x509.random_serial_number())
         .not_valid_before(now - datetime.timedelta(days=400)).not_valid_after(now + datetime.timedelta(days=400))
         .add_extension(x509.BasicConstraints(ca=ca, path_length=None), True)
         .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), False))
    return b.sign(issuer_key, hashes.SHA256())


def pem(c):
    return c.public_bytes(serialization.Encoding.PEM)


class Amazon:
    """Signs, has a certificate for everybody to get, and counts who comes."""

    def __init__(self, folder):
        ca_key, self.key, tls_key = (rsa.generate_private_key(65537, 2048) for _ in range(3))
        ca = certificate("Test CA", ca_key, None, ca_key, ca=True)
        self.signing = pem(certificate(HOST, self.key, ca.subject, ca_key))
        self.ca = str(folder / "amazon-ca.pem")
        (folder / "amazon-ca.pem").write_bytes(pem(ca))
        (folder / "amazon.pem").write_bytes(pem(certificate(HOST, tls_key, ca.subject, ca_key)) + tls_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        self.seen, self.broken, outer = [], False, self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def say(self, status, body):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                outer.seen.append(self.path)
                if outer.broken:
                    self.say(500, b"")
                elif self.path == "/SimpleNotificationService-1.pem":
                    self.say(200, outer.signing)
                else:
                    self.say(200, b"<ConfirmSubscriptionResponse/>")

            def do_POST(self):
                form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self.say(200, f"<PublishResponse><PublishResult><MessageId>to-{form['TargetArn'][0][-4:]}</MessageId></PublishResult></PublishResponse>".encode())

            def log_message(self, *a):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "amazon.pem")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def note(self, type, message, topic=TOPIC, id="m-1", **more):
        """What SNS sends, signed."""
        n = {"Type": type, "MessageId": id, "TopicArn": topic, "Message": message if isinstance(message, str) else json.dumps(message),
             "Timestamp": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"), "SignatureVersion": "2", "SigningCertURL": CERTIFICATE, **more}
        if type == "SubscriptionConfirmation":
            n = {"Token": "t0k", "SubscribeURL": f"https://{HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=t0k", **n}
        names = ["Message", "MessageId", "SubscribeURL", "Subject", "Timestamp", "Token", "TopicArn", "Type"]
        text = "".join(f"{k}\n{n[k]}\n" for k in names if k in n)
        return {**n, "Signature": base64.b64encode(self.key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())).decode()}


@pytest.fixture
def amazon(tmp_path):
    a = Amazon(tmp_path)
    yield a
    a.server.shutdown()
    a.server.server_close()


@pytest.fixture
def e(engine, sink, redis, amazon):
    account = {"adapter": "push/sns-mobile", "access_key_id": "AKID", "secret_access_key": "s3cret", "region": "us-east-1", "topic": TOPIC}
    return engine(sink, redis, channels={"aws": {**account, "endpoint": {"connect_to": amazon.address, "ca_file": amazon.ca}},
                                         "other": {**account, "topic": TOPIC + "-2", "endpoint": {"connect_to": amazon.address, "ca_file": amazon.ca}}},
                  settings={"callbacks": {"public_url": "https://hub.example.com"}})


def told(e, note, channel="aws"):
    return call("POST", e.url(f"/v1/callbacks/{channel}"), json.dumps(note).encode(), {"Content-Type": "text/plain; charset=UTF-8"}).status


def test_a_topic_is_confirmed_and_reports_who_is_gone(e, amazon):
    assert told(e, amazon.note("SubscriptionConfirmation", "You have chosen to subscribe to the topic.")) == 200
    assert amazon.seen == ["/SimpleNotificationService-1.pem", f"/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=t0k"]
    id = e.send(channel="aws", to=PHONE, content={"body": "hi"})
    e.wait_state(id, "sent")
    gone = {"DeliveryAttempts": 1, "EndpointArn": PHONE, "EventType": "DeliveryFailure", "FailureMessage": "Endpoint is disabled",
            "FailureType": "EndpointDisabled", "MessageId": "to-d4b3", "Service": "SNS"}
    assert told(e, amazon.note("Notification", gone, id="m-2")) == 200
    wait_for(lambda: e.message(id).get("reason", "").startswith("failed"), 10, "the message says what became of it")
    list = call("GET", e.url(f"/v1/suppressions?address={urllib.parse.quote(PHONE)}"), None, e.headers()).json["suppressions"]
    assert [x["medium"] for x in list] == ["push"]
    # The certificate is kept, and a note that comes again is nothing new.
    assert told(e, amazon.note("Notification", gone, id="m-2")) == 200
    assert amazon.seen.count("/SimpleNotificationService-1.pem") == 1 and len(amazon.seen) == 2


def test_what_is_not_amazons_is_neither_believed_nor_visited(e, amazon):
    note = amazon.note("SubscriptionConfirmation", "m")
    assert told(e, {**note, "Message": "x"}) == 403
    assert told(e, {**note, "SubscribeURL": f"https://{HOST}/?Action=ConfirmSubscription&Token=other"}) == 403
    assert told(e, note, channel="other") == 403
    assert told(e, amazon.note("SubscriptionConfirmation", "m", topic=TOPIC + "-3")) == 403
    seen = len(amazon.seen)
    assert seen == 1
    # Signed by somebody who has a server and a key, but not Amazon's host.
    for url in ("https://sns.us-east-1.amazonaws.com.example.net/a.pem", "http://sns.us-east-1.amazonaws.com/a.pem",
                "https://s3.us-east-1.amazonaws.com/a.pem", "https://sns.us-east-1.amazonaws.com@127.0.0.1/a.pem", f"https://{HOST}:8443/a.pem"):
        assert told(e, {**note, "SigningCertURL": url}) == 403
    # Genuine, and yet to be sent elsewhere.
    for url in ("https://sns.us-east-1.amazonaws.com.example.net/?Token=t", "https://169.254.169.254/latest", f"http://{HOST}/?Token=t"):
        assert told(e, amazon.note("SubscriptionConfirmation", "m", SubscribeURL=url)) == 400
    assert len(amazon.seen) == seen


def test_what_cannot_be_fetched_now_is_to_be_sent_again(e, amazon):
    note = amazon.note("SubscriptionConfirmation", "m")
    amazon.broken = True
    assert told(e, note) == 503
    amazon.broken = False
    assert told(e, note) == 200
    amazon.broken = True
    assert told(e, note) == 503
    assert [p.partition("?")[0] for p in amazon.seen] == ["/SimpleNotificationService-1.pem"] * 2 + ["/"] * 2
