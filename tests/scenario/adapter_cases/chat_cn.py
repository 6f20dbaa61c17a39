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
    "chat/dingtalk-work": Case(
        "manager1", says(200, {"errcode": 0, "errmsg": "ok", "task_id": 256271667526}), says(200, {"errcode": 143106, "errmsg": "m"}),
        "bad_request", {"app_key": "dingkey", "app_secret": "s3cret-1", "agent_id": 1}, "/topapi/message/corpconversation/asyncsend_v2",
        token=("/gettoken", says(200, {"errcode": 0, "access_token": "T1", "expires_in": 7200}))),
    "chat/dingtalk-bot": Case(
        "manager1", says(200, {"processQueryKey": "K", "invalidStaffIdList": []}), says(400, {"code": "invalidParameter.msgParam.invalid"}),
        "bad_request", {"app_key": "dingkey", "app_secret": "s3cret-1"}, "/v1.0/robot/oToMessages/batchSend",
        token=("/v1.0/oauth2/accessToken", says(200, {"accessToken": "T1", "expireIn": 7200}))),
    "chat/feishu-app": Case(
        "ou_1", says(200, {"code": 0, "msg": "success", "data": {"message_id": "om_1"}}), says(400, {"code": 230013, "msg": "m"}),
        "invalid_recipient", {"app_id": "cli_1", "app_secret": "s3cret-1"}, "/open-apis/im/v1/messages?receive_id_type=open_id",
        token=("/open-apis/auth/v3/tenant_access_token", says(200, {"code": 0, "tenant_access_token": "t-1", "expire": 7200}))),
    "chat/wechat-template": Case(
        "oAbc", says(200, {"errcode": 0, "errmsg": "ok", "msgid": 200228332}), says(200, {"errcode": 43004, "errmsg": "m"}),
        "invalid_recipient", {"app_id": "wx1", "app_secret": "s3cret-1", "template": "T", "body_param": "thing1"},
        "/cgi-bin/message/template/send", token=("/cgi-bin/stable_token", says(200, {"access_token": "T1", "expires_in": 7200}))),
    "chat/wechat-subscribe": Case(
        "oAbc", says(200, {"errcode": 0, "errmsg": "ok"}), says(200, {"errcode": 43101, "errmsg": "m"}),
        "invalid_recipient", {"app_id": "wx2", "app_secret": "s3cret-1", "template": "T", "body_param": "thing1"},
        "/cgi-bin/message/subscribe/bizsend", token=("/cgi-bin/stable_token", says(200, {"access_token": "T1", "expires_in": 7200}))),
    "chat/wechat-miniprogram": Case(
        "oAbc", says(200, {"errcode": 0, "errmsg": "ok"}), says(200, {"errcode": 47003, "errmsg": "argument invalid! data.thing1"}),
        "bad_request", {"app_id": "wx3", "app_secret": "s3cret-1", "template": "T", "body_param": "thing1"},
        "/cgi-bin/message/subscribe/send", token=("/cgi-bin/stable_token", says(200, {"access_token": "T1", "expires_in": 7200}))),
    "chat/alipay-miniprogram": Case(
        "2088102122458832", says(200, {"alipay_open_app_mini_templatemessage_send_response": {"code": "10000", "msg": "Success"}, "sign": "s"}),
        says(200, {"alipay_open_app_mini_templatemessage_send_response": {"code": "40004", "sub_code": "USER_NOT_SUBSCRIBE"}, "sign": "s"}),
        "invalid_recipient", {"app_id": "2014072300007148", "private_key": "@ALIPAY_KEY@", "template": "tpl1", "body_param": "keyword1"},
        "/gateway.do", has="&sign="),
    "chat/douyin": Case(
        "o1", says(200, {"err_no": 0, "err_tips": "success"}), says(200, {"err_no": 28014043, "err_tips": "m"}), "invalid_recipient",
        {"app_id": "tt1", "app_secret": "s3cret-1", "template": "MSG1", "body_param": "text", "token_url": "@SINK@/tokens"},
        "/api/apps/subscribe_notification/developer/v1/notify",
        token=("/tokens", says(200, {"err_no": 0, "data": {"access_token": "08.T", "expires_in": 7200}})), has='"access_token":"08.T"'),
    "chat/qq-bot": Case(
        "0123456789ABCDEF0123456789ABCDEF", says(200, {"id": "ROBOT1.0_x", "timestamp": "t"}), says(400, {"code": 304031, "message": "m"}),
        "invalid_recipient", {"app_id": "1", "app_secret": "s3cret-1", "push": True, "token_url": "@SINK@/tokens"},
        "/v2/users/0123456789ABCDEF0123456789ABCDEF/messages",
        token=("/tokens", says(200, {"access_token": "T1", "expires_in": "7200"}))),
    "chat/kakao": Case(
        "+821012345678", says(200, {"header": {"resultCode": 0, "isSuccessful": True}, "message": {"requestId": "R1", "sendResults": []}}),
        says(200, {"header": {"resultCode": -1028, "resultMessage": "m", "isSuccessful": False}}), "bad_request",
        {"app_key": "k", "secret_key": "s3cret-1", "sender_key": "0" * 40, "template": "T1", "body_param": "text"},
        "/alimtalk/v2.2/appkeys/k/messages", has='"recipientNo":"01012345678"'),
    "chat/feishu-batch": Case(
        "ou_1", says(200, {"code": 0, "msg": "success", "data": {"message_id": "bm-1"}}), says(400, {"code": 230022, "msg": "m"}), "bad_request",
        {"app_id": "cli_2", "app_secret": "s3cret-1"}, "/open-apis/message/v4/batch_send/",
        token=("/open-apis/auth/v3/tenant_access_token", says(200, {"code": 0, "tenant_access_token": "t-1", "expire": 7200}))),
    "chat/zalo": Case(
        "0987654321", says(200, {"error": 0, "message": "Success", "data": {"msg_id": "a1"}}), says(200, {"error": -118, "message": "m"}),
        "invalid_recipient", {"app_id": "1", "app_secret": "s3cret-1", "refresh_token": "first", "template": "7", "body_param": "text", "token_url": "@SINK@/tokens"},
        "/message/template", has='"phone":"84987654321"',
        token=("/tokens", says(200, {"access_token": "T1", "refresh_token": "next", "expires_in": "90000"}))),
}
