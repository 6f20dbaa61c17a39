"""Previews: one template on every medium at once, with the lengths that the providers count.

The template is the one this software began with: a base text, branches on the customer's level, the cart, and an offer for
new customers. For each channel stands here where its text is in the request and in which unit its provider counts; the
length is counted here again, from the request.
"""
import json
import math
import re

import pytest

from stage import Stage, problem
from test_g10_adapters import channel, channels

ARTICLE = """\
format: markdown
description: 降价提醒
fields:
  name: {type: string, required: true, example: 林小满, description: 称呼}
  product: {type: string, required: true, example: 头戴式降噪耳机}
  link: {type: string, required: true, example: "https://shop.example.com/p/42"}
  vip_level: {type: number, default: 0}
  cart: {type: list, default: []}
title: ${product}降价了
body: >-
  尊敬的**${name}**,您关注的[${product}](${link})已降价!<#if vip_level > 3>专属折上折已生效,点击查看<#elseif
  cart?has_content>购物车里的<#list cart as x>${x.title}仅剩${x.stock}件<#sep>、</#list>,立即结算<#else>新人首单立减50元</#if>
url: ${link}
"""
VIP = {"name": "林小满", "product": "头戴式降噪耳机", "link": "https://shop.example.com/p/42", "vip_level": 5}
CART = VIP | {"vip_level": 1, "cart": [{"title": "茶杯", "stock": 3}, {"title": "台灯", "stock": 1}]}
NEW = VIP | {"vip_level": 0}
ENDINGS = [(VIP, "专属折上折已生效,点击查看"), (CART, "购物车里的茶杯仅剩3件、台灯仅剩1件,立即结算"), (NEW, "新人首单立减50元")]
LINK = "https://shop.example.com/p/42"

BYTES, CHARS, UTF16 = "bytes", "characters", "UTF-16 units"


