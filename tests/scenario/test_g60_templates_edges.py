"""Templates at their edges: what an operator who is new to them runs into, and what must be said then."""
import json

import pytest

from stage import Stage, problem
from test_g10_adapters import CASES, channel, channels


@pytest.fixture(scope="module")
def stage(tmp_path_factory, keys):
    with Stage(tmp_path_factory.mktemp("edges"), keys, channels=channels) as s:
        yield s


def preview(stage, document, **body):
    a = stage.engine.post("/v1/templates/edge/preview", {"document": document, **body})
    assert a.status == 200, a.body
    return {r["channel"]: r for r in a.json["channels"]}


def row(stage, medium, document, **body):
    return preview(stage, document, channels=[channel(medium)], **body)[channel(medium)]


# -- what is wrong is said, and nothing else ------------------------------------------------


def test_a_text_that_is_refused_is_not_called_missing(stage):
    """1,601 characters are too long for Twilio: that is the reason, not that there were none."""
    assert row(stage, "sms/twilio", {"body": "a" * 1600})["ok"]
    r = row(stage, "sms/twilio", {"body": "a" * 1601})
    assert not r["ok"] and r["error"] == "body: 1601 characters, at most 1600 are allowed" and r["field"] == "body", r


@pytest.mark.parametrize("medium", ["push/apns", "push/fcm", "push/bark"])
def test_an_option_of_the_wrong_kind_is_named(stage, medium):
    r = row(stage, medium, {"title": "t", "body": "x", "options": {"badge": "${n}"}}, data={"n": "many"})
    assert not r["ok"] and r["error"] == 'options.badge: "many" is not a whole number' and r["field"] == "options.badge", r
    r = row(stage, "sms/twilio", {"body": "x", "options": {"ttl": "soon"}})  # options.ttl ?? ttl
    assert not r["ok"] and r["error"] == 'options.ttl: "soon" is not a whole number', r


@pytest.mark.parametrize("options,says", [
    ({"interruption_level": "loud"}, "options.interruption_level: expected passive, active, time-sensitive or critical"),
    ({"badge": -1}, "options.badge: expected a number, not less than 0"),
    ({"ttl": -5}, "options.ttl: expected seconds, not less than 0"),
])
def test_apple_would_drop_these_without_a_word(stage, options, says):
    r = row(stage, "push/apns", {"title": "t", "body": "x", "options": options})
    assert not r["ok"] and r["error"] == says, r
    assert row(stage, "push/apns", {"title": "t", "body": "x", "options": {"interruption_level": "passive", "badge": 0, "ttl": 0}})["ok"]


def test_targets_that_are_no_links_are_spoken_of(stage):
    """They are left out, or sent as text; the preview says so on every channel that would use them."""
    doc = {"title": "t", "body": "x", "url": "${u}", "image": "https://x.example/i.png", "buttons": [{"text": "Buy", "url": "${b}"}]}
    for name, r in preview(stage, doc, data={"u": "javascript:alert(1)", "b": "not a url"}).items():
        if not r["ok"]:
            assert "url" in r["error"], r
            continue
        said = "\n".join(r["warnings"])
        assert 'url: "javascript:alert(1)" is no address of a link' in said, (name, r["warnings"])
        assert 'buttons: "not a url" is no address of a link' in said, (name, r["warnings"])
    for name, r in preview(stage, doc, data={"u": "myapp://orders/1", "b": "tel:10086"}).items():
        assert "no address" not in "\n".join(r.get("warnings", [])), (name, r["warnings"])


# -- what is shown is what is sent ------------------------------------------------------------


def test_a_preview_is_of_its_time(stage):
    shown = preview(stage, {"title": "t", "body": "x"}, now=1700000000000)
    assert shown["hook-sink"]["payloads"][0]["json"]["timestamp"] == "2023-11-14T22:13:20Z"
    assert "1970-01-01" not in json.dumps(shown)


def test_a_title_that_is_cut_is_said(stage):
    r = row(stage, "chat/serverchan", {"title": "T" * 40, "body": "x"})
    assert r["ok"] and "title: cut at 32 of 40 characters" in r["warnings"], r["warnings"]


# -- names ------------------------------------------------------------------------------------


def put(stage, name, document, publish=True):
    a = stage.engine.post("/v1/templates", {"name": name, "document": document, "publish": publish})
    assert a.status == 201, a.body


def refused(stage, template):
    a = stage.engine.post("/v1/messages", {"channel": "apns-sink", "to": "3" * 64, "template": template})
    return problem(a, 422, "invalid-message", "template")["detail"]


