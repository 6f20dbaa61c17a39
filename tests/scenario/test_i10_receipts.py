"""What providers report: signed calls, duplicates, late and forged ones, bounces and complaints, answers of people, handshakes, asking."""
import base64
import concurrent.futures
import hashlib
import hmac
import json
import shutil
import urllib.parse

import pytest
from conftest import ROOT, http, wait_for

HUB = "https://hub.example.com"
TOKEN = "0123456789abcdef"
SECRET = "told-secret"
TO = "+14155550100"

# A provider whose receipts know nothing but its own id, and that signs the body.
TOLD = """
adapter: {name: sms/told, title: A provider that tells}
settings:
  secret: {type: string, secret: true, doc: what it signs with}
endpoint: {url: "https://told.example"}
request: {path: /told, json: {to: "${to}", text: "${body}", cb: '${callback_url | with_query("id", id)}'}}
answer: {success: status == 200, provider_id: answer.sid}
receipts:
  push:
    methods: [GET, POST]
    verify: body | hmac_sha256(settings.secret) | hex | equals(header.x-sign)
    challenge:
      - {when: method == "GET" && query.challenge, body: "${query.challenge}"}
    acknowledge: {status: 202, type: application/json, body: '{"ok":true}'}
  each: event.events
  id: it.ref
  provider_id: it.sid
  recipient: it.to
  code: it.status
  detail: it.why
  text: it.text
  time: {from: it.at, as: epoch_ms}
  dedupe: it.event_id
  events:
    - {code: delivered, event: delivered}
    - {code: read, event: read}
    - {code: failed, event: failed}
    - {code: bounced, event: bounced}
    - {code: complained, event: complained}
    - {code: unsubscribed, event: unsubscribed}
    - {code: resubscribed, event: resubscribed}
    - {code: replied, event: replied}
    - {code: "*", event: ignored}
""".replace("  id: it.ref\n", "")

ASKED = """
adapter: {name: sms/asked, title: A provider that is asked}
endpoint: {url: "https://asked.example"}
request: {path: /asked, json: {to: "${to}"}}
answer: {success: status == 200, provider_id: answer.sid}
receipts:
  pull:
    after: 1m
    until: 24h
    max: 100
    request: {method: POST, path: /states, json: {ids: "${ids}"}}
    answer: {success: status == 200}
  each: event
  provider_id: it.sid
  code: it.status
  events:
    - {code: delivered, event: delivered}
    - {code: pending, event: ignored, final: no}
"""

# Only ids of one group may be asked about together, and elsewhere.
GROUPED = """
adapter: {name: sms/grouped, title: A provider that is asked by groups}
settings:
  report_url: {type: url, default: "https://report.example", doc: where it is asked}
  ask: {type: bool, default: true, doc: whether it is asked}
endpoint: {url: "https://grouped.example"}
request: {path: /grouped, json: {to: "${to}"}}
answer: {success: status == 200, provider_id: answer.sid}
receipts:
  pull:
    enabled: settings.ask
    after: 1m
    until: 24h
    max: 100
    group: id | split("/") | first
    request: {method: POST, url: '${settings.report_url}/elsewhere/${id | split("/") | first}', json: {members: '${ids | map(it | split("/") | last)}'}}
    answer: {success: status == 200}
  each: event
  provider_id: (id | split("/") | first) ~ "/" ~ key
  code: it
  events:
    - {code: delivered, event: delivered}
"""

# Signs nothing: the address has a token.
PLAIN = """
adapter: {name: sms/plain, title: A provider that signs nothing}
endpoint: {url: "https://plain.example"}
request: {path: /plain, json: {cb: '${callback_url | with_query("id", id)}'}}
answer: {success: status == 200}
receipts:
  push: {methods: [POST]}
  id: query.id
  recipient: event.to
  code: event.status
  events:
    - {code: delivered, event: delivered}
"""


