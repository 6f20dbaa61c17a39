"""Every profile answers like its provider and checks what it receives."""
import json
import time
import uuid

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from sink_client import Sink

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TOKEN = "ab" * 32


@pytest.fixture
def client(sink):
    with httpx.Client(http2=True, verify=sink.ca, base_url=sink.tls_url) as c:
        yield c


def apns(client, keys, token=TOKEN, body=b'{"aps":{"alert":"hi"}}', drop=(), method="POST", **headers):
    h = {"authorization": "bearer " + keys.apns_jwt(), "apns-topic": "com.example.app", "apns-push-type": "alert"}
    h.update({k.replace("_", "-"): v for k, v in headers.items()})
    for name in drop:
        del h[name]
    return client.request(method, "/3/device/" + token, content=body, headers=h)


# -- APNs -------------------------------------------------------------------------

def test_apns_accepts_and_echoes_the_id(sink, client, keys):
    id_ = str(uuid.uuid4())
    r = apns(client, keys, apns_id=id_)
    assert (r.status_code, r.content, r.headers["apns-id"]) == (200, b"", id_)
    made = apns(client, keys).headers["apns-id"]
    assert uuid.UUID(made).version == 4
    assert sink.accepted("apns", id_) == 1
    assert sink.ledger("apns") == {"requests": 2, "accepted_requests": 2, "accepted": 1, "unique": 1, "duplicates": 0,
                                   "status": {"200": 2}}


@pytest.mark.parametrize("status, reason, change", [
    (405, "MethodNotAllowed", {"method": "PUT"}),
    (400, "MissingDeviceToken", {"token": ""}),
    (404, "BadPath", {"token": TOKEN + "/x"}),
    (400, "BadDeviceToken", {"token": "zz" * 32}),
    (400, "BadDeviceToken", {"token": "ab" * 31}),
    (400, "BadDeviceToken", {"token": "ab" * 101}),
    (403, "MissingProviderToken", {"drop": ["authorization"]}),
    (403, "InvalidProviderToken", {"authorization": "bearer x.y.z"}),
    (400, "MissingTopic", {"drop": ["apns-topic"]}),
    (400, "InvalidPushType", {"apns_push_type": "loud"}),
    (400, "BadTopic", {"apns_push_type": "voip"}),
    (400, "BadPriority", {"apns_priority": "7"}),
    (400, "BadPriority", {"apns_push_type": "background"}),
    (400, "BadPriority", {"apns_push_type": "background", "apns_priority": "10"}),
    (400, "BadExpirationDate", {"apns_expiration": "soon"}),
    (400, "BadCollapseId", {"apns_collapse_id": "c" * 65}),
    (400, "BadMessageId", {"apns_id": "17"}),
    (400, "PayloadEmpty", {"body": b""}),
    (400, "PayloadEmpty", {"body": b'{"aps":'}),
    (400, "PayloadEmpty", {"body": b'[1]'}),
    (413, "PayloadTooLarge", {"body": b'{"a":"' + b"x" * 4090 + b'"}'}),
])
def test_apns_refuses(sink, client, keys, status, reason, change):
    r = apns(client, keys, **change)
    assert (r.status_code, r.json()["reason"]) == (status, reason)
    assert r.headers["apns-id"]
    assert sink.ledger()["accepted"] == 0 and sink.ledger("apns")["accepted_requests"] == 0


@pytest.mark.parametrize("change", [
    {"apns_push_type": "background", "apns_priority": "5"},
    {"apns_push_type": "voip", "apns_topic": "com.example.app.voip", "body": b'{"a":"' + b"x" * 5112 + b'"}'},
    {"apns_push_type": "liveactivity", "apns_topic": "com.example.app.push-type.liveactivity"},
    {"apns_expiration": "0", "apns_collapse_id": "c" * 64, "apns_priority": "1"},
    {"body": b'{"a":"' + b"x" * 4088 + b'"}'},
    {"token": "AB" * 100},
    {"drop": ["apns-push-type"]},
])
def test_apns_accepts_what_is_allowed(client, keys, change):
    assert apns(client, keys, **change).status_code == 200