def test_why_a_template_cannot_be_used(stage):
    put(stage, "why/one", {"body": "x"})
    put(stage, "why/foot", {"kind": "fragment", "text": "x"})
    put(stage, "why/draft", {"body": "x"}, publish=False)
    assert refused(stage, "why/none") == 'template: no template "why/none"'
    assert refused(stage, "why/draft") == 'template: no template "why/draft"'
    assert refused(stage, "why/one@2") == 'template: the template "why/one" has no version 2 that could be sent'
    assert refused(stage, "why/one@x") == 'template: no template "why/one@x": after @ comes the number of a version'
    assert refused(stage, "why/foot") == 'template: "why/foot" is a fragment: it is included, not sent'
    assert stage.engine.post("/v1/templates/why%2Fone/archive").status == 200
    assert refused(stage, "why/one") == 'template: no version of the template "why/one" is published'
    a = stage.engine.post("/v1/templates/why%2Fone/preview", {})
    problem(a, 404, "not-found", text="archived; say which version")
    assert stage.engine.post("/v1/templates/why%2Fone/preview", {"version": 1}).status == 200


def test_addresses_of_a_preview(stage):
    ask = lambda to: stage.engine.post("/v1/templates/edge/preview", {"document": {"body": "x"}, "to": to, "channels": ["chat-telegram"]})
    assert ask({"chat": "-100", "chat-telegram": "-1007"}).json["channels"][0]["payloads"][0]["json"]["chat_id"] == "-1007"
    problem(ask({"caht": "-100"}), 422, "invalid-message", "to", '"caht" is neither a medium nor a channel')
    problem(ask({"chat": 100}), 422, "invalid-message", "to", "the address for chat must be a text")


# -- folders ----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    d = tmp_path / "t"
    d.mkdir()
    (d / "a.yaml").write_text("body: x\n")
    (tmp_path / "c.yaml").write_text("templates: {dir: t}\n")
    return d


def test_files_that_would_not_be_read_are_told(folder, hermod, redis, tmp_path):
    """k.yml beside a.yaml: without a word, its jobs would fail one by one, and its tests would never run."""
    check = lambda: hermod("check", "--config", "c.yaml", cwd=tmp_path)
    push = lambda: hermod("templates", "push", "t", "--redis", redis.url, cwd=tmp_path)
    assert check().returncode == 0 and push().returncode == 0
    (folder / "k.yml").write_text("body: y\n")
    for r in (check(), push()):
        assert r.returncode != 0 and "t/k.yml: would not be read: templates end in .yaml" in r.stderr, r
    (folder / "k.yml").unlink()
    (folder / "a.test.yml").write_text("cases: []\n")
    r = hermod("templates", "test", "t", cwd=tmp_path)
    assert r.returncode == 1 and "t/a.test.yml: would not be read" in r.stdout + r.stderr, r
    (folder / "a.test.yml").unlink()
    (folder / "gone.yaml").symlink_to("nowhere")
    for r in (check(), push()):
        assert r.returncode != 0 and "t/gone.yaml: cannot be read: No such file or directory" in r.stderr, r


# -- what is given is kept, or refused ----------------------------------------------------------


def test_why_a_version_was_taken_back_is_kept(stage):
    e = stage.engine
    put(stage, "note/one", {"body": "x"})
    at = "/v1/templates/note%2Fone"
    for path, note in ((at + "/archive", "too early"), (at + "/versions/1/restore", "now it is time"), (at + "/versions/1/archive", "or not")):
        assert e.post(path, {"note": note}).status == 200
    h = e.get(at + "/history").json["history"]
    assert [(x["change"], x.get("note")) for x in h] == [
        ("archive", "or not"), ("restore", "now it is time"), ("archive", "too early"), ("publish", None)]
    problem(e.post(at + "/versions/1/restore", {"notes": "x"}), 422, "invalid-message", text="did you mean note?")
    problem(e.post(at + "/versions/1/restore", b"because", {"Content-Type": "text/plain"}), 415, "unsupported-media-type")
    assert e.get(at).json["current"] == 0  # what was refused changed nothing


def test_words_that_help(stage, hermod):
    problem(stage.engine.get("/v1/templates/note/one"), 404, "not-found", text="(a / in the name of a template is written %2F)")
    a = stage.engine.post("/v1/templates/edge/validate", {"body": "x", "format": "md"})
    problem(a, 422, "invalid-template", "format", "format: must be plain, markdown, html, json or xml")
    put(stage, "words/gone", {"body": "x"})
    assert stage.engine.post("/v1/templates/words%2Fgone/archive").status == 200
    r = hermod("templates", "list", "words/", "--redis", stage.redis.url)
    assert r.stdout.splitlines()[1].split()[:5] == ["words/gone", "archived", "-", "of", "1"], r


# -- large ----------------------------------------------------------------------------------------


def test_a_large_text_on_every_channel_is_judged_on_each_alone(stage):
    """What one channel is told must not depend on how many stand before it."""
    doc, data = {"title": "t", "body": "${x}"}, {"x": "\u4e2d" * 150000}
    names = [channel(m) for m in ("chat/wecom-app", "sms/aliyun", "email/sendgrid", "email/resend", "chat/slack", "chat/slack-webhook")]
    shown = preview(stage, doc, data=data, channels=names)
    assert {n: r.get("error") for n, r in shown.items()} == dict.fromkeys(names)