@pytest.fixture
def up(engine, sink, redis, tmp_path):
    folder = tmp_path / "adapters"
    shutil.copytree(ROOT / "adapters", folder)
    for name, text in {"told": TOLD, "asked": ASKED, "grouped": GROUPED, "plain": PLAIN}.items():
        (folder / "sms" / f"{name}.yaml").write_text(text)
    endpoint = {"url": sink.tls_url, "ca_file": sink.ca}

    def make(channels=None, settings=None, **more):
        c = {
            "twilio": {"adapter": "sms/twilio", "account_sid": "AC1", "auth_token": "tw-token", "from": "+14155550101", "endpoint": endpoint},
            "told": {"adapter": "sms/told", "secret": SECRET, "endpoint": endpoint},
            "asked": {"adapter": "sms/asked", "endpoint": endpoint},
            "plain": {"adapter": "sms/plain", "callback_token": TOKEN, "endpoint": endpoint},
            "wecom": {"adapter": "chat/wecom-app", "corp_id": "ww1", "secret": "s3cret", "agent_id": 1000002, "endpoint": endpoint},
            **(channels or {})}
        s = {"adapters": {"dir": str(folder)}, "callbacks": {"public_url": HUB}, **(settings or {})}
        for name in ("told", "asked", "plain"):
            sink.script({"path": f"/{name}"}, [{"status": 200, "json": {"sid": f"{name}-{i}"}} for i in range(1, 20)])
        sink.script({"path": "/2010-04-01/"}, [{"status": 201, "json": {"sid": f"SM{i}", "status": "queued"}} for i in range(1, 20)])
        return engine(sink, redis, channels=c, settings=s, **more)
    return make


def send(e, channel, to=TO, **more):
    id = e.send(channel=channel, to=to, content={"body": "hi"}, **more)
    e.wait_state(id, "sent", "delivered")
    return id


def twilio(e, id, status, key="tw-token", fields=(), signature=None, **more):
    query = f"?ref={id}" if id else ""
    form = [("MessageSid", "SM1"), ("MessageStatus", status), ("To", TO), ("From", "+14155550101"), *fields]
    if status == "received":
        form = [("MessageSid", more.pop("sid", "SM9")), ("SmsStatus", "received"), ("From", TO), ("To", "+14155550101"), *fields]
    text = f"{HUB}/v1/callbacks/twilio{query}" + "".join(k + v for k, v in sorted(form))
    sign = signature if signature is not None else base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha1).digest()).decode()
    return http("POST", e.url(f"/v1/callbacks/twilio{query}"), urllib.parse.urlencode(form).encode(),
                {"Content-Type": "application/x-www-form-urlencoded", "X-Twilio-Signature": sign})


def told(e, *events, secret=SECRET, **headers):
    body = json.dumps({"events": events}).encode()
    return http("POST", e.url("/v1/callbacks/told"), body,
                {"X-Sign": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(), "Content-Type": "application/json", **headers})


def count(e, what):
    return int(e.metric(f"hermod_callback{what}_total"))


def on_list(e, address=TO):
    a = http("GET", e.url(f"/v1/suppressions?address={urllib.parse.quote(address)}"), None, e.headers())
    return [(x["medium"], x["reason"]) for x in a.json["suppressions"]]


# -- by our id in the URL ------------------------------------------------------------------------------------


def test_a_signed_receipt_makes_it_delivered(up, sink):
    e = up()
    id = send(e, "twilio")
    asked = [r for r in sink.requests() if r.path.startswith("/2010")][0]
    assert f"StatusCallback={urllib.parse.quote(HUB + '/v1/callbacks/twilio?ref=' + id, safe='')}" in asked.body.decode()
    a = twilio(e, id, "delivered")
    assert (a.status, a.body, a.headers["Content-Type"]) == (200, b"<Response/>", "text/xml")
    e.wait_state(id, "delivered")
    assert count(e, "_events_taken") == 1