def test_apns_provider_token(sink, client, keys):
    now = int(time.time())

    def reason(token):
        r = apns(client, keys, authorization="bearer " + token)
        return r.json()["reason"] if r.status_code != 200 else "ok"

    assert reason(keys.apns_jwt(now - 3500)) == "ok"
    assert reason(keys.apns_jwt(now - 3700)) == "ExpiredProviderToken"
    assert reason(keys.apns_jwt(now + 4000)) == "InvalidProviderToken"
    assert reason(keys.apns_jwt(key=ec.generate_private_key(ec.SECP256R1()))) == "InvalidProviderToken"
    good = keys.apns_jwt(now)
    head, claims, sig = good.split(".")
    assert reason(good) == "ok"
    assert reason(f"{head}.{claims}.{'A' if sig[0] != 'A' else 'B'}{sig[1:]}") == "InvalidProviderToken"
    assert reason(good + "=") == "InvalidProviderToken"


def test_apns_token_ages_while_cached(keys):
    with Sink("--apns-key", keys.apns_p8) as sink, \
            httpx.Client(http2=True, verify=sink.ca, base_url=sink.tls_url) as client:
        token = "bearer " + keys.apns_jwt()
        assert apns(client, keys, authorization=token).status_code == 200
        sink.advance(3_500_000)
        assert apns(client, keys, authorization=token).status_code == 200
        sink.advance(200_000)
        assert apns(client, keys, authorization=token).json() == {"reason": "ExpiredProviderToken"}


def test_apns_published_vector_needs_only_its_form_without_a_key():
    vector = ("eyJhbGciOiJFUzI1NiIsImtpZCI6IkFCQzEyM0RFRkcifQ.eyJpc3MiOiJERUYxMjNHSElKIiwiaWF0IjoxNzAwMDAwMDAwfQ."
              "uDhZPFSxFEQ0ZjjwuJ3TVoOvdIA5aMag7fo9obKMYVCy7mjlNmjs__BfwL9xboqpF_FDBwh9G5mbN-ZrAMN-Gw")
    with Sink(tls=False) as sink:
        r = httpx.post(sink.url + "/3/device/" + TOKEN, content="{}",
                       headers={"authorization": "bearer " + vector, "apns-topic": "t"})
        assert r.json() == {"reason": "ExpiredProviderToken"}, "well formed, but of 2023"


def test_every_special_answer_of_apns(sink, client, keys):
    rows = next(p for p in sink.get("/control/profiles") if p["name"] == "apns")["special"]
    assert len(rows) > 30
    for row in rows:
        r = apns(client, keys, token=row["prefix"] + "0" * (64 - len(row["prefix"])), apns_id=str(uuid.uuid4()))
        assert (r.status_code, r.json()["reason"]) == (row["status"], row["name"])
        assert ("timestamp" in r.json()) == (row["status"] == 410)
    assert sink.ledger()["unique"] == 0
    assert apns(client, keys, token="dead" + "a" * 60).status_code == 200, "only whole triggers count"


def test_special_prefixes_can_be_chosen(sink, client, keys):
    sink.knobs({"apns": {"special": {"c0ffee": "TooManyRequests"}}})
    assert apns(client, keys, token="c0ffee" + "0" * 58).json() == {"reason": "TooManyRequests"}


# -- FCM --------------------------------------------------------------------------

def oauth(client, assertion, grant=GRANT):
    return client.post("/token", data={"grant_type": grant, "assertion": assertion})


@pytest.fixture
def fcm(client, keys):
    bearer = oauth(client, keys.fcm_assertion()).json()["access_token"]

    def send(message, token=bearer, project="demo", **top):
        body = message if isinstance(message, bytes) else json.dumps({"message": message, **top})
        return client.post(f"/v1/projects/{project}/messages:send", content=body,
                           headers={"authorization": "Bearer " + token, "content-type": "application/json"})
    return send


