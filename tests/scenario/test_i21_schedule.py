"""A channel's own retry schedule, as subscribers of webhooks are asked for: minutes and hours apart."""
import pytest

from conftest import channels_to, wait_for
from stage import Stage


@pytest.fixture(scope="module")
def stage(tmp_path_factory, keys):
    def channels(sink, keys):
        c = channels_to(sink, keys)
        return {"hook": c["hook-sink"] | {"url": sink.tls_url + "/t/hook", "retry_schedule": ["5s", "5m", "2h"], "breaker": "off"}}
    with Stage(tmp_path_factory.mktemp("schedule"), keys, channels=channels, settings={"test": {"clock": True}}) as s:
        yield s


def attempts(stage, n):
    wait_for(lambda: len(stage.sink.requests()) >= n, what=f"{n} requests")
    return stage.sink.requests()


def test_waits_are_those_of_the_schedule(stage):
    """Never before its time, at most a tenth after it; the fourth attempt is the last."""
    stage.sink.script({"path": "/t/hook"}, [{"status": 500}] * 4)
    e = stage.engine
    id = e.send(channel="hook", to="c", content={"body": "x"})
    done = attempts(stage, 1)
    for n, wait in enumerate((5_000, 300_000, 7_200_000), 1):
        wait_for(lambda: len(e.message(id)["attempts"]) == n, what=f"attempt {n} is told")
        e.advance(wait - 3_000)
        assert len(stage.sink.requests()) == n
        e.advance(wait // 10 + 3_000)
        done = attempts(stage, n + 1)
    m = e.wait_state(id, "failed")
    assert [a["outcome"] for a in m["attempts"]] == ["provider_down"] * 4 and len(done) == 4
    assert len({r.headers["webhook-id"] for r in done}) == 1 and len({r.headers["webhook-timestamp"] for r in done}) == 4


def test_a_wrong_schedule_is_refused(stage, hermod, tmp_path):
    for wrong, says in (("[]", "list of 1 to 30 waits"), ("5s", "list of 1 to 30 waits"), ("[5s, soon]", "soon"), ("[0s]", "between 1ms and 7d")):
        f = tmp_path / "hermod.yaml"
        f.write_text("channels:\n  hook: {adapter: webhook/standard, secrets: [whsec_AAECAwQFBgcICQoLDA0ODw==], retry_schedule: %s}\n" % wrong)
        r = hermod("check", "--config", f)
        assert r.returncode != 0 and says in r.stdout + r.stderr and ":2:" in r.stdout + r.stderr, (wrong, r.stdout, r.stderr)