def test_again_late_and_out_of_order_change_nothing_twice(up):
    e = up()
    id = send(e, "twilio")
    for status in ("read", "sent", "delivered", "read", "delivered", "queued", "delivered"):
        assert twilio(e, id, status).status == 200
    m = e.wait_state(id, "delivered")
    assert m["reason"].count("delivered 2") == 1 and m["reason"].count("read 2") == 1
    assert (count(e, "_events_taken"), count(e, "_events_repeated"), count(e, "_events_ignored")) == (2, 3, 2)
    assert e.assert_balanced()["sent"] == 1


def test_forged_ones_are_refused_and_counted(up):
    e = up()
    id = send(e, "twilio")
    good = twilio(e, id, "queued")
    assert good.status == 200
    for a in (twilio(e, id, "delivered", key="other"), twilio(e, id, "delivered", signature=""), twilio(e, "", "delivered", key="")):
        assert a.status == 403 and a.json["type"] == "urn:hermod:problem:forbidden"
    assert count(e, "s_forged") == 3
    assert e.message(id)["state"] == "sent"
    assert http("POST", e.url("/v1/callbacks/nobody"), b"{}").status == 404
    assert http("POST", e.url("/v1/callbacks/asked"), b"{}").status == 404


def test_a_channel_without_its_secret_believes_nobody(up):
    e = up(channels={"told": {"adapter": "sms/told", "endpoint": {"url": "https://told.example"}}})
    assert told(e, {"status": "delivered", "sid": "x"}, secret="").status == 403
    assert count(e, "s_forged") == 1


def test_a_token_in_the_address_where_nothing_is_signed(up, sink):
    e = up()
    id = send(e, "plain")
    url = [r for r in sink.requests() if r.path == "/plain"][0].json["cb"]
    assert url == f"{HUB}/v1/callbacks/plain?token={TOKEN}&id={id}"
    call = lambda q: http("POST", e.url(f"/v1/callbacks/plain{q}"), {"status": "delivered", "to": TO}).status
    assert [call(f"?id={id}"), call(f"?token=&id={id}"), call(f"?token={TOKEN}x&id={id}")] == [403, 403, 403]
    assert call(f"?token={TOKEN}&id={id}") == 200
    e.wait_state(id, "delivered")


# -- by the provider's id ------------------------------------------------------------------------------------


def test_the_providers_id_finds_the_message(up, redis):
    e = up()
    id = send(e, "told")
    a = told(e, {"status": "delivered", "sid": "told-1"})
    assert (a.status, a.json) == (202, {"ok": True})
    e.wait_state(id, "delivered")
    assert not redis.client.keys("{hm:*}:pid:twilio:*")


def test_an_unknown_id_is_no_error(up):
    e = up()
    assert told(e, {"status": "delivered", "sid": "nobody"}, {"status": "strange", "sid": "nobody"}).status == 202
    assert (count(e, "_events_unknown"), count(e, "_events_ignored")) == (1, 1)


def test_a_receipt_faster_than_the_note_of_the_sending(up):
    e = up()
    assert told(e, {"status": "delivered", "sid": "told-1"}).status == 202
    id = e.send(channel="told", to=TO, content={"body": "hi"})
    e.wait_state(id, "delivered")


def test_a_handshake(up):
    e = up()
    a = http("GET", e.url("/v1/callbacks/told?challenge=%3Cb%3E17"))
    assert (a.status, a.body, a.headers["X-Content-Type-Options"]) == (200, b"<b>17", "nosniff")
    assert http("GET", e.url("/v1/callbacks/told")).status == 403


# -- lists ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status,reason", [("bounced", "hard_bounce"), ("complained", "complaint"), ("unsubscribed", "unsubscribe")])
def test_who_must_not_get_more_is_on_the_list(up, status, reason):
    e = up()
    send(e, "told")
    # The provider writes the number its own way; the list has the one that is used.
    assert told(e, {"status": status, "sid": "told-1", "to": "14155550100", "why": "no such user"}).status == 202
    assert on_list(e) == [("sms", reason)]
    id = e.send(channel="told", to=TO, content={"body": "again"})
    assert reason in json.dumps(e.wait_state(id, "suppressed"))
    told(e, {"status": status, "sid": "told-1", "to": "14155550100", "why": "no such user"})
    assert on_list(e) == [("sms", reason)]


