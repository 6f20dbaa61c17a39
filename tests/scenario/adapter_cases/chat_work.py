"""Chats of organizations, as bots, apps and users: one message that each provider takes, one that it refuses."""
from adapter_cases import Case, says

CASES = {
    "chat/rocketchat": Case(
        "#orders", says(200, {"success": True, "channel": "orders", "message": {"_id": "jC9chsFd", "rid": "GENERAL"}}),
        says(400, {"success": False, "error": "invalid-channel"}), "invalid_recipient",
        {"server": "https://chat.example.com", "token": "t0ken-1", "user_id": "u1"}, "/api/v1/chat.postMessage"),
    "chat/zulip": Case(
        "#orders", says(200, {"result": "success", "msg": "", "id": 42}),
        says(400, {"result": "error", "code": "STREAM_DOES_NOT_EXIST", "msg": "m"}), "invalid_recipient",
        {"server": "https://example.zulipchat.com", "email": "bot@example.com", "api_key": "abc123"}, "/api/v1/messages", has="type=stream&to=orders"),
    "chat/signal": Case(
        "+4354546464654", says(201, {"timestamp": "1700000000000"}), says(400, {"error": "Unregistered user"}), "invalid_recipient",
        {"server": "https://signal.example.com", "number": "+431212131491291"}, "/v2/send"),
    "chat/rocketchat-webhook": Case(
        "ops", says(200, {"success": True}), says(400, {"success": False, "error": "invalid-channel"}), "invalid_recipient",
        {"server": "https://chat.example.com", "hook": "5nV/k3y-secret"}, "/hooks/5nV/k3y-secret"),
    "chat/discord-bot": Case(
        "80351110224678912", says(200, {"id": "1", "channel_id": "2"}), says(403, {"message": "Missing Access", "code": 50001}), "invalid_recipient",
        {"token": "b0t-secret"}, "/api/v10/channels/80351110224678912/messages", has='"enforce_nonce":true'),
    "chat/mattermost-bot": Case(
        "k8fwbk7wd7rgmj6cnwkgwpnkqo", says(201, {"id": "p0st", "message": "m"}), says(403, {"id": "api.context.permissions.app_error", "status_code": 403}),
        "invalid_recipient", {"server": "https://mattermost.example.com", "token": "t0ken-1"}, "/api/v4/posts"),
    "chat/google-chat-app": Case(
        "spaces/AAAA1234567", says(200, {"name": "spaces/AAAA1234567/messages/M"}),
        says(404, {"error": {"code": 404, "message": "m", "status": "NOT_FOUND"}}), "invalid_recipient",
        {"service_account": "@ACCOUNT@", "token_url": "@SINK@/token"}, "/v1/spaces/AAAA1234567/messages?requestId=",
        token=("/token", says(200, {"access_token": "t0ken-1", "expires_in": 3600, "token_type": "Bearer"}))),
}
