"""Calls with many recipients: an id for each, and a call that is refused because of one of them."""
import shutil

import pytest
from conftest import ROOT, wait_for, xadd

MANY = """
adapter: {name: sms/many, title: A provider that takes a hundred numbers}
endpoint: {url: "https://many.example"}
address: {max: 20, what: a number}
request:
  path: '/${count == 1 ? "one" : "all"}/${to}'
  json:
    messages: {$each: targets, $value: {to: "${it.to}", ref: "${it.id}", text: "${body}"}}
batch: {max: 100}
answer: {success: status == 200, code: answer.code, provider_id: answer.task}
outcomes:
  - {code: mixed, outcome: invalid_recipient, split: yes}
  - {code: gone, outcome: invalid_recipient}
  - {status: 5xx, outcome: provider_down}
partial:
  - {from: answer.bad, shape: list, outcome: invalid_recipient, reason: refused}
  - {from: answer.ids, shape: rest, provider_id: it}
"""


@pytest.fixture
def start(engine, sink, redis, tmp_path):
    folder = tmp_path / "adapters"
    shutil.copytree(ROOT / "adapters", folder)
    (folder / "sms" / "many.yaml").write_text(MANY)
    endpoint = {"url": sink.tls_url, "ca_file": sink.ca}

    def make(**more):
        return engine(sink, redis, channels={"many": {"adapter": "sms/many", "endpoint": endpoint}},
                      settings={"adapters": {"dir": str(folder)}}, **more)
    return make


def calls(sink):
    return [[m["to"] for m in r.json["messages"]] for r in sink.requests() if r.path.startswith(("/all/", "/one/"))]


def refs(sink):
    return {m["to"]: m["ref"] for r in sink.requests() if r.path.startswith(("/all/", "/one/")) for m in r.json["messages"]}


def test_each_message_keeps_its_own_id(start, sink, redis):
    e = start()
    sink.script({"path": "/all/"}, [{"status": 200, "json": {"task": "T", "bad": ["b"], "ids": ["pa", "pc"]}}])
    xadd(redis.client, {"channel": "many", "rs": ["a", "b", "c", "d"], "content": {"body": "x"}, "campaign": "ids"})
    assert e.wait_final(4, "ids")["sent"] == 3
    assert calls(sink) == [["a", "b", "c", "d"]]
    told = {to: e.message(ref)["attempts"][0] for to, ref in refs(sink).items()}
    assert {to: a.get("provider_id") for to, a in told.items()} == {"a": "pa", "b": "T", "c": "pc", "d": "T"}
    assert {to: a["outcome"] for to, a in told.items()} == {"a": "ok", "b": "invalid_recipient", "c": "ok", "d": "ok"}


def test_refused_because_of_one(start, sink, redis):
    e = start()
    refused = {"status": 400, "json": {"code": "mixed"}}
    sink.script({"path": "/all/"}, [refused])
    sink.script({"path": "/one/b"}, [{"status": 400, "json": {"code": "gone"}}])
    xadd(redis.client, {"channel": "many", "rs": ["a", "b", "c"], "content": {"body": "x"}, "campaign": "split"})
    e.wait_final(3, "split")
    assert calls(sink)[0] == ["a", "b", "c"]
    assert sorted(calls(sink)[1:]) == [["a"], ["b"], ["c"]]
    told = {to: e.message(ref) for to, ref in refs(sink).items()}
    assert {to: m["state"] for to, m in told.items()} == {"a": "sent", "b": "failed", "c": "sent"}
    # The call that told nothing of anyone is no attempt of anyone.
    assert {to: [a["outcome"] for a in m["attempts"]] for to, m in told.items()} == \
        {"a": ["ok"], "b": ["invalid_recipient"], "c": ["ok"]}
    assert e.metric("hermod_calls_split_total") == 1 and e.metric("hermod_attempts_total") == 3
    e.assert_balanced("split")


def test_killed_when_it_was_refused(start, sink, redis):
    """What goes alone after the crash goes once: the refused call has sent nobody anything."""
    e = start(env={"HERMOD_FAULTS": "call_split:kill"})
    sink.script({"path": "/all/"}, [{"status": 400, "json": {"code": "mixed"}}])
    xadd(redis.client, {"channel": "many", "rs": ["a", "b", "c"], "content": {"body": "x"}, "campaign": "killed"})
    wait_for(lambda: not e.alive(), what="the kill")
    e.env.pop("HERMOD_FAULTS")
    e.start()
    e.wait_final(3, "killed")
    e.assert_balanced("killed")
    sent = sum(calls(sink)[1:], [])
    assert len(sent) == len(set(sent)), "nobody twice"
