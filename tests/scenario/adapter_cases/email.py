"""Mails: one message that each provider takes, one that it refuses."""
from adapter_cases import Case, says

CASES = {
    "email/sendgrid": Case(
        "b@example.net", says(202, body="", x_message_id="m1"),
        says(400, {"errors": [{"message": "Does not contain a valid address.", "field": "personalizations.0.to.0.email"}]}),
        "invalid_recipient", {"api_key": "SG.secret", "from": "a@example.com"}, "/v3/mail/send"),
    "email/resend": Case(
        "b@example.net", says(200, {"id": "49a3"}), says(422, {"statusCode": 422, "name": "invalid_parameter", "message": "m"}),
        "bad_request", {"api_key": "re_secret", "from": "a@example.com"}, "/emails"),
    "email/mailgun": Case(
        "b@example.net", says(200, {"id": "<1@mg.example.com>", "message": "Queued. Thank you."}),
        says(400, {"message": "'to' parameter is not a valid address. please check documentation"}), "invalid_recipient",
        {"api_key": "key-secret", "domain": "mg.example.com", "from": "a@example.com"}, "/v3/mg.example.com/messages", has="subject="),
    "email/postmark": Case(
        "b@example.net", says(200, {"MessageID": "0a12", "ErrorCode": 0, "Message": "OK"}), says(422, {"ErrorCode": 406, "Message": "inactive"}),
        "invalid_recipient", {"server_token": "s3cret-1", "from": "a@example.com"}, "/email"),
}
