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
    "email/ses": Case(
        "b@example.net", says(200, {"MessageId": "0100018d"}), says(400, {"__type": "BadRequestException", "message": "Missing final '@domain'"}),
        "invalid_recipient", {"access_key_id": "AKID", "secret_access_key": "s3cret-1", "from": "a@example.com"}, "/v2/email/outbound-emails",
        has='"ToAddresses":["b@example.net"]'),
    "email/sparkpost": Case(
        "b@example.net", says(200, {"results": {"total_rejected_recipients": 0, "total_accepted_recipients": 1, "id": "1166"}}),
        says(400, {"errors": [{"message": "m", "description": "invalid recipient domain", "code": "1902"}]}), "invalid_recipient",
        {"api_key": "s3cret-1", "from": "a@example.com"}, "/api/v1/transmissions/", has='"recipients":[{"address"'),
    "email/brevo": Case(
        "b@example.net", says(201, {"messageId": "<2024@smtp-relay>"}), says(400, {"code": "invalid_parameter", "message": "email is not valid in to"}),
        "invalid_recipient", {"api_key": "xkeysib-secret", "from": "a@example.com"}, "/v3/smtp/email", has='"to":[{"email":"b@example.net"}]'),
    "email/mandrill": Case(
        "b@example.net", says(200, [{"email": "b@example.net", "status": "sent", "_id": "abc"}]),
        says(200, [{"email": "b@example.net", "status": "rejected", "_id": "abc", "reject_reason": "hard-bounce"}]), "invalid_recipient",
        {"api_key": "s3cret-1", "from": "a@example.com"}, "/api/1.0/messages/send.json", has='"preserve_recipients":false'),
    "email/aliyun": Case(
        "b@example.net", says(200, {"EnvId": "6000", "RequestId": "R"}), says(400, {"Code": "InvalidToAddress", "Message": "m", "RequestId": "R"}),
        "invalid_recipient", {"access_key_id": "id", "access_key_secret": "s3cret-1", "from": "a@example.com"}, "/", has="Action=SingleSendMail"),
    "email/tencent": Case(
        "b@example.net", says(200, {"Response": {"MessageId": "qcloud-ses-1", "RequestId": "R"}}),
        says(200, {"Response": {"Error": {"Code": "FailedOperation.EmailAddrInBlacklist", "Message": "m"}, "RequestId": "R"}}), "invalid_recipient",
        {"secret_id": "AKID", "secret_key": "s3cret-1", "from": "a@example.com", "template": 7000, "body_param": "content"}, "/", has='"TemplateID":7000'),
}
