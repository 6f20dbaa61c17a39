"""Files and other languages: hermod enqueue, the examples, and what engine/ingest/README.md says to type."""
import json
import os
import re
import signal
import subprocess

import pytest
from conftest import BUILD, ROOT, SLOW, channels_to, to_yaml, wait_for, xadd
from stage import Stage, now_ms

GOOD = {"channel": "apns-sink", "to": "1" * 64, "content": {"body": "x"}}


@pytest.fixture(scope="module")
def stage(tmp_path_factory, keys):
    with Stage(tmp_path_factory.mktemp("enqueue"), keys, templates={"welcome": "body: 'Hi ${name}, ${n!0}'\n"}) as s:
        yield s


@pytest.fixture
def enqueue(stage, hermod, tmp_path):
    def run(name, content, *options, **kw):
        if content is not None:
            (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return hermod("enqueue", name, "--config", stage.config, *options, cwd=tmp_path, **kw)
    return run


def counts(r):
    return tuple(map(int, re.match(r"(\d+) queued in (\d+) entries, (\d+) refused", r.stdout).groups()))


def jsonl(*messages):
    return "".join(json.dumps(m) + "\n" for m in messages)


def addr(i):
    return f"{i:064x}"


def test_json_lines(stage, enqueue):
    r = enqueue("m.jsonl", jsonl(*({**GOOD, "to": addr(i), "campaign": "jsonl"} for i in range(2500))))
    assert r.returncode == 0, r.stderr
    queued, entries, refused = counts(r)
    assert (queued, refused) == (2500, 0) and entries <= 4, "messages that share everything share entries"
    assert r.stderr == "", "no progress bar where nobody looks"
    assert stage.engine.wait_final(2500, "jsonl")["sent"] == 2500


def test_defaults_from_the_command_line(stage, enqueue):
    r = enqueue("m.jsonl", jsonl({"to": addr(1), "data": {"name": "A"}}, {"to": {"addr": addr(2), "data": {"name": "B"}}, "channel": "fcm-sink"}),
                "--channel", "apns-sink", "--template=welcome", "--campaign", "defaults", "--lane", "high", "--tag", "a", "--tag", "b")
    assert r.returncode == 0 and counts(r)[0] == 2, r.stderr
    assert stage.engine.wait_final(2, "defaults")["sent"] == 2
    channels = {m["channel"] for m in stage.engine.get("/v1/messages?campaign=defaults").json["messages"]}
    assert channels == {"apns-sink", "fcm-sink"}


def test_csv_with_every_kind_of_column(stage, enqueue):
    text = ('to,user,locale,campaign,tags,data.name,data.n:number,data.vip:bool,data.cart:json\n'
            f'{addr(1)},u1,zh-CN,csv,"a b","Li ""Lei"", 李雷",3.50,true,"[{{""k"": 1}}]"\n'
            f'{addr(2)},,,csv,,"two\nlines",1,no,{{}}\n')
    for content, campaign in ((text, "csv"), ("\ufeff" + text.replace("csv", "csv-bom"), "csv-bom"), (text.replace("csv", "csv-crlf").replace("\n", "\r\n"), "csv-crlf")):
        r = enqueue("m.csv", content, "--channel", "apns-sink", "--template", "welcome")
        assert r.returncode == 0 and counts(r)[0] == 2, (campaign, r.stdout, r.stderr)
        assert stage.engine.wait_final(2, campaign)["sent"] == 2
    said = {q.json["aps"]["alert"] for q in stage.sink.requests() if "Lei" in q.body.decode()}
    assert said == {'Hi Li "Lei", 李雷, 3.5'} or said == {'Hi Li "Lei", 李雷, 3.50'}, said


def test_standard_input_with_a_format(stage, enqueue):
    r = enqueue("-", None, stdin=jsonl({**GOOD, "campaign": "stdin"}))
    assert r.returncode == 0 and counts(r)[0] == 1
    r = enqueue("-", None, "--format", "csv", "--channel", "apns-sink", "--template", "welcome", "--campaign", "stdin", stdin=f"to,data.name\n{addr(3)},x\n")
    assert r.returncode == 0 and counts(r)[0] == 1, r.stderr
    assert stage.engine.wait_final(2, "stdin")["sent"] == 2


def test_bad_lines_are_told_and_kept(stage, enqueue, tmp_path):
    lines = [json.dumps({**GOOD, "campaign": "rejects"}), "not json", json.dumps({**GOOD, "to": None}), "", json.dumps({**GOOD, "chanel": "x"}),
             json.dumps({**GOOD, "channel": "nope"}), json.dumps({**GOOD, "campaign": "rejects"}), '{"to": ', "[]", json.dumps({**GOOD, "lane": "fast"})]
    r = enqueue("m.jsonl", "\n".join(lines), "--rejects", "bad.jsonl")
    assert r.returncode == 1 and (counts(r)[0], counts(r)[2]) == (2, 7), r.stdout
    said = r.stderr.splitlines()
    assert [int(re.match(r"m\.jsonl:(\d+): ", x)[1]) for x in said] == [2, 3, 5, 6, 8, 9, 10], said
    assert "column" in said[0] and 'did you mean "channel"?' in said[2] and 'no channel "nope"' in said[3] and "line 1" not in r.stderr
    kept = [json.loads(x) for x in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert [k["line"] for k in kept] == [2, 3, 5, 6, 8, 9, 10] and all(k["reason"] for k in kept)
    assert [k["record"] for k in kept] == [lines[k["line"] - 1] for k in kept], "they can be mended and tried again"
    assert kept[2]["field"] == "chanel"
    assert stage.engine.wait_final(2, "rejects")["sent"] == 2


def test_many_bad_lines_are_only_counted(enqueue):
    r = enqueue("m.jsonl", "x\n" * 500)
    assert r.returncode == 1 and counts(r) == (0, 0, 500)
    assert len(r.stderr.splitlines()) == 21 and "--rejects FILE keeps them" in r.stderr.splitlines()[-1]


@pytest.mark.parametrize("text,line,says", [
    ("to,nmae\nx,y\n", 1, 'the column "nmae" is unknown'),
    ("to,chanel\nx,y\n", 1, 'did you mean "channel"'),
    ("to,to\nx,y\n", 1, 'the column "to" stands there twice'),
    ("to,data.\nx,y\n", 1, "needs a name"),
    ("to,data.n:float\nx,1\n", 1, "the type must be text, number, bool or json"),
    ("", 1, "the file is empty"),
    ("\n\n", 1, "the file is empty"),
    ('to,"data.x\n', 1, "a quoted field does not end"),
    ('to,"data.x"y\n', 1, "text follows a quoted field"),
    (",".join(["to"] + [f"data.c{i}" for i in range(2000)]) + "\n", 1, "columns"),
], ids=lambda v: repr(v)[:40])
def test_bad_csv_header_stops_the_file(enqueue, text, line, says):
    r = enqueue("m.csv", text, "--channel", "apns-sink", "--template", "welcome")
    assert r.returncode == 1 and r.stdout == "" and len(r.stderr.splitlines()) == 1, (r.stdout, r.stderr)
    assert re.match(rf"m\.csv:\d+: ", r.stderr) and says in r.stderr, r.stderr


@pytest.mark.parametrize("row,says", [
    ("x", "1 fields, but the header has 3 columns"),
    ("x,y,1,2", "4 fields, but the header has 3 columns"),
    (",y,1", "to: needs addr or user"),
    ("x,y,many", 'data.n: "many" is not a number'),
    ('x,"y,1', "a quoted field does not end"),
    ('x,"y"z,1', "text follows a quoted field"),
])
def test_bad_csv_rows_are_told_with_their_line(enqueue, row, says):
    r = enqueue("m.csv", f"to,data.name,data.n:number\n{addr(9)},ok,1\n{row}\n", "--channel", "apns-sink", "--template", "welcome", "--campaign", "rows")
    assert r.returncode == 1 and counts(r)[0] == 1 and counts(r)[2] == 1, (r.stdout, r.stderr)
    assert r.stderr.startswith("m.csv:3: ") and says in r.stderr, r.stderr


def test_csv_without_the_columns_a_message_needs(enqueue):
    r = enqueue("m.csv", f"to\n{addr(1)}\n{addr(2)}\n")
    assert r.returncode == 1 and counts(r) == (0, 0, 2)
    assert r.stderr.splitlines()[0] == "m.csv:2: channel: is missing (or route)"


def test_empty_json_lines_file_is_nothing_to_do(enqueue):
    for text in ("", "\n\n"):
        r = enqueue("m.jsonl", text)
        assert r.returncode == 0 and counts(r) == (0, 0, 0), (r.returncode, r.stdout, r.stderr)


def test_odd_bytes(enqueue):
    r = enqueue("m.jsonl", b'{"to": "\xff\xfe"}\n\x00\x00\n' + b'{"a":' * 1000 + b"\n")
    assert r.returncode == 1 and counts(r)[2] == 3 and "UTF-8" in r.stderr.splitlines()[0]


def test_files_that_cannot_be_written_or_read(enqueue, hermod, stage, tmp_path):
    r = enqueue("m.jsonl", jsonl(GOOD), "--rejects", "/nope/bad.jsonl")
    assert r.returncode == 1 and r.stderr == "hermod: cannot write /nope/bad.jsonl: No such file or directory\n"
    r = enqueue("m.jsonl", jsonl(GOOD), "--redis", "redis://127.0.0.1:1", env={"HERMOD_REDIS_CONNECT_TIMEOUT": "300ms"})
    assert r.returncode == 1 and "Redis cannot be reached" in r.stderr and len(r.stderr.splitlines()) == 1
    r = hermod("enqueue", "m.jsonl", "--config", "none.yaml", cwd=tmp_path)
    assert r.returncode in (1, 2) and "none.yaml: cannot be opened" in r.stderr


def test_rate_is_held(enqueue):
    r = enqueue("m.jsonl", jsonl(*[GOOD] * 150), "--rate", "300")
    assert r.returncode == 0 and float(re.search(r"([\d.]+) s", r.stdout)[1]) >= 0.3


def test_progress_bar_on_a_terminal(stage, tmp_path):
    import pty
    (tmp_path / "m.jsonl").write_text(jsonl(*[{**GOOD, "campaign": "bar"}] * 20000))
    parent, child = pty.openpty()
    p = subprocess.Popen([BUILD / "hermod", "enqueue", "m.jsonl", "--config", stage.config], cwd=tmp_path, stdout=subprocess.PIPE, stderr=child)
    os.close(child)
    shown = b""
    try:
        while piece := os.read(parent, 65536):
            shown += piece
    except OSError:  # the other side is closed
        pass
    out, _ = p.communicate(timeout=60 * SLOW)
    os.close(parent)
    assert p.returncode == 0 and out.startswith(b"20000 queued")
    assert b"100%" in shown and b"queued" in shown and b"/s" in shown and b"\r[" in shown


def test_redis_goes_away_in_the_middle(engine, sink, redis, tmp_path):
    """The file ends up in the queue exactly once."""
    e = engine(sink, redis)
    n = 60000
    with open(tmp_path / "m.jsonl", "w") as f:
        for i in range(n):
            f.write(json.dumps({"channel": "apns-sink", "to": addr(i), "content": {"body": f"part {i // 500}"}, "campaign": "away"}) + "\n")
    p = subprocess.Popen([BUILD / "hermod", "enqueue", "m.jsonl", "--config", e.config_file, "--rate", "30000"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: sink.ledger()["accepted"] > 3000, what="the first have arrived")
    redis.stop()
    redis.restart()
    out, err = p.communicate(timeout=120)
    assert p.returncode == 0 and out.startswith(f"{n} queued") and " 0 refused" in out, (out, err)
    b = e.wait_final(n, "away", 90)
    led = sink.ledger()
    assert b["sent"] == n and led["unique"] == n and led["duplicates"] <= b["unknown_attempts"], (b, led)


def test_interrupted_by_the_keyboard(stage, tmp_path):
    (tmp_path / "m.jsonl").write_text(jsonl(*[{**GOOD, "campaign": "interrupted"}] * 5000))
    p = subprocess.Popen([BUILD / "hermod", "enqueue", "m.jsonl", "--config", stage.config, "--rate", "500"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: stage.engine.final("interrupted") > 0, what="the first are sent")
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=30 * SLOW)
    queued = int(out.split()[0])
    assert p.returncode == 1 and 0 < queued < 5000 and "interrupted" in err, (p.returncode, out, err)
    assert stage.engine.wait_final(queued, "interrupted")["accepted"] == queued, "what it said is what there is"


def test_everything_with_the_embedded_redis(engine, sink, hermod, tmp_path):
    """The first afternoon: no Redis of one's own; the commands find the engine's."""
    e = engine(sink, settings={"http": {"auth": "required"}})
    r = hermod("keys", "create", "--config", e.config_file, "--scope", "send,read", "--name", "me")
    assert r.returncode == 0, r.stderr
    e.key = r.stdout.strip()
    e.wait_state(e.send(**GOOD, campaign="first"), "sent")
    (tmp_path / "m.csv").write_text(f"to,campaign\n{addr(1)},first\n{addr(2)},first\n")
    r = hermod("enqueue", tmp_path / "m.csv", "--config", e.config_file, "--channel", "apns-sink", "--template", "none")
    assert r.returncode == 0, "templates are the engine's business: the command does not know them"
    b = e.wait_final(3, "first")
    assert (b["sent"], b["failed"]) == (1, 2)
    failed = e.get("/v1/messages?campaign=first&state=failed").json["messages"]
    assert all('"none"' in m["reason"] for m in failed), failed
    e.stop()
    r = hermod("keys", "list", "--config", e.config_file)
    assert r.returncode == 1 and "start hermod run first" in r.stderr
    r = hermod("report", "--config", e.config_file)
    assert r.returncode == 0 and "accepted 3 = sent 1 + failed 2" in r.stdout, "the books are readable without the engine"


# -- other languages -------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def demo(tmp_path_factory, keys):
    """An engine with the channel `demo` the examples send through."""
    s = Stage(tmp_path_factory.mktemp("demo"), keys, settings={"http": {"auth": "required"}, "test": {"clock": True}})
    channels = {"demo": channels_to(s.sink, keys)["wecom-sink"]}
    text = s.config.read_text()
    s.config.write_text(text[:text.index("channels:")] + "channels:" + to_yaml(channels, 1) + "\n")
    with s:
        yield s


def arrived(stage, before, text):
    def all_there():
        found = [q for q in stage.sink.requests()[before:] if q.path.startswith("/cgi-bin/message/send")]
        to = [t for q in found for t in q.json["touser"].split("|")]
        return sorted(to) == ["example-1", "example-2", "example-3", "example-4"] and found
    found = wait_for(all_there, 20, "the four recipients of the example")
    bodies = {t: q.json["text"]["content"] for q in found for t in q.json["touser"].split("|")}
    assert text in bodies["example-1"] and bodies["example-2"] == bodies["example-4"] == "Hello friend" and bodies["example-3"] == "Hello 张三"


@pytest.mark.parametrize("name,argv,text", [
    ("redis-cli", lambda s: ["redis-cli", "-s", s.redis.socket], "From redis-cli"),
    ("python", lambda s: [ROOT / "examples/enqueue.py", "--redis", s.redis.url], "From Python"),
    ("python over tcp", lambda s: [ROOT / "examples/enqueue.py", "--redis", f"redis://127.0.0.1:{s.redis.port}/0"], "From Python"),
    ("node", lambda s: ["node", ROOT / "examples/enqueue.mjs", "--redis", s.redis.socket], "From Node"),
    ("node over tcp", lambda s: ["node", ROOT / "examples/enqueue.mjs", "--redis", f"127.0.0.1:{s.redis.port}"], "From Node"),
])
def test_examples(demo, name, argv, text):
    before = len(demo.sink.requests())
    with open(ROOT / "examples/enqueue.redis") as f:
        r = subprocess.run(list(map(str, argv(demo))), stdin=f if name == "redis-cli" else None, capture_output=True, text=True, timeout=60)
    assert r.returncode == 0, (r.stdout, r.stderr)
    assert len(re.findall(r"\b\d{13}-\d+", r.stdout)) == 2, r.stdout
    arrived(demo, before, text)


def test_commands_of_the_readme(demo, tmp_path):
    """Every line the page says to type, typed; names and ports are those of this stage."""
    page = (ROOT / "engine/ingest/README.md").read_text()
    blocks = re.findall(r"(?:^ {4}\S.*\n(?: {4,}.*\n)*)+", page, re.M)
    examples = [b for b in blocks if "examples/" in b]
    calls = [b for b in blocks if "hermod keys create" in b]
    assert len(examples) == 1 and len(calls) == 1
    env = dict(os.environ, PATH=f"{BUILD}:{os.environ['PATH']}", HERMOD_CONFIG=str(demo.config))
    for line in examples[0].strip().splitlines():
        before = len(demo.sink.requests())
        line = line.strip().replace("redis-cli ", f"redis-cli -p {demo.redis.port} ").replace(":6379", f":{demo.redis.port}")
        r = subprocess.run(line, shell=True, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
        assert r.returncode == 0, (line, r.stdout, r.stderr)
        arrived(demo, before, "From ")
    (tmp_path / "messages.jsonl").write_text(jsonl(*({"to": f"r{i}", "channel": "demo", "content": {"body": "x"}} for i in range(3))))
    script = calls[0].replace("127.0.0.1:7700", f"127.0.0.1:{demo.port}").replace("curl ", "curl -sS --fail-with-body ")
    steps = re.split(r"\n(?=    curl)", script.rstrip())
    assert len(steps) == 4, steps
    first = steps[0] + "\n" + steps[1] + "\necho; echo \"KEY=$KEY\""
    r = subprocess.run(["bash", "-ec", first], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert r.returncode == 0, (first, r.stdout, r.stderr)
    id = json.loads(r.stdout.splitlines()[0])["id"]
    key = re.search(r"KEY=(hk_\S+)", r.stdout)[1]
    demo.engine.key = key
    demo.engine.wait_state(id, "sent")
    r = subprocess.run(["bash", "-ec", f"KEY={key}\n" + steps[2].replace("<id>", id)], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert r.returncode == 0 and json.loads(r.stdout)["id"] == id, (r.stdout, r.stderr)
    r = subprocess.run(["bash", "-ec", f"KEY={key}\n" + steps[3]], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert r.returncode == 0 and json.loads(r.stdout)["accepted"] == 3, (r.stdout, r.stderr)


def test_the_control_stream_of_the_readme(demo, hermod):
    """A cancel mark written by another program."""
    page = (ROOT / "engine/ingest/README.md").read_text()
    key = re.search(r"XADD (\{hm:ctl\}:events) MAXLEN ~ 1000000 \* type cancel campaign spring at \d+", page)[1]
    r, e = demo.redis.client, demo.engine
    e.key = hermod("keys", "create", "--config", demo.config, "--scope", "admin").stdout.strip()
    before = len(demo.sink.requests())
    for i in range(3):
        xadd(r, {"channel": "demo", "to": f"s{i}", "content": {"body": "x"}, "campaign": "spring", "at": now_ms() + 3600_000}, partition=i)
    wait_for(lambda: sum(r.zcard(f"{{hm:{i}}}:delayed") for i in range(3)) == 3, what="they wait for their time")
    r.xadd(key, {"type": "cancel", "campaign": "spring", "at": now_ms() + 1}, maxlen=1000000)
    e.send(channel="demo", to="marker", content={"body": "x"}, campaign="marker")
    e.wait_final(1, "marker")
    e.advance(3601_000)
    assert e.wait_final(3, "spring")["cancelled"] == 3
    assert not any(b'"s0"' in q.body for q in demo.sink.requests()[before:])
