"""Two-step sends: a text saved at the provider once, sent by its id."""
import shutil

import pytest
from conftest import ROOT, wait_for, xadd

SAVED = """
adapter: {name: push/saved, title: A provider that wants the text first}
endpoint: {url: "https://saved.example"}
address: {max: 20, what: a device}
prepare:
  when: options.saved != "no"
  key: ${title}/${body | sha256 | hex}
  request: {path: /save, json: {title: "${title}", text: "${body}"}}
  answer: {success: status == 200 && answer.id, code: answer.code}
  outcomes:
    - {code: bad, outcome: bad_request}
    - {status: 503, outcome: provider_down}
  value: answer.id
  keep: 10m
request: {path: /push, json: {task: "${prepared}", to: "${recipients}"}}
batch: {max: 10}
answer: {success: status == 200, code: answer.code}
outcomes:
  - {code: gone, outcome: retry, prepare_again: yes}
"""


@pytest.fixture
def start(engine, sink, redis, tmp_path):
    folder = tmp_path / "adapters"
    shutil.copytree(ROOT / "adapters", folder)
    (folder / "push" / "saved.yaml").write_text(SAVED)

    def make(**more):
        return engine(sink, redis, channels={"saved": {"adapter": "push/saved", "max_attempts": 3,
                                                       "endpoint": {"url": sink.tls_url, "ca_file": sink.ca}}},
                      settings={"adapters": {"dir": str(folder)}, "node": {"shards": 1}}, **more)
    return make


def asked(sink, path):
    return [r.json for r in sink.requests() if r.path == path]


def saved(*ids):
    return [{"status": 200, "json": {"id": i}} for i in ids]


def test_asked_once_for_all_who_share_it(start, sink, redis):
    e = start()
    sink.script({"path": "/save"}, [dict(saved("T1")[0], delay_ms=500), *saved("T2", "T3")])
    sink.script({"path": "/push"}, [{"status": 200, "repeat": 1000}])
    for n in range(10):  # while the first one is being asked for
        xadd(redis.client, {"channel": "saved", "rs": [f"d{n}-{i}" for i in range(10)], "content": {"title": "t", "body": "one"}, "campaign": "c"})
    assert e.wait_final(100, "c")["sent"] == 100
    assert asked(sink, "/save") == [{"title": "t", "text": "one"}]
    assert {b["task"] for b in asked(sink, "/push")} == {"T1"}
    assert sorted(d for b in asked(sink, "/push") for d in b["to"]) == sorted(f"d{n}-{i}" for n in range(10) for i in range(10))
    # Another text is another thing; the same one is remembered, until its time is over; and one that needs none asks for none.
    for body, task in (("two", "T2"), ("one", "T1"), ("two", "T2")):
        e.wait_state(e.send(channel="saved", to="x", content={"title": "t", "body": body}), "sent")
        assert asked(sink, "/push")[-1]["task"] == task
    e.wait_state(e.send(channel="saved", to="x", content={"title": "t", "body": "two", "options": {"saved": "no"}}), "sent")
    assert "task" not in asked(sink, "/push")[-1]
    assert len(asked(sink, "/save")) == 2
    e.advance(601_000)
    e.wait_state(e.send(channel="saved", to="x", content={"title": "t", "body": "one"}), "sent")
    assert asked(sink, "/push")[-1]["task"] == "T3" and len(asked(sink, "/save")) == 3
    e.assert_balanced("c")


def test_a_no_is_everybodys(start, sink, redis):
    e = start()
    sink.script({"path": "/save"}, [{"status": 400, "json": {"code": "bad"}, "delay_ms": 500}])
    for n in range(5):
        xadd(redis.client, {"channel": "saved", "rs": [f"d{n}"], "content": {"title": "t", "body": "x"}, "campaign": "no"})
    assert e.wait_final(5, "no")["failed"] == 5
    assert asked(sink, "/push") == [] and len(asked(sink, "/save")) == 1
    e.assert_balanced("no")


def test_it_fails_and_comes_back(start, sink):
    """What could not be prepared is an attempt that failed; what the provider has forgotten is prepared anew."""
    e = start()
    sink.script({"path": "/save"}, [{"status": 503}, *saved("T1", "T2")])
    sink.script({"path": "/push"}, [{"status": 400, "json": {"code": "gone"}}, {"status": 200, "repeat": 10}])
    id = e.send(channel="saved", to="x", content={"title": "t", "body": "x"})
    m = e.wait_state(id, "held")
    assert [a["outcome"] for a in m["attempts"]] == ["provider_down"] and asked(sink, "/push") == []
    e.advance(120_000)
    wait_for(lambda: len(asked(sink, "/push")) == 1, what="the first push")
    e.wait_state(id, "held")
    e.advance(120_000)
    m = e.wait_state(id, "sent")
    assert [a["outcome"] for a in m["attempts"]] == ["provider_down", "retry", "ok"]
    assert [b["task"] for b in asked(sink, "/push")] == ["T1", "T2"] and len(asked(sink, "/save")) == 3
    e.assert_balanced()


def test_killed_while_it_was_asked_for(start, sink):
    e = start()
    sink.script({"path": "/save"}, [{"status": 200, "json": {"id": "T1"}, "delay_ms": 60_000}, *saved("T2")])
    sink.script({"path": "/push"}, [{"status": 200, "repeat": 10}])
    id = e.send(channel="saved", to="x", content={"title": "t", "body": "x"}, campaign="kill")
    wait_for(lambda: asked(sink, "/save"), what="it is asked for")
    e.kill9()
    e.start()
    m = e.wait_state(id, "sent", seconds=40)
    assert [a["outcome"] for a in m["attempts"]] == ["ok"], "nobody was sent anything: nothing is unknown"
    assert [b["task"] for b in asked(sink, "/push")] == ["T2"]
    e.assert_balanced("kill")


def test_shown_before_the_send(hermod, tmp_path):
    (tmp_path / "saved.yaml").write_text(SAVED)
    (tmp_path / "c.yaml").write_text("adapter: push/saved\n")
    (tmp_path / "m.yaml").write_text("to: x\ntitle: t\nbody: b\n")
    r = hermod("adapters", "dry-run", tmp_path / "saved.yaml", "--channel", tmp_path / "c.yaml", "--message", tmp_path / "m.yaml")
    assert r.returncode == 0, r.stderr
    assert r.stdout.index("POST https://saved.example/save") < r.stdout.index("POST https://saved.example/push")
    assert '"task":"<prepared>"' in r.stdout and "kept for 600 s" in r.stdout
