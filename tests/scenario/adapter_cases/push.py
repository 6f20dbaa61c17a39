"""Notifications: one message that each provider takes, one that it refuses."""
import pathlib

from adapter_cases import Case, says, DEVICE
from browser import Browser

ROOT = pathlib.Path(__file__).resolve().parents[3]
TOKEN = says(200, {"access_token": "t0ken-1", "expires_in": 3600, "token_type": "Bearer"})
BROWSER = Browser("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94", "BTBZMqHH6r4Tts7J_aSIgg")
HUAWEI_ACCOUNT = "tests/unit/adapter/vectors/huawei_service_account.json"

CASES = {
    "push/apns": Case(DEVICE, None, None, "invalid_recipient", special="dead4100" + "0" * 56),
    "push/fcm": Case("token-1", None, None, "invalid_recipient", special="sink-UNREGISTERED-1"),
    "push/bark": Case(
        "devicekey01", says(200, {"code": 200, "message": "success"}), says(500, {"code": 500, "message": "push failed: Unregistered"}),
        "invalid_recipient", {}, "/push"),
    "push/ntfy": Case(
        "ci", says(200, {"id": "s1", "event": "message", "topic": "ci"}), says(400, {"code": 40009, "http": 400, "error": "m"}), "bad_request",
        {}, "/"),
    "push/gotify": Case(
        "ci", says(200, {"id": 25, "appid": 5}), says(400, {"error": "Bad Request", "errorCode": 400, "errorDescription": "m"}), "bad_request",
        {"server": "https://gotify.example.com", "token": "t0ken-1"}, "/message"),
    "push/huawei": Case(
        "IQAAAACy0tEtoken1", says(200, {"code": "80000000", "msg": "Success", "requestId": "r1"}),
        says(400, {"code": "80300007", "msg": "All the tokens are invalid", "requestId": "r2"}), "invalid_recipient",
        {"app_id": "100000001", "app_secret": "s3cret-1", "token_url": "@SINK@/oauth2/v3/token"}, "/v1/100000001/messages:send",
        token=("/oauth2", TOKEN), has='"token":["IQAAAACy0tEtoken1"]'),
    "push/harmonyos": Case(
        "IQAAAACy0tEtoken1", says(200, {"code": "80000000", "msg": "Success", "requestId": "r1"}),
        says(400, {"code": "80100016", "msg": "sensitive", "requestId": "r2"}), "bad_request",
        {"service_account_file": str(ROOT / HUAWEI_ACCOUNT)}, "/v3/101653523863781234/messages:send", has='"target":{"token":'),
    "push/honor": Case(
        "honortoken-1", says(200, {"code": 200, "message": "success", "data": {"sendResult": True, "requestId": "r1", "failTokens": [], "expireTokens": []}}),
        says(200, {"code": 80300007, "message": "m"}), "invalid_recipient",
        {"app_id": "104400001", "client_id": "client-1", "client_secret": "s3cret-1", "token_url": "@SINK@/auth/token"},
        "/api/v1/104400001/sendMessage", token=("/auth", TOKEN)),
    "push/xiaomi": Case(
        "R1", says(200, {"result": "ok", "code": 0, "data": {"id": "sdm1"}}), says(200, {"result": "error", "code": 10029, "reason": "m"}),
        "invalid_recipient", {"app_secret": "s3cret-1", "package": "com.example.app"}, "/v3/message/regid", has="description="),
    "push/oppo": Case(
        "CN_078ad8b8a137cadb14ae5b70cf846312", says(200, {"code": 0, "message": "success", "data": [{"messageId": "5c1"}]}),
        says(200, {"code": 0, "data": [{"registrationId": "CN_078ad8b8a137cadb14ae5b70cf846312", "errorCode": 10000, "errorMessage": "m"}]}),
        "invalid_recipient", {"app_key": "key-1", "master_secret": "s3cret-1"}, "/server/v1/message",
        token=("/server/v1/auth", says(200, {"code": 0, "data": {"auth_token": "t0ken-1", "create_time": 4000000000000}})),
        has="auth_token=t0ken-1&"),
    "push/vivo": Case(
        "v2-xxxxxxxx", says(200, {"result": 0, "desc": "ok", "taskId": "t1"}),
        says(200, {"result": 0, "desc": "ok", "taskId": "t2", "invalidUser": {"status": 1, "userid": "v2-xxxxxxxx"}}), "invalid_recipient",
        {"app_id": 10004, "app_key": "key-1", "app_secret": "s3cret-1"}, "/message/send",
        token=("/message/auth", says(200, {"result": 0, "desc": "ok", "authToken": "t0ken-1"}))),
    "push/meizu": Case(
        "pid_a", says(200, {"code": "200", "message": "", "value": {}, "redirect": "", "msgId": "c2ee1"}),
        says(200, {"code": "110004", "message": "m", "value": "", "msgId": ""}), "bad_request",
        {"app_id": "100999", "app_secret": "s3cret-1"}, "/garcia/api/server/push/varnished/pushByPushId", has="sign="),
    "push/jpush": Case(
        "1507bfd3f7c1234567", says(200, {"sendno": "0", "msg_id": "1828256757"}), says(400, {"error": {"code": 1011, "message": "m"}}),
        "invalid_recipient", {"app_key": "dev_app_key", "master_secret": "s3cret-1"}, "/v3/push"),
    "push/getui": Case(
        "b1f0c2d3e4a54b6c", says(200, {"code": 0, "msg": "success", "data": {"RASS_1": {"b1f0c2d3e4a54b6c": "successed_online"}}}),
        says(400, {"code": 20001, "msg": "target user is invalid"}), "invalid_recipient",
        {"app_id": "app1", "app_key": "key-1", "master_secret": "s3cret-1"}, "/v2/app1/push/single/cid",
        token=("/v2/app1/auth", says(200, {"code": 0, "msg": "success", "data": {"expire_time": "4000000000000", "token": "t0ken-1"}}))),
    "push/umeng": Case(
        "AuDeviceToken01", says(200, {"ret": "SUCCESS", "data": {"msg_id": "uu1"}}),
        says(400, {"ret": "FAIL", "data": {"error_code": "1018", "error_msg": "m"}}), "bad_request",
        {"app_key": "key-1", "app_master_secret": "s3cret-1"}, "/api/send?sign="),
    # The browser of RFC 8291, section 5: test_g10 opens what it gets.
    "push/webpush": Case(
        BROWSER.subscription("@SINK@/push/1"), says(201, location="https://push.example.net/message/1"), says(410), "invalid_recipient",
        {"vapid_key": "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw", "contact": "mailto:ops@example.com", "allow_private": True}, "/push/1",
        opens=BROWSER.open),
    "push/expo": Case(
        "ExponentPushToken[aaaaaaaaaaaaaaaaaaaaaa]", says(200, {"data": [{"status": "ok", "id": "XX-1"}]}),
        says(200, {"data": [{"status": "error", "message": "m", "details": {"error": "DeviceNotRegistered"}}]}), "invalid_recipient", {},
        "/--/api/v2/push/send"),
    "push/onesignal": Case(
        "u1", says(200, {"id": "b15b", "external_id": None}), says(200, {"id": "", "errors": ["All included players are not subscribed"]}),
        "invalid_recipient", {"app_id": "b2f7f966-d8cc-11e4-bed1-df8f05be55ba", "api_key": "s3cret-1"}, "/notifications"),
    "push/pushover": Case(
        "uQiRzpo4DXghDmr9QzzfQu27cmVRsG", says(200, {"status": 1, "request": "r1"}),
        says(400, {"user": "invalid", "errors": ["user identifier is not a valid user, group, or subscribed user key"], "status": 0}),
        "invalid_recipient", {"token": "batterybatterybatterybattery1"}, "/1/messages.json", has="message="),
    "push/pushy": Case(
        "t1", says(200, {"success": True, "id": "5ea9b2", "info": {"devices": 1}}), says(400, {"code": "NO_RECIPIENTS", "error": "m"}),
        "invalid_recipient", {"api_key": "s3cret-1"}, "/push?api_key="),
    # The host must be Microsoft's; the connection goes to the simulator.
    "push/wns": Case(
        "https://db5.notify.windows.com/t/push-wns/?token=AwYA", says(200, x_wns_status="received"), says(410), "invalid_recipient",
        {"client_id": "ms-app://s-1", "client_secret": "s3cret-1", "token_url": "@SINK@/accesstoken.srf", "allow_private": True}, "/?token=",
        token=("/accesstoken.srf", TOKEN), endpoint=lambda sink: {"connect_to": f"localhost:{sink.tls_listen}", "verify": False}),
    "push/adm": Case(
        "amzn1.adm-registration.v2.1", says(200, {"registrationID": "amzn1.adm-registration.v2.1"}), says(400, {"reason": "Unregistered"}),
        "invalid_recipient", {"client_id": "c1", "client_secret": "s3cret-1", "token_url": "@SINK@/auth/O2/token"},
        "/messaging/registrations/amzn1.adm-registration.v2.1/messages", token=("/auth", TOKEN)),
    "push/sns-mobile": Case(
        "arn:aws:sns:us-east-1:123456789012:endpoint/GCM/app/5e3e9847",
        says(200, body="<PublishResponse><PublishResult><MessageId>94f20ce6</MessageId></PublishResult></PublishResponse>", content_type="text/xml"),
        says(400, body="<ErrorResponse><Error><Code>EndpointDisabled</Code><Message>m</Message></Error></ErrorResponse>", content_type="text/xml"),
        "invalid_recipient", {"access_key_id": "AKID", "secret_access_key": "s3cret-1", "region": "us-east-1"}, "/", has="fcmV1Message"),
    "push/baidu": Case(
        "4173187832", says(200, {"request_id": 1, "response_params": {"msg_id": "2423", "send_time": 1}}),
        says(400, {"request_id": 1, "error_code": 30608, "error_msg": "m"}), "invalid_recipient", {"api_key": "key-1", "secret_key": "s3cret-1"},
        "/rest/3.0/push/single_device", has="sign="),
}
