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
}
