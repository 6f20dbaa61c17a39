"""One message from its submission to its end, on every channel and by every way in."""
import time

from conftest import wait_for, xadd

TOKEN = "1" * 64
ARTICLE = """
format: plain
title: 降价提醒
body: |-
  尊敬的${name},您关注的${product}已降价!<#if vip_level > 3>尊享VIP专属价${vip_price}元。<#elseif vip_level > 0>会员价${price}元。<#else>首单立减,新客价${price}元。</#if><#list cart![] as item>${item.name}仅剩${item.stock}件<#sep>;</#list>
"""


def test_apns_message_over_http_reaches_the_provider(engine, sink):
    e = engine(sink)
    id = e.send(channel="apns-sink", to=TOKEN, content={"title": "Order", "body": "Arrives Friday"}, campaign="c1")
    m = e.wait_state(id, "sent")
    assert [a["outcome"] for a in m["attempts"]] == ["ok"]
    r = sink.requests()[-1]
    assert r.path == f"/3/device/{TOKEN}"
    assert r.json["aps"]["alert"] == {"title": "Order", "body": "Arrives Friday"}
    assert sink.ledger()["accepted"] == 1
    b = e.assert_balanced("c1")
    assert (b["accepted"], b["sent"], b["pending"]) == (1, 1, 0)


def test_every_channel_takes_messages_from_the_stream(engine, sink, redis):
    e = engine(sink, redis)
    to = {"apns-sink": TOKEN, "fcm-sink": "fcm-token-1", "wecom-sink": "zhangsan", "hook-sink": "customer-1"}
    for channel, addr in to.items():
        xadd(redis.client, {"channel": channel, "to": addr, "content": {"title": "T", "body": f"to {channel}"}, "campaign": channel})
    for channel in to:
        r = e.wait_final(1, channel)
        assert r["sent"] == 1, (channel, r, e.log()[-3000:])
    assert sink.ledger()["accepted"] == 4


def test_chunk_of_a_thousand_is_a_thousand_messages(engine, sink, redis):
    e = engine(sink, redis)
    rs = [{"addr": f"{i:064x}", "user": f"u{i}", "data": {"name": f"N{i}"}} for i in range(1000)]
    xadd(redis.client, {"channel": "apns-sink", "rs": rs, "render": True, "campaign": "chunk",
                        "content": {"title": "Hi", "body": "Dear ${name}, {shared}"}, "data": {"shared": "for all"}}, lane="bulk")
    r = e.wait_final(1000, "chunk")
    assert r["sent"] == 1000
    led = sink.ledger()
    assert (led["unique"], led["duplicates"]) == (1000, 0)
    body = sink.requests()[-1].json
    assert body["aps"]["alert"]["body"].endswith("for all")
    wait_for(lambda: redis.client.xlen("{hm:0}:q:bulk") == 0, what="the entry is acknowledged and deleted")


def test_article_example_in_chinese(engine, sink):
    e = engine(sink, templates={"price-drop": ARTICLE})
    cases = [({"name": "李雷", "product": "降噪耳机", "vip_level": 5, "vip_price": "799", "price": "899"},
              "尊敬的李雷,您关注的降噪耳机已降价!尊享VIP专属价799元。"),
             ({"name": "韩梅梅", "product": "台灯", "vip_level": 0, "price": "59",
               "cart": [{"name": "台灯", "stock": 3}, {"name": "书桌", "stock": 1}]},
              "尊敬的韩梅梅,您关注的台灯已降价!首单立减,新客价59元。台灯仅剩3件;书桌仅剩1件")]
    for data, expected in cases:
        id = e.send(channel="apns-sink", to=TOKEN, template="price-drop", data=data)
        e.wait_state(id, "sent")
        assert sink.requests()[-1].json["aps"]["alert"]["body"] == expected


def test_missing_field_fails_that_message_and_sends_no_hole(engine, sink, redis):
    e = engine(sink, redis, templates={"t": "body: 'Hello ${name}'\n"})
    xadd(redis.client, {"channel": "apns-sink", "template": "t", "campaign": "holes",
                        "rs": [{"addr": TOKEN, "data": {"name": "A"}}, {"addr": "2" * 64}]})
    r = e.wait_final(2, "holes")
    assert (r["sent"], r["failed"]) == (1, 1)
    assert sink.ledger()["requests"] == 1


def test_wecom_partial_answer_fails_only_the_bad_ids(engine, sink, redis):
    e = engine(sink, redis)
    xadd(redis.client, {"channel": "wecom-sink", "rs": ["lisi", "badone", "wangwu"], "campaign": "partial",
                        "content": {"body": "工单 8841 已关闭"}})
    r = e.wait_final(3, "partial")
    assert (r["sent"], r["failed"]) == (2, 1)
    sends = [x for x in sink.requests() if x.path.startswith("/cgi-bin/message/send")]
    assert len(sends) == 1, "three recipients of one content share one call"


