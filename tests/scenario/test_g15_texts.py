"""One text on every medium: what `hermod adapters dry-run` shows of dialects, lengths, parts and warnings."""
import json

import pytest

TEXT = """Hi **Ann**, your *order* is on its way:

- 2 × tea & cake
- see [the tracking page](https://x.example/t/1)
"""

MESSAGE = {"title": "Order 8 < 9", "format": "markdown", "body": TEXT, "url": "https://x.example/o"}

CHANNELS = {
    "chat/telegram": ("-1001234567890", "token: 123:ABC\n"),
    "chat/discord": ("alerts", "url: https://discord.com/api/webhooks/1/abc\n"),
    "chat/wecom-app": ("zhangsan", "corp_id: ww1\nsecret: s3cret-of-wecom\nagent_id: 1000002\nformat: markdown\n"),
    "sms/twilio": ("+8613800000000", "account_sid: AC0123456789abcdef0123456789abcdef\nauth_token: 12345678\nfrom: '+14155550101'\n"),
}


@pytest.fixture
def dry(hermod, tmp_path, keys):
    def run(adapter, message, **more):
        to, channel = CHANNELS.get(adapter) or ("a" * 64, f"team_id: DEF123GHIJ\nkey_id: ABC123DEFG\nkey: ${{file:{keys.apns}}}\ntopic: com.example.app\n")
        (tmp_path / "c.yaml").write_text(channel)
        (tmp_path / "m.json").write_text(json.dumps({"to": to, **message, **more}))
        r = hermod("adapters", "dry-run", adapter, "--channel", tmp_path / "c.yaml", "--message", tmp_path / "m.json", "--at", "1700000000")
        assert r.returncode == 0, r.stderr
        return r.stdout
    return run


def bodies(out):
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def report(out):
    return [line for line in out.splitlines() if line.startswith(("#   ", "# warning", "# texts"))]


def test_the_same_text_in_the_markup_of_each_medium(dry):
    telegram = bodies(dry("chat/telegram", MESSAGE))[0]
    assert "<b>Ann</b>" in telegram["text"] and "8 &lt; 9" in telegram["text"]
    assert '<a href="https://x.example/t/1">the tracking page</a>' in telegram["text"]
    wecom = bodies(dry("chat/wecom-app", MESSAGE))[0]
    assert "**Ann**" in wecom["markdown"]["content"]
    assert "[the tracking page](https://x.example/t/1)" in wecom["markdown"]["content"]
    push = bodies(dry("push/apns", MESSAGE))[0]["aps"]["alert"]
    assert push["title"] == "Order 8 < 9"
    assert push["body"].startswith("Hi Ann, your order is on its way:")
    assert "https://" not in push["body"]


def test_what_push_cannot_show_is_said(dry):
    lines = report(dry("push/apns", MESSAGE, buttons=[{"text": "Open", "url": "https://x.example/o"}]))
    assert lines[0] == "# texts, as plain"
    assert '# warning: links are not allowed here: "https://x.example/t/1" is left out' in lines
    assert "# warning: buttons are not shown by this medium" in lines


def test_a_push_payload_gives_way_to_the_byte(dry):
    out = dry("push/apns", {"body": "订单" * 3000, "data": {"order": "1"}})
    payload = [line for line in out.splitlines() if line.startswith("{")][0]
    assert 4090 < len(payload.encode()) <= 4096
    body = json.loads(payload)
    assert body["aps"]["alert"].endswith("…") and body["order"] == "1"
    assert any(line.startswith("# warning: body: cut at ") and line.endswith(" of 18000 bytes") for line in report(out))


def test_an_emoji_doubles_the_price_of_a_text_message(dry):
    text = "Your order is on its way and arrives on Friday between eight and ten, please be at home" * 2
    lines = report(dry("sms/twilio", {"body": text}))
    assert any("GSM 7-bit, 174 septets, 2 segments, room for 132 more" in line for line in lines)
    lines = report(dry("sms/twilio", {"body": text + "😀"}))
    assert any("UCS-2, 176 units, 3 segments, room for 25 more" in line for line in lines)
    assert "# warning: emoji 😀 forces UCS-2: 3 segments instead of 2" in lines


def test_a_long_chat_message_goes_in_numbered_parts(dry):
    words = " ".join(f"word{i}" for i in range(600))
    out = dry("chat/discord", {"body": f"**{words}**", "format": "markdown"})
    parts = [b["content"] for b in bodies(out)]
    assert len(parts) == 3 and "part 3 of 3" in out
    for i, p in enumerate(parts):
        assert p.startswith(f"({i + 1}/3) ") and p.count("**") == 2 and len(p) <= 2000
    assert " ".join(p.split(") ", 1)[1].strip("*") for p in parts) == words


def test_mistakes_are_told(hermod, tmp_path):
    (tmp_path / "c.yaml").write_text(CHANNELS["chat/wecom-app"][1])
    (tmp_path / "m.json").write_text('{"to": "a", "body": "x", "format": "rtf"}')
    r = hermod("adapters", "dry-run", "chat/wecom-app", "--channel", tmp_path / "c.yaml", "--message", tmp_path / "m.json")
    assert r.returncode == 1 and "format: expected plain, markdown or html" in r.stderr
