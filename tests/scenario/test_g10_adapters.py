"""Every adapter file, through a real engine: one message that its provider takes, one that it refuses.

The simulator answers as the provider would: what it says stands here, beside what has to come of it.
"""
import pytest

from adapter_cases import DEVICE, all_cases
from conftest import ROOT, channels_to
from stage import Stage

# The four that the simulator plays itself have no yes: it checks and answers. Their no is a special target.
CASES = all_cases()
# Those that speak no HTTP meet real servers elsewhere.
OTHER_PROTOCOLS = {"inbox/hermod": "test_i50_inbox.py", "email/smtp": "test_i40_smtp.py", "sms/smpp": "test_i30_smpp.py",
                   "iot/mqtt": "test_i31_mqtt.py"}

OWN = {"push/apns": "apns-sink", "push/fcm": "fcm-sink", "chat/wecom-app": "wecom-sink", "webhook/standard": "hook-sink"}


def channel(name):
    return OWN.get(name) or name.replace("/", "-")


def base(name):
    """Each channel has a path of its own at the simulator, before the provider's."""
    return "" if name in OWN else "/t/" + channel(name)


def filled(value, name, sink, keys):
    if not isinstance(value, str):
        return value
    files = {"@ACCOUNT@": keys.fcm_account, "@ALIPAY_KEY@": ROOT / "tests/unit/adapter/vectors/alipay_key.pem"}
    return "${file:%s}" % files[value] if value in files else value.replace("@SINK@", sink.tls_url + base(name))


def channels(sink, keys):
    return channels_to(sink, keys) | {
        channel(name): {"adapter": name, **{k: filled(v, name, sink, keys) for k, v in c.settings.items()}, "rate": "1000/s",
                        "endpoint": {"url": sink.tls_url + base(name), "ca_file": sink.ca, **c.endpoint(sink)}}
        for name, c in CASES.items() if name not in OWN}


@pytest.fixture(scope="module")
def stage(tmp_path_factory, keys):
    # Refused addresses stay in use here: one for all the cases of an adapter.
    with Stage(tmp_path_factory.mktemp("adapters"), keys, channels=channels, settings={"gates": {"add_invalid": False}}) as s:
        s.has_token = set()
        yield s


def test_every_file_has_its_case():
    files = {f"{f.parent.name}/{f.stem}" for f in (ROOT / "adapters").glob("*/*.yaml")}
    assert files == set(CASES) | set(OTHER_PROTOCOLS)
    assert all((ROOT / "tests" / "scenario" / f).exists() for f in OTHER_PROTOCOLS.values())


def token_path(name):
    return base(name) + CASES[name].token[0] if CASES[name].token else "/cgi-bin/gettoken"


def sent(name, path):
    """Is this the message? Other channels ask for receipts meanwhile, and tokens are asked for before."""
    here = path.startswith(base(name)) if base(name) else not path.startswith("/t/")
    return here and not path.startswith(("/token", token_path(name)))


def send(stage, name, to):
    e = stage.engine
    before = stage.sink.requests()
    id = e.send(channel=channel(name), to=to.replace("@SINK@", stage.sink.tls_url + base(name)), content={"title": "Price drop", "body": "Only 3 left"})
    m = e.wait_state(id, "sent", "failed")
    new = stage.sink.requests()[len(before):]
    return m, [r for r in new if sent(name, r.path)]


def expect(stage, name, reply, path=""):
    """What the provider says to the next message; before it the token, which the engine then keeps."""
    if CASES[name].token and name not in stage.has_token:
        stage.has_token.add(name)
        stage.sink.script({"path": token_path(name)}, [CASES[name].token[1]])
    if reply:
        stage.sink.script({"path": base(name) + path}, [reply])


@pytest.mark.parametrize("name", CASES)
def test_taken(stage, name):
    c = CASES[name]
    expect(stage, name, c.yes)
    m, requests = send(stage, name, c.to)
    assert [a["outcome"] for a in m["attempts"]] == ["ok"], m
    assert m["state"] == "sent" and stage.sink.scripts() == []
    assert len(requests) == 1
    if name not in OWN:
        r = requests[0]
        assert r.method == c.method and r.path.startswith(base(name) + c.path), r.path
        body = (c.opens(r.body) if c.opens else r.body).decode()
        assert ("Only 3 left" in body or "Only+3+left" in body or "Only%203%20left" in body), body
        assert c.has is None or c.has in body
        if "json" in r.headers.get("content-type", ""):
            assert isinstance(r.json, dict)


@pytest.mark.parametrize("name", CASES)
def test_refused(stage, name):
    c = CASES[name]
    expect(stage, name, c.no, c.path if name in OWN else "")
    m, requests = send(stage, name, c.special or c.to)
    assert [a["outcome"] for a in m["attempts"]] == [c.outcome], m
    assert m["state"] == "failed" and len(requests) == 1
    assert stage.sink.scripts() == []


DIALECTS = {
    "chat/slack": '"text":"Only *3* left of <https://x.example.com/a|this>"',
    "chat/telegram": '"text":"<b>Price drop</b>\\nOnly <b>3</b> left of <a href=\\"https://x.example.com/a\\">this</a>',
    "chat/dingtalk-robot": "### Price drop\\n\\nOnly **3** left of [this](https://x.example.com/a)",
    "chat/teams": '"type":"TextBlock","text":"Only **3** left of [this](https://x.example.com/a)"',
    "email/resend": "Only <strong>3</strong> left of <a href=\\\"https://x.example.com/a\\\">this</a>",
    "push/bark": '"body":"Only 3 left of this"',
    "push/apns": '"body":"Only 3 left of this"',
    "sms/twilio": "Body=Only+3+left+of+this%3A+https%3A%2F%2Fx.example.com%2Fa",
}


def test_one_content_on_eight_media(stage):
    """Written once, in markdown; each medium gets it as it shows text."""
    content = {"format": "markdown", "title": "Price drop", "body": "Only **3** left of [this](https://x.example.com/a)",
               "buttons": [{"text": "Buy", "url": "https://x.example.com/buy"}]}
    for name, expected in DIALECTS.items():
        c = CASES[name]
        expect(stage, name, c.yes)
        before = len(stage.sink.requests())
        id = stage.engine.send(channel=channel(name), to=c.to, content=content)
        stage.engine.wait_state(id, "sent")
        body = stage.sink.requests()[before:][-1].body.decode()
        assert expected in body, (name, body)
        assert ("https://x.example.com/buy" in body or "x.example.com%2Fbuy" in body) == (c.to != DEVICE and name != "push/bark"), (name, body)
