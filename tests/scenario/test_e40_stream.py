"""Producers that write queue entries themselves, and write them wrong."""
import struct

import msgpack
import pytest
from conftest import wait_for, xadd
from stage import Stage

GOOD = {"channel": "apns-sink", "to": "1" * 64, "content": {"body": "x"}}
EXT = msgpack.ExtType


def packed(o):
    return {"j": msgpack.packb(o)}


def but(**change):
    return packed({k: v for k, v in {**GOOD, **change}.items() if v is not None})


# what is written, a word the reason must have
WRONG = [
    ({"j": b""}, ""),
    ({"j": b"\xc1"}, "msgpack"),
    ({"j": b"not msgpack"}, ""),
    ({"j": b'{"to": "x"}'}, ""),
    ({"j": msgpack.packb(GOOD)[:-1]}, "msgpack"),
    ({"j": msgpack.packb(GOOD) + b"\x00"}, ""),
    ({"x": b"1"}, "j"),
    (packed([]), "map"),
    (packed(None), "map"),
    (packed(7), "map"),
    (packed({}), "to"),
    (packed({1: 2}), "text"),
    ({"j": b"\x91" * 200 + b"\xc0"}, "nested"),
    ({"j": b"\xdd\xff\xff\xff\xff"}, ""),
    ({"j": b"\x81\xa2to\xdb\x7f\xff\xff\xff"}, ""),
    ({"j": b"\x82\xa2to\xa1x\xa2to\xa1y"}, "twice"),
    (but(to="\ud800".encode("utf-8", "surrogatepass")), ""),
    ({"j": b"\x81\xa2to\xa2\xff\xfe"}, "UTF-8"),
    (but(to=None), "to"),
    (but(to=5), "to"),
    (but(to=""), "to"),
    (but(to={}), "to"),
    (but(to={"adr": "x"}), "adr"),
    (but(to={"addr": {}}), "addr"),
    (but(to="x" * 2049), "2048"),
    (but(to=None, rs=[]), "rs"),
    (but(to=None, rs="x"), "rs"),
    (but(to=None, rs=["x", 5]), "rs[1]"),
    (but(to=None, rs=["x", {"addr": "y", "locale": 5}]), "rs[1].locale"),
    (but(to=None, rs=["x"] * 1001), "1000"),
    (but(rs=["x"]), "not both"),
    (but(channel=None), "channel"),
    (but(channel=1), "channel"),
    (but(route="r"), "not both"),
    (but(content=None), "template"),
    (but(template="t"), "not both"),
    (but(content={}), "content"),
    (but(content={"bdoy": "x"}), "bdoy"),
    (but(content={"body": 1}), "content.body"),
    (but(content={"body": "x", "data": {1: 2}}), "content.data"),
    (but(content={"body": "x", "options": {"x": EXT(5, b"1")}}), "extension"),
    (but(data=[1]), "data"),
    (but(lane="high"), "lane"),
    (but(tags="vip"), "tags"),
    (but(tags=["t"] * 17), "16"),
    (but(campaign="c" * 65), "64"),
    (but(at="2126-01-01T00:00:00Z"), "at"),
    (but(at=1.5), "at"),
    (but(at=1700000000), "seconds"),
    (but(at=2**63), "at"),
    (but(expires=-1), "expires"),
    (but(id="nope"), "ULID"),
    (but(id=b"123"), "ULID"),
    (but(v=2), "version 1"),
    (but(v="1"), "v"),
    (but(n0=5000), "n0"),
    (but(acc=b"1"), "acc"),
    (but(render="yes"), "render"),
    (but(tpyo=1), "tpyo"),
]


@pytest.fixture(scope="module")
def stage(tmp_path_factory, keys):
    with Stage(tmp_path_factory.mktemp("stream"), keys, settings={"queue": {"heartbeat": "200ms", "claim_after": "2s", "max_entry_bytes": "64KiB"}}) as s:
        yield s


def dead(client, partition):
    return client.xrange(f"{{hm:{partition}}}:dead")


