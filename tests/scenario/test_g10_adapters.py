"""Every adapter file, through a real engine: one message that its provider takes, one that it refuses.

The simulator answers as the provider would: what it says stands here, beside what has to come of it.
"""
import pytest

from conftest import ROOT, channels_to
from stage import Stage

DEVICE = "1" * 64
OUTCOMES = ("bad_request", "invalid_recipient", "auth", "rate_limited", "retry", "provider_down", "unknown")


class Case:
    """settings of the channel; an address; the provider's yes and no (replies of a script), and what the no means."""

    def __init__(self, to, yes, no, outcome, settings=None, path="/", method="POST", special=None, options=None, has=None):
        self.to, self.yes, self.no, self.outcome, self.settings = to, yes, no, outcome, settings
        self.path, self.method, self.special, self.options, self.has = path, method, special, options, has
        assert outcome in OUTCOMES


def says(status=200, json=None, body=None, **headers):
    r = {"status": status, "accept": status < 300}
    if json is not None:
        r["json"] = json
        headers.setdefault("content_type", "application/json")
    if body is not None:
        r["body"] = body
    if headers:
        r["headers"] = {k.replace("_", "-"): v for k, v in headers.items()}
    return r


PHONE = "+8613800000000"
ROOM = "!abc:example.org"

