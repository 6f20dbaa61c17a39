"""Start, reload, drain, crash: the life of the process."""
import os
import signal
import subprocess

import pytest
from conftest import wait_for, xadd

pytestmark = pytest.mark.threads


def load(redis, n, campaign, chunk=100, channel="apns-sink", lane="normal", partitions=16):
    for i in range(0, n, chunk):
        rs = [{"addr": f"{k:064x}", "user": f"u{k}"} for k in range(i, min(i + chunk, n))]
        xadd(redis.client, {"channel": channel, "rs": rs, "content": {"body": "hello"}, "campaign": campaign}, lane=lane,
             partition=(i // chunk) % partitions)


def test_sigterm_drains_and_hands_the_rest_back(engine, sink, redis):
    e = engine(sink, redis, settings={"dispatch": {"max_in_flight": 200}})
    sink.knobs({"apns": {"latency": 50}})
    load(redis, 5000, "drain")
    wait_for(lambda: sink.ledger()["accepted"] > 300, what="sending has begun")
    assert e.stop() == 0
    sent = sink.ledger()
    assert sent["duplicates"] == 0 and sent["accepted"] < 5000
    sink.knobs({"apns": {"latency": 0}})
    e.start()
    r = e.wait_final(5000, "drain")
    assert r["sent"] == 5000 and r["unknown_attempts"] == 0
    led = sink.ledger()
    assert (led["unique"], led["duplicates"]) == (5000, 0)


def test_sighup_reloads_and_a_bad_file_changes_nothing(engine, sink, redis, keys):
    e = engine(sink, redis)
    good = e.config_file.read_text()
    e.config_file.write_text(good + "nonsense: 1\n")
    e.p.send_signal(signal.SIGHUP)
    wait_for(lambda: "the old one keeps running" in e.log(), what="the bad file is refused")
    assert "nonsense" in e.log()
    e.wait_state(e.send(channel="apns-sink", to="1" * 64, content={"body": "x"}), "sent")
    e.config_file.write_text(good.replace("apns-sink", "apns-renamed"))
    e.p.send_signal(signal.SIGHUP)
    wait_for(lambda: "configuration reloaded" in e.log(), what="the good file is taken")
    wait_for(lambda: e.post("/v1/messages", {"channel": "apns-renamed", "to": "1" * 64, "content": {"body": "x"}}).status == 202,
             what="the renamed channel is known")


def test_kill_9_in_the_middle_loses_nothing(engine, sink, redis):
    n = int(os.environ.get("HERMOD_KILL9_MESSAGES", 20000))
    e = engine(sink, redis)
    sink.knobs({"apns": {"latency": 2}})
    load(redis, n, "crash", chunk=250)
    for share in (4, 2):
        wait_for(lambda: sink.ledger()["accepted"] > n // share, 60, "a part is sent")
        e.kill9()
        e.start()
    r = e.wait_final(n, "crash", 120)
    led = sink.ledger()
    assert r["sent"] == n and led["unique"] == n, (r, led)
    assert led["duplicates"] <= r["unknown_attempts"], (r, led)


def test_embedded_redis_killed_is_started_again_and_work_resumes(engine, sink):
    e = engine(sink)
    e.wait_state(e.send(channel="apns-sink", to="1" * 64, content={"body": "x"}), "sent")
    pid = int(subprocess.check_output(["pgrep", "-P", str(e.pid), "redis-server"]))
    os.kill(pid, signal.SIGKILL)

    def accepted():
        a = e.post("/v1/messages", {"channel": "apns-sink", "to": "2" * 64, "content": {"body": "y"}, "campaign": "after"})
        assert a.status in (202, 503), a.body
        assert a.status != 503 or a.headers["Retry-After"]
        return a.status == 202
    wait_for(accepted, 30, "submission works again")
    wait_for(lambda: e.final("after") >= 1, 30, "the message is sent")


def test_two_engines_share_one_redis(engine, sink, redis):
    a = engine(sink, redis, name="a")
    b = engine(sink, redis, name="b")
    load(redis, 4000, "two")
    wait_for(lambda: a.final("two") + b.final("two") >= 4000, 60, "all are final")
    led = sink.ledger()
    assert (led["unique"], led["duplicates"]) == (4000, 0)


def test_entries_of_a_dead_engine_are_taken_over(engine, sink, redis):
    a = engine(sink, redis, name="a")
    sink.knobs({"apns": {"fault": "stall"}})
    load(redis, 500, "over", chunk=50)
    wait_for(lambda: redis.client.xpending("{hm:0}:q:normal", "hermod")["pending"] > 0, what="entries are in work")
    a.kill9()
    sink.knobs({"apns": {"fault": None}})
    b = engine(sink, redis, name="b")
    wait_for(lambda: b.final("over") >= 500, 60, "the second engine finishes")
    assert sink.ledger()["unique"] == 500


def test_second_engine_on_one_data_directory_is_refused(engine, sink, redis, hermod):
    e = engine(sink, redis)
    r = hermod("run", "--config", e.config_file)
    assert r.returncode == 1 and "another hermod uses the data directory" in r.stderr


def test_port_in_use_is_one_clear_sentence(engine, sink, redis, hermod, tmp_path):
    e = engine(sink, redis)
    r = hermod("run", "--config", e.config_file, "--set", f"node.data_dir={tmp_path}/other")
    assert r.returncode == 1 and str(e.port) in r.stderr, r.stderr
