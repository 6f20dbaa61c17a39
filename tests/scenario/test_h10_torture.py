"""The short form of ./dev torture (tests/torture/README.md): kills, Redis, disks, two engines, memory, hostile providers.

Each test prints its part of the loss and duplicate ledger.
"""
import sys

import pytest
from conftest import ROOT, SLOW

sys.path.insert(0, str(ROOT / "tests" / "torture"))
import books  # noqa: E402
import scenes  # noqa: E402

pytestmark = pytest.mark.alone

SEED = 1


@pytest.mark.parametrize("name", scenes.SCENES)
def test_nothing_is_lost_nothing_twice(name, capsys):
    r = scenes.run(name, True, SEED)
    with capsys.disabled():
        print(f"\n-- torture: {name}")
        for line in r.lines:
            print(line)
        if r.rows:
            books.table(r.rows)
    assert not r.wrong, "\n".join(r.wrong)
    for row in r.rows:
        assert row.ok, f"{row.name}: {row.lost} lost, {row.unmarked} unmarked, {row.stray} stray\n" + "\n".join(row.wrong)


def test_a_lost_attempt_is_on_record_even_when_the_message_has_expired_meanwhile(engine, sink, redis):
    e = engine(sink, redis)
    sink.knobs({"apns": {"fault": "stall"}})
    import time
    id = e.send(channel="apns-sink", to="7" * 64, content={"body": "x"}, expires=int(time.time() * 1000) + 60_000)
    from conftest import wait_for
    wait_for(lambda: sink.ledger()["requests"] >= 1, what="the request has left")
    e.kill9()
    sink.knobs({"apns": {"fault": None}})
    e.start()
    e.advance(120_000)
    m = e.wait_state(id, "sent", "expired", seconds=30 * SLOW)
    assert "unknown" in [a["outcome"] for a in m["attempts"]], m