def test_every_malformed_entry_is_a_dead_letter_and_the_stream_goes_on(stage):
    r, e = stage.redis.client, stage.engine
    key = "{hm:3}:q:normal"
    with r.pipeline(transaction=False) as p:
        for i, (fields, _) in enumerate(WRONG):
            p.xadd(key, fields)
            p.xadd(key, packed({**GOOD, "campaign": "between", "to": f"{i:064x}"}))
        ids = p.execute()[::2]
    assert e.wait_final(len(WRONG), "between")["sent"] == len(WRONG)
    letters = wait_for(lambda: len(dead(r, 3)) >= len(WRONG) and dead(r, 3), what="all are dead letters")
    assert len(letters) == len(WRONG)
    by_entry = {f[b"entry"]: f for _, f in letters}
    for id, (fields, word) in zip(ids, WRONG):
        f = by_entry[id]
        reason = f[b"reason"].decode()
        assert reason and word in reason and "\n" not in reason and len(reason) < 400, (fields, reason)
        if "j" in fields:
            assert f[b"j"] == (fields["j"] if isinstance(fields["j"], bytes) else fields["j"].encode()), "it can be looked at and replayed"
    wait_for(lambda: r.xlen(key) == 0 and r.xpending(key, "hermod")["pending"] == 0, what="nothing of them is left in the stream")
    assert e.metric("hermod_queue_entries_dead_total") == len(WRONG)


def test_entry_that_is_too_large(stage):
    r = stage.redis.client
    xadd(r, {**GOOD, "content": {"body": "x" * 70000}}, partition=4)
    xadd(r, {**GOOD, "campaign": "behind-large"}, partition=4)
    assert stage.engine.wait_final(1, "behind-large")["sent"] == 1
    letter = wait_for(lambda: dead(r, 4), what="a dead letter")[0][1]
    assert b"65536" in letter[b"reason"] or b"max_entry_bytes" in letter[b"reason"], letter[b"reason"]


def test_further_fields_beside_j_do_not_matter(stage):
    stage.redis.client.xadd("{hm:5}:q:high", {"trace": "abc", **packed({**GOOD, "campaign": "extra-fields"})})
    assert stage.engine.wait_final(1, "extra-fields")["sent"] == 1


def test_all_the_forms_the_contract_allows(stage):
    r, e = stage.redis.client, stage.engine
    price = EXT(1, b"12.50")
    entries = [
        {**GOOD, "v": 1, "id": "01ARZ3NDEKTSV4RRFFQ69G5FAV"},
        {**GOOD, "id": struct.pack(">QQ", 0x0190000000000000, 7)},
        {**GOOD, "tags": ["a", "b"], "category": "promo", "tenant": "t1", "dedupe": "k1", "data": {"p": price}},
        {**GOOD, "to": None, "rs": [{"addr": {"push": "2" * 64}}, {"addr": {"apns-sink": "3" * 64}, "user": "u"}]},
        {**GOOD, "render": True, "content": {"body": "${p} {q}"}, "data": {"p": price, "q": "x"}},
        {**GOOD, "route": None, "campaign": None, "at": None, "tags": None},
    ]
    before = len(stage.sink.requests())
    for lane in ("critical", "high", "normal", "bulk"):
        for i, o in enumerate(entries):
            o = {k: f"{v}-{lane}" if k == "dedupe" else v for k, v in o.items() if k != "id" or lane == "normal"}
            xadd(r, {**{k: v for k, v in o.items() if v is not None or k in ("route", "at", "tags")}, "campaign": f"forms-{lane}"}, lane=lane, partition=i)
        e.wait_final(7, f"forms-{lane}")
        assert e.report(f"forms-{lane}")["sent"] == 7
    bodies = [q.json["aps"]["alert"] for q in stage.sink.requests()[before:]]
    assert sum("12.50 x" in str(b) or "12.5 x" in str(b) for b in bodies) == 4
    assert e.message("01ARZ3NDEKTSV4RRFFQ69G5FAV")["state"] == "sent"