def test_wrong_channel_and_missing_address_fail_with_a_reason(engine, sink, redis):
    e = engine(sink, redis)
    xadd(redis.client, {"channel": "nope", "to": TOKEN, "content": {"body": "x"}, "campaign": "wrong"})
    xadd(redis.client, {"channel": "apns-sink", "to": {"addr": {"sms": "+8613800000000"}}, "content": {"body": "x"}, "campaign": "wrong"})
    r = e.wait_final(2, "wrong")
    assert r["failed"] == 2 and sink.ledger()["requests"] == 0


def test_malformed_entries_go_to_the_dead_letters_and_block_nothing(engine, sink, redis):
    e = engine(sink, redis)
    key = "{hm:3}:q:normal"
    redis.client.xadd(key, {"j": b"\xc1 not msgpack"})
    redis.client.xadd(key, {"wrong": "field"})
    xadd(redis.client, {"channel": "apns-sink", "to": TOKEN, "content": {"body": "x"}, "tpyo": 1}, partition=3)
    xadd(redis.client, {"channel": "apns-sink", "to": TOKEN, "content": {"body": "good"}, "campaign": "good"}, partition=3)
    assert e.wait_final(1, "good")["sent"] == 1
    wait_for(lambda: redis.client.xlen("{hm:3}:dead") == 3, what="three dead letters")
    reasons = [x[1][b"reason"].decode() for x in redis.client.xrange("{hm:3}:dead")]
    assert any("tpyo" in r for r in reasons), reasons
    wait_for(lambda: redis.client.xlen(key) == 0, what="the stream is empty")


def test_expired_message_is_never_sent(engine, sink, redis):
    e = engine(sink, redis)
    past = int(time.time() * 1000) - 1000
    xadd(redis.client, {"channel": "apns-sink", "to": TOKEN, "content": {"body": "x"}, "expires": past, "campaign": "late"})
    r = e.wait_final(1, "late")
    assert r["expired"] == 1 and sink.ledger()["requests"] == 0


def test_message_for_later_waits_for_its_time(engine, sink, redis):
    e = engine(sink, redis)
    at = int(time.time() * 1000) + 3600_000
    xadd(redis.client, {"channel": "apns-sink", "to": TOKEN, "content": {"body": "x"}, "at": at, "campaign": "later"}, partition=5)
    wait_for(lambda: redis.client.zcard("{hm:5}:delayed") == 1, what="the message is put aside")
    assert sink.ledger()["requests"] == 0
    wait_for(lambda: e.report("later")["pending"] == 1, what="it is in the books from the start")
    e.advance(3601_000)
    r = e.wait_final(1, "later")
    assert (r["accepted"], r["sent"], r["pending"]) == (1, 1, 0)
    assert redis.client.zcard("{hm:5}:delayed") == 0 and redis.client.hlen("{hm:5}:delayed:j") == 0


def test_unavailable_then_ok_is_retried(engine, sink):
    e = engine(sink)
    sink.script({"profile": "apns"}, [{"status": 503, "body": '{"reason":"ServiceUnavailable"}', "repeat": 2}])
    id = e.send(channel="apns-sink", to=TOKEN, content={"body": "x"})
    e.wait_state(id, "held")
    e.advance(60_000)
    wait_for(lambda: len(sink.requests()) >= 2, what="a second attempt")
    e.wait_state(id, "held", "sent")
    e.advance(120_000)
    m = e.wait_state(id, "sent")
    assert [a["outcome"] for a in m["attempts"]] == ["provider_down", "provider_down", "ok"]


def test_route_moves_to_the_next_channel(engine, sink, keys):
    e = engine(sink, routes={"both": [{"channel": "apns-sink"}, {"channel": "fcm-sink"}]})
    sink.script({"profile": "apns"}, [{"status": 400, "body": '{"reason":"BadTopic"}', "repeat": 1}])
    id = e.send(route="both", to={"addr": {"apns-sink": TOKEN, "fcm-sink": "tok"}}, content={"body": "x"})
    m = e.wait_state(id, "sent")
    assert [(a["channel"], a["outcome"]) for a in m["attempts"]] == [("apns-sink", "bad_request"), ("fcm-sink", "ok")]


def test_expired_credential_is_refreshed_once(engine, sink):
    e = engine(sink)
    e.wait_state(e.send(channel="wecom-sink", to="a", content={"body": "x"}), "sent")
    sink.script({"profile": "wecom", "path": "/cgi-bin/message/send"}, [{"status": 200, "body": '{"errcode":42001,"errmsg":"expired"}', "repeat": 1}])
    m = e.wait_state(e.send(channel="wecom-sink", to="b", content={"body": "y"}), "sent")
    assert [a["outcome"] for a in m["attempts"]] == ["auth", "ok"]
    assert sum(r.path.startswith("/cgi-bin/gettoken") for r in sink.requests()) == 2


def test_cancel_before_it_leaves(engine, sink):
    e = engine(sink)
    id = e.send(channel="apns-sink", to=TOKEN, content={"body": "x"}, at=int(time.time() * 1000) + 3600_000)
    assert e.post(f"/v1/messages/{id}/cancel").status in (200, 202)
    e.advance(3601_000)
    assert e.wait_state(id, "cancelled")
    assert sink.ledger()["requests"] == 0