def test_fcm_token_exchange(client, keys):
    r = oauth(client, keys.fcm_assertion())
    assert r.status_code == 200
    assert r.json()["token_type"] == "Bearer" and r.json()["expires_in"] == 3599
    assert r.json()["access_token"].startswith("ya29.")


@pytest.mark.parametrize("error, text, make", [
    ("unsupported_grant_type", "grant", lambda k: (k.fcm_assertion(), "password")),
    ("invalid_grant", "malformed", lambda k: ("nonsense", GRANT)),
    ("invalid_grant", "RS256", lambda k: (k.apns_jwt(), GRANT)),
    ("invalid_grant", "Signature", lambda k: (k.fcm_assertion(key=rsa.generate_private_key(65537, 2048)), GRANT)),
    ("invalid_grant", "scope", lambda k: (k.fcm_assertion(scope="email"), GRANT)),
    ("invalid_grant", "aud", lambda k: (k.fcm_assertion(aud="https://example.com/"), GRANT)),
    ("invalid_grant", "iss", lambda k: (k.fcm_assertion(iss=""), GRANT)),
    ("invalid_grant", "timeframe", lambda k: (k.fcm_assertion(exp=int(time.time()) - 1), GRANT)),
    ("invalid_grant", "timeframe", lambda k: (k.fcm_assertion(exp=int(time.time()) + 7200), GRANT)),
])
def test_fcm_token_exchange_refuses(client, keys, error, text, make):
    r = oauth(client, *make(keys))
    assert r.status_code == 400 and r.json()["error"] == error and text in r.json()["error_description"]


def test_fcm_accepts_and_counts_the_id(sink, fcm):
    r = fcm({"token": "t1", "notification": {"title": "订单", "body": "b"}, "data": {"hermod_id": "m-é-1"}})
    assert r.status_code == 200 and r.json()["name"].startswith("projects/demo/messages/")
    assert fcm({"topic": "news", "data": {"hermod_id": "m-2"}}).status_code == 200
    assert fcm({"token": "t1", "data": {"hermod_id": "m-3"}}, validate_only=True).status_code == 200
    assert sink.dump("fcm") == {("fcm", "m-é-1"): 1, ("fcm", "m-2"): 1}


@pytest.mark.parametrize("message", [
    b"{not json", b"[]", b"{}",
    {"notification": {"title": "no target"}},
    {"token": "a", "topic": "b"},
    {"token": ""},
    {"token": 5},
    {"token": "a", "data": {"n": 1}},
    {"token": "a", "data": {"from": "x"}},
    {"token": "a", "data": {"google.x": "x"}},
    {"token": "a", "data": {"k": "x" * 4096}},
    {"token": "a", "android": {"ttl": "1h"}},
    {"token": "a", "android": {"ttl": "2419201s"}},
    {"token": "a", "notification": "text"},
])
def test_fcm_refuses_bad_messages(sink, fcm, message):
    r = fcm(message)
    assert r.status_code == 400 and r.json()["error"]["status"] == "INVALID_ARGUMENT"
    assert sink.ledger()["accepted"] == 0


def test_fcm_bearer(sink, fcm, client, keys):
    assert fcm({"token": "a"}, token="ya29.unknown").json()["error"]["status"] == "UNAUTHENTICATED"
    assert fcm({"token": "a"}, project="other").status_code == 404
    assert fcm({"token": "a"}).status_code == 200
    assert sink.tokens("invalidate", "fcm") >= 1
    assert fcm({"token": "a"}).status_code == 401


