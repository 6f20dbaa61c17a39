"""A text its channel splits: one attempt per part, in order, each part once."""
import shutil

import pytest
from conftest import ROOT, wait_for, xadd

SINGLE = """
adapter: {name: chat/parts, title: A chat that takes 40 characters}
endpoint: {url: "https://parts.example", idempotent: true}
address: {max: 100, what: a name}
request:
  method: POST
  path: /parts/one
  json: {to: "${to}", text: "${body}", part: "${part}", parts: "${parts}", id: "${id}", message: "${message_id}"}
limits:
  fields: [{field: body, max: 40, unit: chars, over: split, numbered: true}]
answer: {format: none, success: status == 200}
outcomes: [{status: 5xx, outcome: provider_down}, {status: 4xx, outcome: bad_request}]
"""
BATCH = SINGLE.replace("chat/parts", "chat/parts-batch").replace("/parts/one", "/parts/many").replace('to: "${to}"', "to: '${recipients | join(\",\")}'") \
    .replace("id: \"${id}\", message: \"${message_id}\"", 'n: 1') + "batch: {max: 100}\n"
LONG = "The first sentence is of some length. The second one is as long as that. And the third ends it."


@pytest.fixture
def start(engine, sink, redis, tmp_path):
    folder = tmp_path / "adapters"
    shutil.copytree(ROOT / "adapters", folder)
    (folder / "chat" / "parts.yaml").write_text(SINGLE)
    (folder / "chat" / "parts-batch.yaml").write_text(BATCH)
    endpoint = {"url": sink.tls_url, "ca_file": sink.ca}
    channels = {"one": {"adapter": "chat/parts", "endpoint": endpoint, "max_attempts": 3},
                "many": {"adapter": "chat/parts-batch", "endpoint": endpoint},
                "other": {"adapter": "chat/parts", "endpoint": endpoint}}

    def make(**more):
        return engine(sink, redis, channels=channels, settings={"adapters": {"dir": str(folder)}}, **more)
    return make


def bodies(sink, path="/parts/one"):
    return [r.json for r in sink.requests() if r.path == path]


def test_parts_go_out_in_order_and_end_as_one_message(start, sink):
    e = start()
    id = e.send(channel="one", to="a", content={"body": LONG}, campaign="split")
    m = e.wait_state(id, "sent")
    sent = bodies(sink)
    assert [b["part"] for b in sent] == [1, 2, 3] and {b["parts"] for b in sent} == {3}
    assert "".join(b["text"] for b in sent).replace("(1/3) ", "").replace("(2/3) ", " ").replace("(3/3) ", " ") == LONG
    assert len({b["id"] for b in sent}) == 3 and {b["message"] for b in sent} == {id}
    assert [(a["outcome"], a.get("reason") or "") for a in m["attempts"]] == [("ok", "")] * 3
    b = e.assert_balanced("split")
    assert (b["accepted"], b["sent"], b["pending"]) == (1, 1, 0)
    e.wait_state(e.send(channel="one", to="a", content={"body": "short"}), "sent")
    assert bodies(sink)[-1]["parts"] == 1


def test_a_retry_repeats_only_the_part_that_failed(start, sink):
    e = start()
    sink.script({"path": "/parts/one"}, [{"status": 200}, {"status": 503, "repeat": 2}])
    id = e.send(channel="one", to="a", content={"body": LONG})
    m = e.wait_state(id, "held")
    assert [a["outcome"] for a in m["attempts"]] == ["ok", "provider_down"]
    for n in (3, 5):
        e.advance(120_000)
        wait_for(lambda: len(bodies(sink)) >= n, what="the next try")
    m = e.wait_state(id, "sent")
    assert [b["part"] for b in bodies(sink)] == [1, 2, 2, 2, 3]
    assert [a["outcome"] for a in m["attempts"]] == ["ok", "provider_down", "provider_down", "ok", "ok"]


def test_what_was_recorded_before_a_crash_is_not_sent_again(start, sink):
    e = start()
    sink.script({"path": "/parts/one"}, [{"status": 200}, {"status": 503}])
    id = e.send(channel="one", to="a", content={"body": LONG}, campaign="crash")
    e.wait_state(id, "held")
    e.kill9()
    e.start()
    m = e.wait_state(id, "sent", seconds=40)
    assert [b["part"] for b in bodies(sink)] == [1, 2, 2, 3]
    assert [a["outcome"] for a in m["attempts"]][:2] == ["ok", "provider_down"]
    assert [a["outcome"] for a in m["attempts"]][-2:] == ["ok", "ok"]
    assert e.assert_balanced("crash")["sent"] == 1


def test_another_channel_begins_at_the_beginning(start, sink):
    e = start(routes={"both": [{"channel": "one"}, {"channel": "other"}]})
    sink.script({"path": "/parts/one"}, [{"status": 200}, {"status": 400}])
    m = e.wait_state(e.send(route="both", to="a", content={"body": LONG}), "sent")
    assert [b["part"] for b in bodies(sink)] == [1, 2, 1, 2, 3]
    assert [(a["channel"], a["outcome"]) for a in m["attempts"]] == [("one", "ok"), ("one", "bad_request")] + [("other", "ok")] * 3


def test_parts_are_never_batched(start, sink, redis):
    e = start()
    rs = [f"r{i}" for i in range(50)]
    xadd(redis.client, {"channel": "many", "rs": rs, "content": {"body": "short"}, "campaign": "short"})
    assert e.wait_final(50, "short")["sent"] == 50
    short = [b["to"] for b in bodies(sink, "/parts/many")]
    assert ",".join(short) == ",".join(rs) and len(short) <= 5, "few calls for what fits"
    xadd(redis.client, {"channel": "many", "rs": rs, "content": {"body": LONG}, "campaign": "long"})
    assert e.wait_final(50, "long")["sent"] == 50
    sent = bodies(sink, "/parts/many")[len(short):]
    assert len(sent) == 150
    for r in rs:
        assert [b["part"] for b in sent if b["to"] == r] == [1, 2, 3]
    e.assert_balanced("long")
