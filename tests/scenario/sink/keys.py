"""Keys and tokens a sender would have."""
import base64
import hashlib
import hmac
import time

import jwt
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

PEM, PKCS8, NONE = ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption()
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"


class Keys:
    def __init__(self, folder):
        self.apns = ec.generate_private_key(ec.SECP256R1())
        self.fcm = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.apns_p8 = folder / "apns.p8"
        self.apns_p8.write_bytes(self.apns.private_bytes(PEM, PKCS8, NONE))
        self.fcm_pem = folder / "fcm.pem"
        self.fcm_pem.write_bytes(self.fcm.public_key().public_bytes(PEM, ser.PublicFormat.SubjectPublicKeyInfo))
        self.secret = bytes(range(32))
        self.webhook_secret = "whsec_" + base64.b64encode(self.secret).decode()
        self.ed = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
        raw = self.ed.public_key().public_bytes(ser.Encoding.Raw, ser.PublicFormat.Raw)
        self.webhook_public = "whpk_" + base64.b64encode(raw).decode()

    def apns_jwt(self, iat=None, key=None, **claims):
        iat = int(time.time()) if iat is None else iat
        return jwt.encode({"iss": "DEF123GHIJ", "iat": iat, **claims}, key or self.apns, algorithm="ES256",
                          headers={"kid": "ABC123DEFG"})

    def fcm_assertion(self, key=None, **over):
        now = int(time.time())
        claims = {"iss": "sender@demo.iam.gserviceaccount.com", "scope": SCOPE,
                  "aud": "https://oauth2.googleapis.com/token", "iat": now, "exp": now + 3600, **over}
        return jwt.encode(claims, key or self.fcm, algorithm="RS256", headers={"kid": "0123456789abcdef"})

    def webhook_headers(self, id_, body, timestamp=None, secret=None, asymmetric=False):
        ts = str(int(time.time()) if timestamp is None else timestamp)
        content = f"{id_}.{ts}.".encode() + body
        if asymmetric:
            sig = "v1a," + base64.b64encode(self.ed.sign(content)).decode()
        else:
            sig = "v1," + base64.b64encode(hmac.new(secret or self.secret, content, hashlib.sha256).digest()).decode()
        return {"webhook-id": id_, "webhook-timestamp": ts, "webhook-signature": sig, "content-type": "application/json"}
