"""Templates as documents: fields, locales, fragments, holes, and files that change while the engine runs."""
import signal

from conftest import wait_for, xadd

TOKEN = "1" * 64


def alert(sink):
    return sink.requests()[-1].json["aps"]["alert"]


def reason(e, id):
    m = e.wait_state(id, "failed")
    return m["reason"]


FIELDS = """
title: '${user.name}'
body: '${product}: ${price} (${left} left)'
fields:
  user.name: {type: string, required: true, example: Ann}
  product: {type: string, required: true}
  price: {type: number, required: true}
  left: {type: integer, default: 3}
"""


def test_a_field_that_is_missing_empty_or_wrong_fails_with_its_name(engine, sink):
    e = engine(sink, templates={"offer": FIELDS})

    def send(**data):
        return e.send(channel="apns-sink", to=TOKEN, template="offer", data=data)

    good = {"user": {"name": "Ann"}, "product": "Lamp", "price": 9.5}
    e.wait_state(send(**good), "sent")
    assert alert(sink) == {"title": "Ann", "body": "Lamp: 9.5 (3 left)"}
    e.wait_state(send(**good, left=1), "sent")
    assert alert(sink)["body"] == "Lamp: 9.5 (1 left)"
    n = sink.ledger()["requests"]
    for change, why in [({"user": {}}, 'the field "user.name" is missing'),
                        ({"user": None}, 'the field "user.name" is missing'),
                        ({"product": " \u3000"}, 'the field "product" is empty'),
                        ({"price": "9.5"}, 'the field "price" must be a number; it is a string'),
                        ({"left": 1.5}, 'the field "left" must be a whole number; it is a number')]:
        assert reason(e, send(**{**good, **change})) == why
    assert sink.ledger()["requests"] == n, "none of them left"


def test_only_the_recipient_without_the_field_fails(engine, sink, redis):
    e = engine(sink, redis, templates={"offer": FIELDS})
    xadd(redis.client, {"channel": "apns-sink", "template": "offer", "campaign": "mixed",
                        "data": {"product": "Lamp", "price": 1},
                        "rs": [{"addr": TOKEN, "data": {"user": {"name": "A"}}}, {"addr": "2" * 64},
                               {"addr": "3" * 64, "data": {"user": {"name": "C"}, "product": ""}}]})
    r = e.wait_final(3, "mixed")
    assert (r["sent"], r["failed"]) == (1, 2)
    assert sink.ledger()["requests"] == 1


LOCALES = """
default_locale: zh-CN
title: 你好
body: '${n?string(",##0")} 积分'
locales:
  en: {title: Hello, body: '${n} points', media: {chat: {body: 'chat: ${n}'}}}
  en-GB: {title: Good day}
"""


def test_the_recipients_locale_chooses_the_text(engine, sink):
    e = engine(sink, templates={"points": LOCALES})
    for locale, expected in [(None, ("你好", "1,500 积分")), ("fr", ("你好", "1,500 积分")),
                             ("en", ("Hello", "1500 points")), ("en_US", ("Hello", "1500 points")),
                             ("en-gb-oxendict", ("Good day", "1500 points")), ("zh-Hant-TW", ("你好", "1,500 积分"))]:
        to = {"addr": TOKEN, "data": {"n": 1500}}
        if locale:
            to["locale"] = locale
        e.wait_state(e.send(channel="apns-sink", to=to, template="points"), "sent")
        assert (alert(sink)["title"], alert(sink)["body"]) == expected, locale


def test_the_time_zone_has_daylight_saving(engine, sink):
    e = engine(sink, templates={"when": "body: '${at?number_to_datetime?string(\"HH:mm\")}'\nfields: {at: date}\n"})
    winter, summer = 1704110400000, 1719835200000  # noon UTC on 1 January and 1 July 2024
    for tz, expected in [("America/New_York", ("07:00", "08:00")), ("Asia/Shanghai", ("20:00", "20:00")),
                         ("Europe/London", ("12:00", "13:00"))]:
        for at, text in zip((winter, summer), expected):
            to = {"addr": TOKEN, "tz": tz, "data": {"at": at}}
            e.wait_state(e.send(channel="apns-sink", to=to, template="when"), "sent")
            assert alert(sink) in (text, {"body": text}), (tz, at)
    to = {"addr": TOKEN, "tz": "Mars/Base", "data": {"at": winter}}
    assert "Mars/Base" in reason(e, e.send(channel="apns-sink", to=to, template="when"))


def test_fragments_and_what_is_left_over(engine, sink):
    e = engine(sink, templates={
        "footer": "kind: fragment\ntext: '-- ${shop}'\n",
        "order": "title: T\nbody: '${text} <#include \"footer\">'\n"})
    e.wait_state(e.send(channel="apns-sink", to=TOKEN, template="order", data={"text": "Hi", "shop": "S"}), "sent")
    assert alert(sink)["body"] == "Hi -- S"
    n = sink.ledger()["requests"]
    for text, why in [("Dear ${name}", "body: a placeholder was left over: ${name}"),
                      ("Dear {name}", "body: a placeholder was left over: {name}")]:
        assert reason(e, e.send(channel="apns-sink", to=TOKEN, template="order", data={"text": text, "shop": "S"})) == why
    a = e.post("/v1/messages", {"channel": "apns-sink", "to": TOKEN, "template": "footer"})
    assert a.status == 422 and '"footer" is a fragment' in a.json["detail"] and a.json["field"] == "template"
    id = e.send(channel="apns-sink", to=TOKEN, content={"title": "${a}", "body": "b"}, render=True, data={"a": " "})
    assert reason(e, id) == "title: the result is blank"
    assert sink.ledger()["requests"] == n
    # what is not to be rendered may look like anything
    e.wait_state(e.send(channel="apns-sink", to=TOKEN, content={"title": "t", "body": "echo ${HOME} {x}"}), "sent")
    assert alert(sink)["body"] == "echo ${HOME} {x}"


def test_files_are_read_again_and_errors_keep_the_old_ones(engine, sink):
    e = engine(sink, templates={"t": "body: one\n"})
    folder = e.dir / "templates"

    def body():
        e.wait_state(e.send(channel="apns-sink", to=TOKEN, template="t"), "sent")
        a = alert(sink)
        return a if isinstance(a, str) else a["body"]

    assert body() == "one"
    (folder / "t.yaml").write_text("body: two\n")
    (folder / "new.yaml").write_text("body: new\n")
    e.p.send_signal(signal.SIGHUP)
    wait_for(lambda: "configuration reloaded" in e.log(), what="the reload")
    assert body() == "two"
    e.wait_state(e.send(channel="apns-sink", to=TOKEN, template="new"), "sent")
    (folder / "t.yaml").write_text("body: three\n")
    (folder / "new.yaml").write_text("body: |\n  fine\n  ${x\nfields: {y: strng}\n")
    e.p.send_signal(signal.SIGHUP)
    wait_for(lambda: "was not reloaded" in e.log(), what="the refusal")
    assert body() == "two"
    for line in ("new.yaml:3", "new.yaml:4"):
        assert line in e.log(), "all mistakes, each with its line"
    (folder / "new.yaml").unlink()
    e.p.send_signal(signal.SIGHUP)
    wait_for(lambda: e.log().count("configuration reloaded") == 2, what="the second reload")
    assert body() == "three"
    r = e.post("/v1/messages", {"channel": "apns-sink", "to": TOKEN, "template": "new"})
    assert r.status in (400, 404, 422), "a template that is gone is refused at once"
