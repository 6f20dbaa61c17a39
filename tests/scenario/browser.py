"""A browser's side of Web Push: it subscribes, and opens what is sent to it (RFC 8291, by python3-cryptography)."""
import base64
import json
import os

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def point(key):
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def hkdf(salt, key, info, length):
    return HKDF(hashes.SHA256(), length, salt, info).derive(key)


class Browser:
    def __init__(self, private=None, auth=None):
        self.key = ec.derive_private_key(int.from_bytes(unb64(private), "big"), ec.SECP256R1()) if private else ec.generate_private_key(ec.SECP256R1())
        self.auth = unb64(auth) if auth else os.urandom(16)
        self.point = point(self.key.public_key())

    def subscription(self, endpoint):
        return json.dumps({"endpoint": endpoint, "expirationTime": None, "keys": {"p256dh": b64(self.point), "auth": b64(self.auth)}})

    def open(self, body):
        salt, record, size, sender = body[:16], int.from_bytes(body[16:20], "big"), body[20], body[21:86]
        assert size == 65 and len(body) - 86 <= record, "one record"
        shared = self.key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender))
        ikm = hkdf(self.auth, shared, b"WebPush: info\0" + self.point + sender, 32)
        text = AESGCM(hkdf(salt, ikm, b"Content-Encoding: aes128gcm\0", 16)).decrypt(hkdf(salt, ikm, b"Content-Encoding: nonce\0", 12), body[86:], None)
        text = text.rstrip(b"\0")
        assert text[-1:] == b"\2", "the last record"
        return text[:-1]


def vapid(header):
    """Claims of an authorization header whose signature is good, and the key."""
    scheme, t, k = header.split(" ")
    jwt, key = t.removeprefix("t=").removesuffix(","), unb64(k.removeprefix("k="))
    assert scheme == "vapid" and t.startswith("t=") and k.startswith("k=")
    signed, signature = jwt.rsplit(".", 1)
    raw = unb64(signature)
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key).verify(der, signed.encode(), ec.ECDSA(hashes.SHA256()))
    head, claims = (json.loads(unb64(part)) for part in signed.split("."))
    assert head == {"typ": "JWT", "alg": "ES256"}
    return claims, key
