"""Calls: one that each provider takes, one that it refuses."""
from adapter_cases import Case, says, PHONE

CASES = {
    "voice/twilio": Case(
        PHONE, says(201, {"sid": "CA1", "status": "queued"}), says(400, {"code": 21211, "message": "m", "status": 400}), "invalid_recipient",
        {"account_sid": "AC1", "auth_token": "t0ken-1", "from": "+14155550101"}, "/2010-04-01/Accounts/AC1/Calls.json", has="Twiml="),
    "voice/aliyun": Case(
        PHONE, says(200, {"Code": "OK", "Message": "OK", "CallId": "1160^1"}), says(200, {"Code": "isv.CALLED_NUMBER_ILLEGAL", "Message": "m"}),
        "invalid_recipient", {"access_key_id": "id", "access_key_secret": "s3cret-1", "template": "TTS_1", "body_param": "content"}, "/",
        has="TtsCode=TTS_1"),
}