def test_who_comes_back_is_off_it_once(up):
    e = up()
    send(e, "told")
    events = [{"status": "unsubscribed", "sid": "told-1", "at": 1700000001000, "event_id": "a"},
              {"status": "resubscribed", "sid": "told-1", "at": 1700000002000, "event_id": "b"}]
    assert told(e, events[0]).status == 202 and on_list(e) == [("sms", "unsubscribe")]
    assert told(e, events[1]).status == 202 and on_list(e) == []
    # An old report does not undo the newer one, nor does the newer one count twice.
    assert told(e, events[0]).status == 202 and on_list(e) == []
    assert told(e, {"status": "unsubscribed", "sid": "told-1", "event_id": "c"}).status == 202
    assert on_list(e) == [("sms", "unsubscribe")]
    assert told(e, events[1]).status == 202 and on_list(e) == [("sms", "unsubscribe")]
    assert told(e, {**events[1], "event_id": "d"}).status == 202 and on_list(e) == [("sms", "unsubscribe")]


# -- answers of people ---------------------------------------------------------------------------------------


def test_answers_are_kept_and_words_unsubscribe(up):
    e = up()
    assert twilio(e, "", "received", fields=[("Body", "yes, please")]).status == 200
    assert twilio(e, "", "received", fields=[("Body", "yes, please")]).status == 200
    assert on_list(e) == []
    assert twilio(e, "", "received", sid="SM10", fields=[("Body", " 退订! ")]).status == 200
    assert on_list(e) == [("sms", "unsubscribe")]
    assert twilio(e, "", "received", sid="SM11", fields=[("Body", "start")]).status == 200
    assert on_list(e) == []
    a = e.get("/v1/replies?limit=2").json
    assert [(r["from"], r["text"], r.get("meaning")) for r in a["replies"]] == [(TO, "yes, please", None), (TO, "退订!", "unsubscribed")]
    more = e.get(f"/v1/replies?cursor={a['next']}").json["replies"]
    assert [(r["channel"], r["medium"], r["text"], r["meaning"]) for r in more] == [("twilio", "sms", "start", "resubscribed")]
    assert e.get(f"/v1/replies?cursor={more[-1]['cursor']}").json == {"replies": []}
    assert e.get("/v1/replies?limit=0").status == 422 and e.get("/v1/replies?cursor=x").status == 422


# -- several processes, failures -----------------------------------------------------------------------------


def test_the_callback_arrives_at_another_node(up):
    a = up(settings={"node": {"name": "a"}}, name="a")
    id, other = send(a, "twilio"), send(a, "told")
    b = up(settings={"node": {"name": "b"}}, name="b")
    a2, b2 = twilio(b, id, "delivered"), told(b, {"status": "read", "sid": "told-1"})
    assert (a2.status, b2.status) == (200, 202)
    a.wait_state(id, "delivered")
    a.wait_state(other, "delivered")


def test_without_redis_it_is_to_be_sent_again(up, redis):
    e = up()
    id = send(e, "twilio")
    redis.stop()
    a = wait_for(lambda: (lambda x: x if x.status == 503 else None)(twilio(e, id, "delivered")), 20, "refused for now")
    assert a.headers["Retry-After"]
    redis.restart()
    wait_for(lambda: twilio(e, id, "delivered").status == 200, 20, "taken")
    e.wait_state(id, "delivered")


@pytest.mark.parametrize("fault", ["callback_stored", "receipt_noted", None])
def test_killed_between_the_answer_and_the_record(up, redis, fault):
    """Once it is stored, a receipt finds its message, whatever dies."""
    e = up(env={"HERMOD_FAULTS": f"{fault}:kill"} if fault else None, settings={"node": {"shards": 1}})
    id = send(e, "twilio")
    try:
        assert twilio(e, id, "delivered").status == 200
    except OSError:
        assert fault
    if not fault:
        e.kill9()
    else:
        wait_for(lambda: not e.alive(), 20, "dead")
    e.env.pop("HERMOD_FAULTS", None)
    e.start()
    m = e.wait_state(id, "delivered")
    assert m["reason"].count("delivered 2") == 1


