"""Notifications: one message that each provider takes, one that it refuses."""
from adapter_cases import Case, says, DEVICE

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
}