def test_fcm_token_expires(keys):
    with Sink("--fcm-key", keys.fcm_pem, tls=False) as sink, httpx.Client(base_url=sink.url) as client:
        sink.knobs({"fcm": {"token_ttl": 60}})
        r = oauth(client, keys.fcm_assertion()).json()
        assert r["expires_in"] == 60

        def send():
            return client.post("/v1/projects/p/messages:send", json={"message": {"token": "a"}},
                               headers={"authorization": "Bearer " + r["access_token"]}).status_code
        assert send() == 200
        sink.advance(59_000)
        assert send() == 200
        sink.advance(2_000)
        assert send() == 401


def test_every_special_answer_of_fcm(sink, fcm):
    rows = next(p for p in sink.get("/control/profiles") if p["name"] == "fcm")["special"]
    for row in rows:
        r = fcm({"token": row["prefix"] + "-1", "data": {"hermod_id": row["name"]}})
        error = r.json()["error"]
        assert r.status_code == error["code"] == row["status"]
        codes = [d["errorCode"] for d in error.get("details", []) if d["@type"].endswith("FcmError")]
        want = {"INVALID_TOKEN": ["INVALID_ARGUMENT"], "INVALID_ARGUMENT": [], "UNAUTHENTICATED": [], "NOT_FOUND": [],
                "PERMISSION_DENIED": [], "RESOURCE_EXHAUSTED": []}.get(row["name"], [row["name"]])
        assert codes == want, row
        assert ("retry-after" in r.headers) == (row["status"] in (429, 503))
    assert sink.ledger()["unique"] == 0


# -- WeCom ------------------------------------------------------------------------

def gettoken(client, corp="ww1", secret="s3cret"):
    return client.get("/cgi-bin/gettoken", params={"corpid": corp, "corpsecret": secret}).json()


def wecom(client, token, touser="zhangsan", agentid=1000002, **more):
    body = {"touser": touser, "msgtype": "text", "agentid": agentid, "text": {"content": "工单 8841 已关闭"}, **more}
    return client.post("/cgi-bin/message/send", params={"access_token": token} if token else {},
                       content=json.dumps(body, ensure_ascii=False).encode()).json()


def test_wecom_tokens(sink, client):
    a = gettoken(client)
    assert a["errcode"] == 0 and a["expires_in"] in (7199, 7200)
    assert gettoken(client)["access_token"] == a["access_token"], "the same within its lifetime"
    assert gettoken(client, secret="wrong")["errcode"] == 40001
    assert gettoken(client, corp="bad-corp")["errcode"] == 40013
    assert gettoken(client, corp="")["errcode"] == 41002
    assert gettoken(client, secret="")["errcode"] == 41004
    assert wecom(client, None)["errcode"] == 41001
    assert wecom(client, "made-up")["errcode"] == 40014
    assert wecom(client, a["access_token"])["errcode"] == 0
    sink.tokens("expire", "wecom")
    assert wecom(client, a["access_token"])["errcode"] == 42001
    sink.tokens("invalidate", "wecom")
    assert wecom(client, a["access_token"])["errcode"] == 40014
    assert gettoken(client)["access_token"] != a["access_token"]


def test_wecom_partial_recipients(sink, client):
    token = gettoken(client)["access_token"]
    r = wecom(client, token, "ZhangSan|badOne|lisi|unlicensed-Two|bad3")
    assert (r["errcode"], r["invaliduser"], r["unlicenseduser"]) == (0, "badone|bad3", "unlicensed-two")
    assert r["msgid"]
    assert sink.dump("wecom") == {("wecom", "ZhangSan"): 1, ("wecom", "lisi"): 1}
    assert wecom(client, token, "bad1|bad2")["errcode"] == 81013
    assert sink.ledger("wecom")["accepted"] == 2


@pytest.mark.parametrize("code, change", [
    (40056, {"agentid": 0}),
    (40056, {"agentid": "x"}),
    (82001, {"touser": ""}),
    (40032, {"touser": "|".join(f"u{i}" for i in range(1001))}),
    (40008, {"msgtype": "song"}),
    (44004, {"text": {"content": ""}}),
    (44004, {"msgtype": "markdown"}),
    (45009, {"touser": "lisi|err-45009"}),
    (45033, {"agentid": 7000045033}),
    (-1, {"touser": "err--1"}),
])
def test_wecom_refuses(sink, client, code, change):
    assert wecom(client, gettoken(client)["access_token"], **change)["errcode"] == code
    assert sink.ledger("wecom")["accepted"] == 0


