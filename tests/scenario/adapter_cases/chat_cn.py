"""Chats of the Chinese platforms: one message that each provider takes, one that it refuses."""
from adapter_cases import Case, says

CASES = {
    "chat/wecom-app": Case("zhangsan", None, None, "invalid_recipient", special="err-81013"),
    "chat/dingtalk-robot": Case(
        "ops", says(200, {"errcode": 0, "errmsg": "ok"}), says(200, {"errcode": 310000, "errmsg": "keywords not in content"}), "bad_request",
        {"access_token": "t0ken-1", "secret": "SECsecret"}, "/robot/send"),
    "chat/feishu-robot": Case(
        "ops", says(200, {"code": 0, "msg": "success"}), says(200, {"code": 19024, "msg": "Key Words Not Found"}), "bad_request",
        {"token": "t0ken-1", "secret": "s3cret-1"}, "/open-apis/bot/v2/hook/t0ken-1"),
    "chat/wecom-robot": Case(
        "ops", says(200, {"errcode": 0, "errmsg": "ok"}), says(200, {"errcode": 40058, "errmsg": "m"}), "bad_request",
        {"key": "k3y-secret"}, "/cgi-bin/webhook/send"),
    "chat/serverchan": Case(
        "me", says(200, {"code": 0, "message": "", "data": {"pushid": "1"}}), says(200, {"code": 20001, "message": "m"}), "bad_request",
        {"send_key": "SCTsecret"}, "/SCTsecret.send", has="desp="),
    "chat/pushplus": Case(
        "me", says(200, {"code": 200, "msg": "m", "data": "d"}), says(200, {"code": 999, "msg": "m"}), "bad_request",
        {"token": "0123456789abcdef0123456789abcdef"}, "/send"),
}