# The four that the simulator plays itself have no yes: it checks and answers. Their no is a special target.
CASES = {
    "push/apns": Case(DEVICE, None, None, "invalid_recipient", special="dead4100" + "0" * 56),
    "push/fcm": Case("token-1", None, None, "invalid_recipient", special="sink-UNREGISTERED-1"),
    "chat/wecom-app": Case("zhangsan", None, None, "invalid_recipient", special="err-81013"),
    "webhook/standard": Case("customer-1", None, says(410), "invalid_recipient", path="/hook/demo"),

    "sms/twilio": Case(
        PHONE, says(201, {"sid": "SM1", "status": "queued", "error_code": None}), says(400, {"code": 21211, "message": "m", "status": 400}),
        "invalid_recipient", {"account_sid": "AC1", "auth_token": "t0ken-1", "from": "+14155550101"},
        "/2010-04-01/Accounts/AC1/Messages.json", has="Body="),
    "sms/aliyun": Case(
        PHONE, says(200, {"Code": "OK", "Message": "OK", "BizId": "9^0"}), says(200, {"Code": "isv.MOBILE_NUMBER_ILLEGAL", "Message": "m"}),
        "invalid_recipient", {"access_key_id": "id", "access_key_secret": "s3cret-1", "sign_name": "测试", "template": "SMS_1",
                              "body_param": "content"}, "/", has="Signature="),
    "email/sendgrid": Case(
        "b@example.net", says(202, body="", x_message_id="m1"),
        says(400, {"errors": [{"message": "Does not contain a valid address.", "field": "personalizations.0.to.0.email"}]}),
        "invalid_recipient", {"api_key": "SG.secret", "from": "a@example.com"}, "/v3/mail/send"),
    "email/resend": Case(
        "b@example.net", says(200, {"id": "49a3"}), says(422, {"statusCode": 422, "name": "invalid_parameter", "message": "m"}),
        "bad_request", {"api_key": "re_secret", "from": "a@example.com"}, "/emails"),
    "chat/slack": Case(
        "C0123456789", says(200, {"ok": True, "channel": "C0123456789", "ts": "1.1"}), says(200, {"ok": False, "error": "channel_not_found"}),
        "invalid_recipient", {"token": "xoxb-secret"}, "/api/chat.postMessage"),
    "chat/slack-webhook": Case(
        "ops", says(200, body="ok"), says(410, body="channel_is_archived"), "invalid_recipient",
        {"url": "https://hooks.slack.com/services/T0/B0/XXXX"}, ""),
    "chat/telegram": Case(
        "-1001234567890", says(200, {"ok": True, "result": {"message_id": 42, "chat": {"id": -1001234567890}}}),
        says(403, {"ok": False, "error_code": 403, "description": "Forbidden: bot was kicked from the supergroup chat"}),
        "invalid_recipient", {"token": "123:AAsecret"}, "/bot123:AAsecret/sendMessage"),
    "chat/dingtalk-robot": Case(
        "ops", says(200, {"errcode": 0, "errmsg": "ok"}), says(200, {"errcode": 310000, "errmsg": "keywords not in content"}), "bad_request",
        {"access_token": "t0ken-1", "secret": "SECsecret"}, "/robot/send"),
    "chat/feishu-robot": Case(
        "ops", says(200, {"code": 0, "msg": "success"}), says(200, {"code": 19024, "msg": "Key Words Not Found"}), "bad_request",
        {"token": "t0ken-1", "secret": "s3cret-1"}, "/open-apis/bot/v2/hook/t0ken-1"),
    "chat/wecom-robot": Case(
        "ops", says(200, {"errcode": 0, "errmsg": "ok"}), says(200, {"errcode": 40058, "errmsg": "m"}), "bad_request",
        {"key": "k3y-secret"}, "/cgi-bin/webhook/send"),
    "chat/discord": Case(
        "ops", says(200, {"id": "1", "channel_id": "2"}), says(404, {"message": "Unknown Channel", "code": 10003}), "invalid_recipient",
        {"url": "https://discord.com/api/v10/webhooks/1/secret"}, "?wait=true"),
    "chat/teams": Case(
        "ops", says(202, body=""), says(413, {"error": {"message": "m"}}), "bad_request",
        {"url": "https://prod-00.westeurope.logic.azure.com:443/workflows/ID/triggers/manual/paths/invoke?sig=secret"}, ""),
    "chat/matrix": Case(
        ROOM, says(200, {"event_id": "$e"}), says(403, {"errcode": "M_FORBIDDEN", "error": "m"}), "invalid_recipient",
        {"homeserver": "https://matrix.example.org", "access_token": "syt_secret"}, "/_matrix/client/v3/rooms/%21abc%3Aexample.org/send/",
        method="PUT"),
    "chat/google-chat": Case(
        "ops", says(200, {"name": "spaces/S/messages/M"}), says(404, {"error": {"code": 404, "message": "m", "status": "NOT_FOUND"}}),
        "invalid_recipient", {"url": "https://chat.googleapis.com/v1/spaces/S/messages?key=K&token=secret"}, ""),
    "chat/mattermost": Case(
        "ops", says(200, body="ok"), says(404, {"id": "web.incoming_webhook.invalid.app_error", "message": "m", "status_code": 404}),
        "invalid_recipient", {"server": "https://mattermost.example.com", "key": "k3y-secret"}, "/hooks/k3y-secret"),
    "sms/tencent": Case(
        PHONE, says(200, {"Response": {"SendStatusSet": [{"SerialNo": "1", "PhoneNumber": PHONE, "Code": "Ok"}]}}),
        says(200, {"Response": {"SendStatusSet": [{"SerialNo": "", "PhoneNumber": PHONE, "Code": "FailedOperation.PhoneNumberInBlacklist"}]}}),
        "invalid_recipient", {"secret_id": "AKID", "secret_key": "s3cret-1", "app_id": "1400000000", "sign_name": "测试", "template": "1234",
                              "body_as_param": True}, "/"),
    "sms/vonage": Case(
        PHONE, says(200, {"message-count": "1", "messages": [{"message-id": "M1", "status": "0"}]}),
        says(200, {"message-count": "1", "messages": [{"status": "6", "error-text": "unroutable"}]}), "invalid_recipient",
        {"api_key": "abcd1234", "signature": "sha256", "signature_secret": "s3cret-1", "from": "Acme"}, "/sms/json", has="sig="),
    "email/mailgun": Case(
        "b@example.net", says(200, {"id": "<1@mg.example.com>", "message": "Queued. Thank you."}),
        says(400, {"message": "'to' parameter is not a valid address. please check documentation"}), "invalid_recipient",
        {"api_key": "key-secret", "domain": "mg.example.com", "from": "a@example.com"}, "/v3/mg.example.com/messages", has="subject="),
    "email/postmark": Case(
        "b@example.net", says(200, {"MessageID": "0a12", "ErrorCode": 0, "Message": "OK"}), says(422, {"ErrorCode": 406, "Message": "inactive"}),
        "invalid_recipient", {"server_token": "s3cret-1", "from": "a@example.com"}, "/email"),
    "chat/line": Case(
        "U" + "0" * 32, says(200, {"sentMessages": [{"id": "1"}]}, x_line_request_id="R"), says(404, {"message": "Not found"}),
        "invalid_recipient", {"token": "t0ken-1"}, "/v2/bot/message/push"),
    "chat/whatsapp-cloud": Case(
        PHONE, says(200, {"messaging_product": "whatsapp", "messages": [{"id": "wamid.1"}]}), says(400, {"error": {"code": 131026, "message": "m"}}),
        "invalid_recipient", {"token": "t0ken-1", "phone_number_id": "1065"}, "/v21.0/1065/messages"),
    "chat/pagerduty": Case(
        "ops", says(202, {"status": "success", "message": "Event processed", "dedup_key": "k"}), says(400, {"status": "invalid event", "errors": ["e"]}),
        "bad_request", {"routing_key": "0123456789abcdef0123456789abcdef"}, "/v2/enqueue"),
    "chat/serverchan": Case(
        "me", says(200, {"code": 0, "message": "", "data": {"pushid": "1"}}), says(200, {"code": 20001, "message": "m"}), "bad_request",
        {"send_key": "SCTsecret"}, "/SCTsecret.send", has="desp="),
    "chat/pushplus": Case(
        "me", says(200, {"code": 200, "msg": "m", "data": "d"}), says(200, {"code": 999, "msg": "m"}), "bad_request",
        {"token": "0123456789abcdef0123456789abcdef"}, "/send"),
    "push/bark": Case(
        "devicekey01", says(200, {"code": 200, "message": "success"}), says(500, {"code": 500, "message": "push failed: Unregistered"}),
        "invalid_recipient", {}, "/push"),
    "push/ntfy": Case(
        "ci", says(200, {"id": "s1", "event": "message", "topic": "ci"}), says(400, {"code": 40009, "http": 400, "error": "m"}), "bad_request",
        {}, "/"),
    "push/gotify": Case(
        "ci", says(200, {"id": 25, "appid": 5}), says(400, {"error": "Bad Request", "errorCode": 400, "errorDescription": "m"}), "bad_request",
        {"server": "https://gotify.example.com", "token": "t0ken-1"}, "/message"),
}