def test_every_special_answer_of_wecom(sink, client):
    token = gettoken(client)["access_token"]
    for row in next(p for p in sink.get("/control/profiles") if p["name"] == "wecom")["special"]:
        assert wecom(client, token, row["prefix"])["errcode"] == int(row["name"])


def test_wecom_thousand_recipients(sink, client):
    token = gettoken(client)["access_token"]
    assert wecom(client, token, "|".join(f"u{i}" for i in range(1000)))["errcode"] == 0
    assert sink.ledger("wecom")["unique"] == 1000


# -- signed webhook ------------------------------------------------------------------

def test_webhook_signature(sink, client, keys):
    body = b'{"type":"parcel.moved"}'

    def post(name="orders", data=body, **make):
        return client.post("/hook/" + name, content=data, headers=keys.webhook_headers("msg_1", body, **make))

    assert post().status_code == 200
    assert sink.accepted("webhook", "msg_1") == 1
    for why, r in {"does not match": post(data=body + b" "), "tolerance": post(timestamp=1), "match": post(secret=b"x" * 32)}.items():
        assert r.status_code == 401 and why in r.json()["error"]
    assert post("signed", asymmetric=True).status_code == 200
    assert post("orders", asymmetric=True).status_code == 401, "the Ed25519 key belongs to the other hook"
    rotated = keys.webhook_headers("msg_2", body)
    rotated["webhook-signature"] = "v1,AAAA v2,what " + rotated["webhook-signature"]
    assert client.post("/hook/orders", content=body, headers=rotated).status_code == 200
    assert client.post("/hook/orders", content=body).status_code == 401
    assert client.get("/hook/orders").status_code == 405
    assert sink.dump("webhook") == {("webhook", "msg_1"): 2, ("webhook", "msg_2"): 1}


def test_webhook_published_vectors(keys):
    rows = [("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}',
             "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
            ("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "msg_1", "1700000000", b'{"a":1}',
             "v1,AMaOha7DUT/0J0JMycRuYOBSvbx3WtwLd2khXXbaVj4="),
            ("whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=", "msg_1", "1700000000", b'{"a":1}',
             "v1a,DA+4m4VqA33Hm9Wlha/1LaJIOTEvbTa2btJ5gtcP1KIJ83aMbtlDaDEj9gW4UzCjPd9EMUgy41eDWvfIiFddCQ==")]
    for secret, id_, ts, body, sig in rows:
        with Sink("--webhook-secret", secret, "--webhook-tolerance", "10000d", tls=False) as sink:
            h = {"webhook-id": id_, "webhook-timestamp": ts, "webhook-signature": sig}
            assert httpx.post(sink.url + "/hook/v", content=body, headers=h).status_code == 200
            assert httpx.post(sink.url + "/hook/v", content=body + b" ", headers=h).status_code == 401


def test_webhook_status_hooks(client, keys):
    def post(name):
        return client.post("/hook/" + name, content=b"{}", headers=keys.webhook_headers("m", b"{}"))
    assert post("status-410").status_code == 410
    assert post("status-204").status_code == 204
    assert post("status-429").headers["retry-after"] == "1"
    assert post("status-302").headers["location"]


# -- echo ----------------------------------------------------------------------------

def test_echo_ids(sink, client):
    client.post("/any/path?x=1", headers={"x-hermod-id": "a"})
    client.post("/any/path", headers={"idempotency-key": "b"})
    client.post("/any/path", json={"id": "c"})
    client.post("/any/path", json={"id": 5})
    assert client.get("/status/503").status_code == 503
    assert sink.dump() == {("echo", "a"): 1, ("echo", "b"): 1, ("echo", "c"): 1}
