"""Chats: one message that each provider takes, one that it refuses."""
from adapter_cases import Case, says, PHONE, ROOM

CASES = {
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
    "chat/line": Case(
        "U" + "0" * 32, says(200, {"sentMessages": [{"id": "1"}]}, x_line_request_id="R"), says(404, {"message": "Not found"}),
        "invalid_recipient", {"token": "t0ken-1"}, "/v2/bot/message/push"),
    "chat/whatsapp-cloud": Case(
        PHONE, says(200, {"messaging_product": "whatsapp", "messages": [{"id": "wamid.1"}]}), says(400, {"error": {"code": 131026, "message": "m"}}),
        "invalid_recipient", {"token": "t0ken-1", "phone_number_id": "1065"}, "/v21.0/1065/messages"),
    "chat/rcs": Case(
        PHONE, says(200, {"name": "phones/+8613800000000/agentMessages/M", "sendTime": "2025-01-02T03:04:05Z"}),
        says(404, {"error": {"code": 404, "message": "m", "status": "NOT_FOUND"}}), "invalid_recipient",
        {"service_account": "@ACCOUNT@", "agent_id": "brand_agent", "token_url": "@SINK@/tokens"},
        "/v1/phones/%2B8613800000000/agentMessages?messageId=",
        token=("/tokens", says(200, {"access_token": "ya29.T", "expires_in": 3599, "token_type": "Bearer"}))),
    "chat/viber": Case(
        "01234567890A=", says(200, {"status": 0, "status_message": "ok", "message_token": 5741311803571721087}),
        says(200, {"status": 6, "status_message": "notSubscribed"}), "invalid_recipient", {"token": "t0ken-1", "sender": "Shop"}, "/pa/send_message"),
    "chat/messenger": Case(
        "1008372609250235", says(200, {"recipient_id": "1008372609250235", "message_id": "m_1"}),
        says(400, {"error": {"message": "m", "code": 551}}), "invalid_recipient", {"token": "t0ken-1"}, "/v21.0/me/messages"),
}