OWN = {"push/apns": "apns-sink", "push/fcm": "fcm-sink", "chat/wecom-app": "wecom-sink", "webhook/standard": "hook-sink"}


def channel(name):
    return OWN.get(name) or name.replace("/", "-")


def base(name):
    """Each channel has a path of its own at the simulator, before the provider's."""
    return "" if name in OWN else "/t/" + channel(name)


def channels(sink, keys):
    return channels_to(sink, keys) | {
        channel(name): {"adapter": name, **c.settings, "rate": "1000/s", "endpoint": {"url": sink.tls_url + base(name), "ca_file": sink.ca}}
        for name, c in CASES.items() if name not in OWN}


@pytest.fixture(scope="module")
def stage(tmp_path_factory, keys):
    # Refused addresses stay in use here: one for all the cases of an adapter.
    with Stage(tmp_path_factory.mktemp("adapters"), keys, channels=channels, settings={"gates": {"add_invalid": False}}) as s:
        yield s


def test_every_file_has_its_case():
    files = {f"{f.parent.name}/{f.stem}" for f in (ROOT / "adapters").glob("*/*.yaml")}
    assert files == set(CASES)


def send(stage, name, to):
    e = stage.engine
    before = stage.sink.requests()
    id = e.send(channel=channel(name), to=to, content={"title": "Price drop", "body": "Only 3 left"})
    m = e.wait_state(id, "sent", "failed")
    new = stage.sink.requests()[len(before):]
    return m, [r for r in new if not r.path.startswith(("/token", "/cgi-bin/gettoken"))]


@pytest.mark.parametrize("name", CASES)
def test_taken(stage, name):
    c = CASES[name]
    if c.yes:
        stage.sink.script({"path": base(name)}, [c.yes])
    m, requests = send(stage, name, c.to)
    assert [a["outcome"] for a in m["attempts"]] == ["ok"], m
    assert m["state"] == "sent" and stage.sink.scripts() == []
    assert len(requests) == 1
    if name not in OWN:
        r = requests[0]
        assert r.method == c.method and r.path.startswith(base(name) + c.path), r.path
        body = r.body.decode()
        assert ("Only 3 left" in body or "Only+3+left" in body or "Only%203%20left" in body), body
        assert c.has is None or c.has in body
        if "json" in r.headers.get("content-type", ""):
            assert isinstance(r.json, dict)


@pytest.mark.parametrize("name", CASES)
def test_refused(stage, name):
    c = CASES[name]
    if c.no:
        stage.sink.script({"path": base(name) + (c.path if name in OWN else "")}, [c.no])
    m, requests = send(stage, name, c.special or c.to)
    assert [a["outcome"] for a in m["attempts"]] == [c.outcome], m
    assert m["state"] == "failed" and len(requests) == 1
    assert stage.sink.scripts() == []


DIALECTS = {
    "chat/slack": '"text":"Only *3* left of <https://x.example.com/a|this>"',
    "chat/telegram": '"text":"<b>Price drop</b>\\nOnly <b>3</b> left of <a href=\\"https://x.example.com/a\\">this</a>',
    "chat/dingtalk-robot": "### Price drop\\n\\nOnly **3** left of [this](https://x.example.com/a)",
    "chat/teams": '"type":"TextBlock","text":"Only **3** left of [this](https://x.example.com/a)"',
    "email/resend": "Only <strong>3</strong> left of <a href=\\\"https://x.example.com/a\\\">this</a>",
    "push/bark": '"body":"Only 3 left of this"',
    "push/apns": '"body":"Only 3 left of this"',
    "sms/twilio": "Body=Only+3+left+of+this%3A+https%3A%2F%2Fx.example.com%2Fa",
}


def test_one_content_on_eight_media(stage):
    """Written once, in markdown; each medium gets it as it shows text."""
    content = {"format": "markdown", "title": "Price drop", "body": "Only **3** left of [this](https://x.example.com/a)",
               "buttons": [{"text": "Buy", "url": "https://x.example.com/buy"}]}
    for name, expected in DIALECTS.items():
        c = CASES[name]
        if c.yes:
            stage.sink.script({"path": base(name)}, [c.yes])
        before = len(stage.sink.requests())
        id = stage.engine.send(channel=channel(name), to=c.to, content=content)
        stage.engine.wait_state(id, "sent")
        body = stage.sink.requests()[before:][-1].body.decode()
        assert expected in body, (name, body)
        assert ("https://x.example.com/buy" in body or "x.example.com%2Fbuy" in body) == (c.to != DEVICE and name != "push/bark"), (name, body)