def test_killed_when_sent_the_providers_id_is_known(up):
    e = up(env={"HERMOD_FAULTS": "settle_before_ack:kill"}, settings={"node": {"shards": 1}})
    id = e.send(channel="told", to=TO, content={"body": "hi"})
    wait_for(lambda: not e.alive(), 20, "dead")
    e.env.pop("HERMOD_FAULTS", None)
    e.start()
    m = e.wait_state(id, "sent")
    assert told(e, {"status": "delivered", "sid": m["attempts"][-1]["provider_id"]}).status == 202
    e.wait_state(id, "delivered")


def test_limits(up):
    e = up(settings={"callbacks": {"public_url": HUB, "max_body": 2048, "rate": 5}})
    assert told(e, {"status": "delivered", "sid": "x" * 4000}).status == 413
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: http("POST", e.url("/v1/callbacks/told"), b"{}"), range(60)))
    assert {a.status for a in answers} == {403, 429}
    assert [a for a in answers if a.status == 429][0].headers["Retry-After"]


# -- asking --------------------------------------------------------------------------------------------------


def test_who_tells_nothing_is_asked(up, sink, redis):
    e = up()
    id = send(e, "asked")
    sink.script({"path": "/states"}, [{"status": 200, "json": [{"sid": "asked-1", "status": "pending"}]},
                                      {"status": 503},
                                      {"status": 200, "json": [{"sid": "asked-1", "status": "delivered"}]}])
    asked = lambda: [r.json["ids"] for r in sink.requests() if r.path == "/states"]
    assert asked() == []
    e.advance(61_000)
    wait_for(lambda: len(asked()) == 1, 20, "asked once")
    e.advance(180_000)
    wait_for(lambda: len(asked()) == 2, 20, "asked again, twice as old")
    e.advance(180_000)
    wait_for(lambda: len(asked()) == 3, 20, "asked again after an answer that was none")
    e.wait_state(id, "delivered")
    wait_for(lambda: all(redis.client.zcard(k) == 0 for k in redis.client.keys("{hm:*}:pull:*")), 10, "nothing left to ask about")
    assert asked() == [["asked-1"]] * 3


def test_ids_of_a_group_are_asked_about_together_and_elsewhere(up, sink, redis):
    endpoint = {"url": sink.tls_url + "/not-here", "ca_file": sink.ca}
    e = up(channels={"grouped": {"adapter": "sms/grouped", "report_url": sink.tls_url, "endpoint": endpoint},
                     "quiet": {"adapter": "sms/grouped", "ask": False, "endpoint": endpoint}}, settings={"queue": {"partitions": 1}})
    sids = ["g1/a", "g2/b", "g1/c", "g3/d", "g2/e"]
    sink.script({"path": "/not-here/grouped"}, [{"status": 200, "json": {"sid": s}} for s in [*sids, "g9/z"]])
    ids = [send(e, "grouped") for _ in sids]
    send(e, "quiet")
    for group, members in {"g1": "ac", "g2": "be", "g3": "d"}.items():
        sink.script({"path": f"/elsewhere/{group}"}, [{"status": 200, "json": {m: "delivered" for m in members}}])
    e.advance(61_000)
    for id in ids:
        e.wait_state(id, "delivered")
    wait_for(lambda: all(redis.client.zcard(k) == 0 for k in redis.client.keys("{hm:*}:pull:*")), 10, "nothing left to ask about")
    asked = [(r.path[11:], r.json["members"]) for r in sink.requests() if r.path.startswith("/elsewhere/")]
    assert sorted((group, sorted(members)) for group, members in asked) == [("g1", ["a", "c"]), ("g2", ["b", "e"]), ("g3", ["d"])]
