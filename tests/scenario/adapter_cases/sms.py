"""Text messages: one message that each provider takes, one that it refuses."""
from adapter_cases import Case, says, PHONE

CASES = {
    "sms/twilio": Case(
        PHONE, says(201, {"sid": "SM1", "status": "queued", "error_code": None}), says(400, {"code": 21211, "message": "m", "status": 400}),
        "invalid_recipient", {"account_sid": "AC1", "auth_token": "t0ken-1", "from": "+14155550101"},
        "/2010-04-01/Accounts/AC1/Messages.json", has="Body="),
    "sms/aliyun": Case(
        PHONE, says(200, {"Code": "OK", "Message": "OK", "BizId": "9^0"}), says(200, {"Code": "isv.MOBILE_NUMBER_ILLEGAL", "Message": "m"}),
        "invalid_recipient", {"access_key_id": "id", "access_key_secret": "s3cret-1", "sign_name": "测试", "template": "SMS_1",
                              "body_param": "content"}, "/", has="Signature="),
    "sms/tencent": Case(
        PHONE, says(200, {"Response": {"SendStatusSet": [{"SerialNo": "1", "PhoneNumber": PHONE, "Code": "Ok"}]}}),
        says(200, {"Response": {"SendStatusSet": [{"SerialNo": "", "PhoneNumber": PHONE, "Code": "FailedOperation.PhoneNumberInBlacklist"}]}}),
        "invalid_recipient", {"secret_id": "AKID", "secret_key": "s3cret-1", "app_id": "1400000000", "sign_name": "测试", "template": "1234",
                              "body_as_param": True}, "/"),
    "sms/vonage": Case(
        PHONE, says(200, {"message-count": "1", "messages": [{"message-id": "M1", "status": "0"}]}),
        says(200, {"message-count": "1", "messages": [{"status": "6", "error-text": "unroutable"}]}), "invalid_recipient",
        {"api_key": "abcd1234", "signature": "sha256", "signature_secret": "s3cret-1", "from": "Acme"}, "/sms/json", has="sig="),
    "sms/plivo": Case(
        PHONE, says(202, {"api_id": "A", "message": "message(s) queued", "message_uuid": ["db3ce55a"]}),
        says(202, {"api_id": "A", "message": "message(s) queued", "message_uuid": [], "invalid_number": ["8613800000000"]}), "invalid_recipient",
        {"auth_id": "MA1", "auth_token": "t0ken-1", "from": "+14155550101"}, "/v1/Account/MA1/Message/", has='"dst":"8613800000000"'),
    "sms/messagebird": Case(
        PHONE, says(201, {"id": "e8077d80", "recipients": {"totalCount": 1, "items": [{"recipient": 8613800000000, "status": "sent"}]}}),
        says(422, {"errors": [{"code": 9, "description": "no (correct) recipients found", "parameter": "recipients"}]}), "invalid_recipient",
        {"access_key": "s3cret-1", "from": "Acme"}, "/messages", has='"originator":"Acme"'),
    "sms/sinch": Case(
        PHONE, says(201, {"id": "01FC66621XXXXX119Z8PMV1QPQ", "to": ["8613800000000"], "canceled": False}),
        says(400, {"code": "syntax_invalid_parameter_format", "text": "m"}), "bad_request",
        {"service_plan_id": "plan", "api_token": "t0ken-1", "from": "12345"}, "/xms/v1/plan/batches", has='"delivery_report":"per_recipient"'),
    "sms/infobip": Case(
        PHONE, says(200, {"messages": [{"messageId": "M1", "destination": "8613800000000", "status": {"groupId": 1, "id": 26, "name": "PENDING_ACCEPTED"}}]}),
        says(200, {"messages": [{"messageId": "M1", "destination": "8613800000000", "status": {"groupId": 5, "id": 14, "name": "REJECTED_DESTINATION"}}]}),
        "invalid_recipient", {"subdomain": "xyz123", "api_key": "s3cret-1", "from": "Acme"}, "/sms/3/messages", has='"destinations":[{"to":"8613800000000"'),
    "sms/telnyx": Case(
        PHONE, says(200, {"data": {"id": "40385f64", "to": [{"phone_number": PHONE, "status": "queued"}], "errors": []}}),
        says(400, {"errors": [{"code": "10016", "title": "t", "detail": "d", "source": {"pointer": "/to"}}]}), "invalid_recipient",
        {"api_key": "KEYsecret", "from": "+15551230001"}, "/v2/messages", has='"type":"SMS"'),
    "sms/sns": Case(
        PHONE, says(200, body="<PublishResponse><PublishResult><MessageId>567910cd</MessageId></PublishResult></PublishResponse>", content_type="text/xml"),
        says(400, body="<ErrorResponse><Error><Type>Sender</Type><Code>OptedOut</Code><Message>m</Message></Error></ErrorResponse>", content_type="text/xml"),
        "invalid_recipient", {"access_key_id": "AKID", "secret_access_key": "s3cret-1"}, "/", has="Action=Publish"),
    "sms/huawei": Case(
        PHONE, says(200, {"code": "000000", "result": [{"originTo": PHONE, "smsMsgId": "d6e3cdd0", "status": "000000"}]}),
        says(200, {"code": "E200037", "description": "m", "result": [{"originTo": PHONE, "smsMsgId": "d6e3cdd0", "status": "SC:0016"}]}),
        "invalid_recipient", {"app_key": "key", "app_secret": "s3cret-1", "channel_number": "8819042900000", "template": "8ff55eac", "body_as_param": True},
        "/sms/batchSendSms/v1", has="templateParas="),
    "sms/volcengine": Case(
        PHONE, says(200, {"ResponseMetadata": {"RequestId": "R"}, "Result": {"MessageID": ["uuid"]}}),
        says(200, {"ResponseMetadata": {"RequestId": "R", "Error": {"Code": "RE:0006", "Message": "m"}}}), "invalid_recipient",
        {"access_key_id": "AKLT", "secret_access_key": "s3cret-1", "sms_account": "77da1acf", "sign_name": "测试", "template": "ST_1", "body_param": "content"},
        "/?Action=SendSms&Version=2020-01-01", has='"PhoneNumbers":"13800000000"'),
    "sms/yunpian": Case(
        PHONE, says(200, {"code": 0, "msg": "发送成功", "count": 1, "sid": 3310228064}),
        says(400, {"http_status_code": 400, "code": 10, "msg": "m", "detail": "d"}), "invalid_recipient",
        {"apikey": "s3cret-1", "sign_name": "云片网"}, "/v2/sms/single_send.json", has="mobile=13800000000"),
    "sms/ucloud": Case(
        PHONE, says(200, {"RetCode": 0, "Message": "Send success", "SessionNo": "5c8f0b2e"}), says(200, {"RetCode": 171, "Message": "Signature Error"}),
        "auth", {"public_key": "pub", "private_key": "s3cret-1", "sign_name": "测试", "template": "UTA1", "body_as_param": True}, "/",
        has="PhoneNumbers.0=13800000000"),
}