def units(text, unit):
    return {BYTES: len(text.encode()), CHARS: len(text), UTF16: len(text.encode("utf-16-le")) // 2}[unit]


def segments(text):
    n = units(text, UTF16)
    return 1 if n <= 70 else math.ceil(n / 67)


# The text in the payload, and the words in the dialect: {end} is the branch.
MEDIA = {
    "push/apns": (lambda p: p["aps"]["alert"]["body"], "尊敬的林小满,您关注的头戴式降噪耳机"),
    "push/fcm": (lambda p: p["message"]["notification"]["body"], "尊敬的林小满,您关注的头戴式降噪耳机"),
    "sms/twilio": (None, "尊敬的林小满,您关注的头戴式降噪耳机"),
    "email/sendgrid": (lambda p: p["content"][-1]["value"], f'尊敬的<strong>林小满</strong>,您关注的<a href="{LINK}">头戴式降噪耳机</a>已降价!'),
    "chat/wecom-robot": (lambda p: p["markdown"]["content"], f"尊敬的**林小满**,您关注的[头戴式降噪耳机]({LINK})已降价!"),
    "chat/dingtalk-robot": (lambda p: p[p["msgtype"]]["text"], f"尊敬的**林小满**,您关注的[头戴式降噪耳机]({LINK})已降价!"),
    "chat/feishu-robot": (lambda p: json.dumps(p, ensure_ascii=False), f"尊敬的**林小满**,您关注的[头戴式降噪耳机]({LINK})已降价!"),
    "chat/slack": (lambda p: json.dumps(p, ensure_ascii=False), f"尊敬的*林小满*,您关注的<{LINK}|头戴式降噪耳机>已降价!"),
    "chat/telegram": (lambda p: p["text"], f'尊敬的<b>林小满</b>,您关注的<a href="{LINK}">头戴式降噪耳机</a>已降价!'),
    "chat/discord": (lambda p: json.dumps(p, ensure_ascii=False), f"尊敬的**林小满**,您关注的[头戴式降噪耳机]({LINK})已降价!"),
    "chat/teams": (lambda p: json.dumps(p, ensure_ascii=False), f"尊敬的**林小满**,您关注的[头戴式降噪耳机]({LINK})已降价!"),
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory, keys):
    with Stage(tmp_path_factory.mktemp("preview"), keys, channels=channels, templates={"price-drop": ARTICLE},
               routes={"all": {"steps": [{"channel": channel("push/apns")}, {"channel": channel("sms/twilio")}]}}) as s:
        yield s


def preview(stage, name="price-drop", **body):
    a = stage.engine.post(f"/v1/templates/{name}/preview", body)
    assert a.status == 200, a.body
    return a.json


def rows(p):
    return {r["channel"]: r for r in p["channels"]}


@pytest.mark.parametrize("data,ending", ENDINGS, ids=["vip", "cart", "new"])
def test_the_price_drop_on_every_medium(stage, data, ending):
    names = [channel(m) for m in MEDIA]
    shown = rows(preview(stage, data=data, channels=names))
    assert sorted(shown) == sorted(names) and len(MEDIA) >= 8
    for medium, (text, words) in MEDIA.items():
        r = shown[channel(medium)]
        assert r["ok"], r
        assert r["adapter"] == medium and r["content"]["title"] == "头戴式降噪耳机降价了"
        [payload] = r["payloads"]
        if text is not None:
            # A zero-width space makes the boundary that some dialects want between a word and the sign of bold.
            said = text(payload["json"]).replace("\u200b", "")
            assert words in said and ending in said, (medium, said)
            assert payload["bytes"] == len(json.dumps(payload["json"], ensure_ascii=False, separators=(",", ":")).encode())
        for f in r["lengths"]:
            if f["field"] == "body" and f["action"] == "whole":
                assert f["sent"] == f["length"] and ("limit" not in f or f["sent"] <= f["limit"])


def test_lengths_are_those_of_the_request(stage):
    shown = rows(preview(stage, data=CART))
    counted = 0
    for medium in ("push/apns", "push/fcm", "chat/telegram", "chat/wecom-robot"):
        r = shown[channel(medium)]
        said = MEDIA[medium][0](r["payloads"][0]["json"])
        for f in r["lengths"]:
            if f["field"] == "body":
                body = said[said.index("尊敬的"):]
                assert f["sent"] in (units(said, f["unit"]), units(body, f["unit"])), (medium, f, said)
                counted += 1
    assert counted >= 2
    sms = shown[channel("sms/twilio")]
    text = "尊敬的林小满"
    assert sms["sms"]["encoding"] == "UCS-2" and sms["sms"]["because"] == "尊"
    body = re.search(r"(?:^|&)Body=([^&]*)", sms["payloads"][0]["text"]).group(1)
    from urllib.parse import unquote_plus
    body = unquote_plus(body)
    assert body.startswith(text)
    assert sms["sms"]["units"] == units(body, UTF16) and sms["sms"]["segments"] == segments(body)
    assert sms["sms"]["room"] == (70 if sms["sms"]["segments"] == 1 else 67 * sms["sms"]["segments"]) - sms["sms"]["units"]


def test_the_examples_stand_in_for_data(stage):
    p = preview(stage, channels=[channel("push/apns")])
    assert p["data"]["name"] == "林小满" and p["channels"][0]["ok"]
    assert p["version"] == 0


def test_every_channel_that_is_configured(stage):
    p = preview(stage, data=VIP)
    assert len(p["channels"]) >= 30
    broken = [(r["channel"], r["error"]) for r in p["channels"] if not r["ok"]]
    assert broken == []


def test_hostile_data_stays_text(stage):
    evil = VIP | {"name": "**A** <b>x</b> @everyone <!channel> [a](javascript:alert(1))"}
    shown = rows(preview(stage, data=evil))
    assert shown[channel("chat/slack")]["ok"]
    assert "<!channel>" not in json.dumps(shown[channel("chat/slack")]["payloads"])
    assert "<b>x</b>" not in shown[channel("chat/telegram")]["payloads"][0]["json"]["text"]
    assert "<b>x</b>" not in shown[channel("email/sendgrid")]["payloads"][0]["json"]["content"][-1]["value"]
    assert "javascript:alert" in shown[channel("push/apns")]["payloads"][0]["json"]["aps"]["alert"]["body"]


def test_what_is_cut_is_said(stage):
    doc = {"title": "T", "body": "long words " * 2000 + "${name}", "fields": {"name": {"type": "string", "required": True}}}
    shown = rows(preview(stage, document=doc, data={"name": "x"}))
    cut = {n: r for n, r in shown.items() if r["ok"] and any(f["field"] == "body" and f["action"] == "cut" for f in r["lengths"])}
    assert cut
    for r in cut.values():
        f = next(f for f in r["lengths"] if f["field"] == "body")
        assert f["sent"] < f["length"] and ("limit" not in f or f["sent"] <= f["limit"] < f["length"])
        assert any(re.search(r"body: cut at \d+ of \d+", w) for w in r["warnings"]), r["warnings"]
    split = {n: r for n, r in shown.items() if r["ok"] and any(f["action"] == "split" for f in r["lengths"])}
    for r in split.values():
        assert len(r["payloads"]) == next(f["parts"] for f in r["lengths"] if f["action"] == "split") > 1
    refused = [r for r in shown.values() if not r["ok"]]
    assert all(re.search(r"at most|too long|limit", r["error"]) for r in refused), [r["error"] for r in refused]


def test_an_emoji_costs_segments(stage):
    doc = {"body": "Your order has left our house and will be with you on Friday between nine and noon. Thank you! ${x}", "fields": {"x": {"type": "string", "required": True}}}
    plain = rows(preview(stage, document=doc, data={"x": "ok"}, channels=[channel("sms/twilio")]))[channel("sms/twilio")]
    emoji = rows(preview(stage, document=doc, data={"x": "\N{GRINNING FACE}"}, channels=[channel("sms/twilio")]))[channel("sms/twilio")]
    assert plain["sms"]["encoding"] == "GSM-7" and plain["sms"]["segments"] == 1
    assert emoji["sms"]["encoding"] == "UCS-2" and emoji["sms"]["segments"] == 2 and emoji["sms"]["because"] == "\N{GRINNING FACE}"
    assert any("UCS-2" in w and "2 segments instead of 1" in w for w in emoji["warnings"]), emoji["warnings"]


def test_route_media_and_names_choose(stage):
    assert sorted(rows(preview(stage, data=VIP, route="all"))) == sorted([channel("push/apns"), channel("sms/twilio")])
    assert {r["medium"] for r in preview(stage, data=VIP, media=["sms"])["channels"]} == {"sms"}


@pytest.mark.parametrize("body,status,slug,field,text", [
    ({"channels": ["nobody"]}, 422, "invalid-message", "channels", 'no channel "nobody"'),
    ({"route": "nowhere"}, 422, "invalid-message", "route", 'no route "nowhere"'),
    ({"media": ["smoke"]}, 422, "invalid-message", "media", "must name media"),
    ({"data": []}, 422, "invalid-message", "data", "must be an object"),
    ({"versoin": 1}, 422, "invalid-message", "versoin", "did you mean version?"),
    ({"version": 3}, 404, "not-found", "version", "version"),
    ({"version": "draft"}, 404, "not-found", None, "price-drop"),
    ({"document": {"body": "${x"}}, 422, None, None, None),
])
def test_what_is_wrong_is_said(stage, body, status, slug, field, text):
    a = stage.engine.post("/v1/templates/price-drop/preview", body)
    if slug is None:
        assert a.status == status, a.body
        return
    problem(a, status, slug, field, text)


def test_data_that_does_not_fit_the_fields(stage):
    r = preview(stage, data={"product": "p", "link": "https://x.example"}, channels=[channel("push/apns")])["channels"][0]
    assert not r["ok"] and "name" in r["error"], r


def test_a_draft_is_seen_before_it_is_published(stage):
    e = stage.engine
    assert e.post("/v1/templates", {"name": "order/shipped", "document": {"title": "Sent", "body": "first"}}).status == 201
    assert preview(stage, "order%2Fshipped", channels=[channel("push/apns")])["channels"][0]["content"]["body"] == "first"
    assert e.post("/v1/templates/order%2Fshipped/publish", {}).status == 200
    p = preview(stage, "order%2Fshipped", channels=[channel("push/apns")])
    assert p["version"] == 1 and p["channels"][0]["payloads"][0]["json"]["aps"]["alert"] == {"title": "Sent", "body": "first"}
    assert stage.engine.post("/v1/templates/nobody/preview", {}).status == 404
