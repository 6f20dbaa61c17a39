"""The command line in the hands of somebody new: help, wrong words, wrong files."""
import json

import pytest
from conftest import BUILD, ROOT

COMMANDS = ("run", "check", "enqueue", "report", "ledger", "keys", "adapters", "render")


def one_sentence(r, code, *words):
    """Nothing on stdout, one line on stderr that says all the words, and the exit code."""
    lines = r.stderr.splitlines()
    assert r.returncode == code, (r.returncode, r.stdout, r.stderr)
    assert len(lines) == 1, r.stderr
    for w in words:
        assert w in lines[0], r.stderr
    assert r.stdout == ""


def test_without_arguments_it_lists_the_commands(hermod):
    r = hermod()
    assert r.returncode == 2 and r.stdout == ""
    for c in COMMANDS:
        assert f"\n  {c} " in r.stderr, r.stderr


@pytest.mark.parametrize("words", [["help"], ["--help"], ["-h"]])
def test_help_lists_the_commands(hermod, words):
    r = hermod(*words)
    assert r.returncode == 0 and r.stderr == ""
    for c in (*COMMANDS, "version", "help"):
        assert f"\n  {c} " in r.stdout


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("form", ["{} --help", "{} -h", "help {}"])
def test_every_command_has_help(hermod, command, form):
    r = hermod(*form.format(command).split())
    assert r.returncode == 0 and r.stderr == "", (r.returncode, r.stderr)
    assert r.stdout.startswith(f"usage: hermod {command} "), r.stdout[:200]
    assert max(len(x) for x in r.stdout.splitlines()) <= 130, "help fits a terminal"


def test_version(hermod):
    for words in (["version"], ["--version"]):
        r = hermod(*words)
        assert r.returncode == 0 and r.stdout.startswith("hermod ") and r.stdout.count(".") == 2


def test_unknown_command_with_a_suggestion(hermod):
    one_sentence(hermod("chekc"), 2, '"chekc"', 'did you mean "check"?')
    one_sentence(hermod("xyzzyx"), 2, '"xyzzyx"', "hermod help")
    one_sentence(hermod("help", "xyzzyx"), 2, '"xyzzyx"')


@pytest.mark.parametrize("command", COMMANDS)
def test_unknown_option_names_it_and_the_help(hermod, command):
    sub = {"ledger": ["dump"], "keys": ["list"], "adapters": ["list"]}.get(command, [])
    one_sentence(hermod(command, *sub, "--no-such"), 2, '"--no-such"', f"hermod {command} --help")


@pytest.mark.parametrize("words,says", [
    (["run", "hermod.yaml"], '"hermod.yaml"'),
    (["check", "--config"], "--config needs a value"),
    (["check", "--set"], "--set needs a value"),
    (["check", "--set", "abc"], '--set takes section.key=value, not "abc"'),
    (["enqueue"], "needs a file"),
    (["enqueue", "x.jsonl", "--rate", "fast"], "--rate must be a number"),
    (["enqueue", "x.jsonl", "--rate", "0"], "--rate must be a number"),
    (["enqueue", "x.jsonl", "--format", "xml"], "--format must be jsonl or csv"),
    (["enqueue", "x.jsonl", "--channel"], "--channel needs a value"),
    (["enqueue", "x.jsonl", "y.jsonl"], '"y.jsonl"'),
    (["ledger", "nope"], 'no command "nope"'),
    (["ledger", "get"], "needs the id of a message"),
    (["ledger", "find"], "needs --to ADDRESS"),
    (["ledger", "list"], "needs --campaign C"),
    (["ledger", "list", "--campaign", "c", "--limit", "many"], '--limit takes a number, not "many"'),
    (["keys", "nope"], 'not "nope"'),
    (["keys", "create"], "needs --scope"),
    (["keys", "create", "--scope", "sned"], 'scope "sned" is unknown: send, read, templates, suppressions or admin'),
    (["keys", "create", "--scope", ""], "at least one scope"),
    (["keys", "create", "--scope", "send", "--rate", "-1"], "--rate must be a number"),
    (["keys", "create", "--scope", "send", "extra"], '"extra"'),
    (["keys", "create", "--scope", "send", "--name", "x" * 200], "--name may have"),
    (["keys", "revoke"], "needs the id of a key"),
    (["keys", "revoke", "???"], '"???" is not the id of a key'),
    (["adapters", "check"], "needs at least one file"),
    (["adapters", "dry-run"], "needs ADAPTER"),
    (["adapters", "dry-run", "push/apns", "--channel", "c", "--message", "m", "--at", "noon"], '"noon"'),
    (["render"], "--template"),
    (["render", "--template"], "--template needs a value"),
    (["render", "--template", "x", "--format", "pdf"], '"pdf"'),
    (["render", "--template", "x", "--timezone", "Mars/Base"], '"Mars/Base"'),
])
def test_wrong_use_is_one_sentence_and_exit_2(hermod, words, says, tmp_path):
    one_sentence(hermod(*words, cwd=tmp_path), 2, says)


@pytest.mark.parametrize("words", [["ledger"], ["keys"], ["adapters"]])
def test_a_group_without_a_command_shows_its_use(hermod, words):
    r = hermod(*words)
    assert r.returncode == 2 and f"usage: hermod {words[0]} " in r.stderr + r.stdout


@pytest.mark.parametrize("words,says", [
    (["enqueue", "none.jsonl"], "cannot read none.jsonl: No such file"),
    (["enqueue", "."], "cannot read .: it is a folder"),
    (["render", "--template", "none.ftl"], "none.ftl: No such file"),
    (["render", "--cases", "none.jsonl"], "none.jsonl: No such file"),
    (["report", "--data-dir", "nowhere"], "nowhere"),
    (["ledger", "dump", "--data-dir", "nowhere"], "nowhere"),
    (["ledger", "get", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "--data-dir", "nowhere"], "nowhere"),
    (["keys", "list"], "start hermod run first"),
    (["keys", "list", "--redis", "redis://127.0.0.1:1"], "Redis cannot be reached"),
    (["keys", "list", "--redis", "http://x"], "must start with redis://"),
])
def test_what_is_not_there_is_one_sentence_and_exit_1(hermod, words, says, tmp_path):
    one_sentence(hermod(*words, cwd=tmp_path, env={"HERMOD_REDIS_CONNECT_TIMEOUT": "300ms"}), 1, says)


# -- render ------------------------------------------------------------------------------------

def test_render_a_template_with_data(hermod, tmp_path):
    (tmp_path / "t.ftl").write_text("尊敬的${name},<#if age>30>您好<#else>你好</#if>!<#list cart as c>${c.n}×${c.k} </#list>")
    (tmp_path / "d.json").write_text(json.dumps({"name": "<李雷>", "age": 31, "cart": [{"n": 2, "k": "书"}]}))
    for fmt, name in (("plain", "<李雷>"), ("html", "&lt;李雷&gt;"), ("xml", "&lt;李雷&gt;"), ("json", "<李雷>")):
        r = hermod("render", "--template", tmp_path / "t.ftl", "--data", tmp_path / "d.json", "--format", fmt)
        assert r.returncode == 0 and r.stderr == "", r.stderr
        assert r.stdout == f"尊敬的{name},您好!2×书 ", (fmt, r.stdout)
    r = hermod("render", "--template", "-", "--data", tmp_path / "d.json", "--format", "json", stdin='"${name}\\n"')
    assert r.returncode == 0 and r.stdout


@pytest.mark.parametrize("text,where", [
    ("line one\n<#if x>never closed\n", ":2:"),
    ("a\nb ${x + }\n", ":2:"),
    ("a\n\n<#lst x as y>\n", ":3:"),
    ("${open", ":1:"),
])
def test_render_says_file_and_line_of_a_bad_template(hermod, tmp_path, text, where):
    (tmp_path / "bad.ftl").write_text(text)
    one_sentence(hermod("render", "--template", tmp_path / "bad.ftl"), 1, f"{tmp_path}/bad.ftl{where}")


def test_render_says_what_is_missing_and_where(hermod, tmp_path):
    (tmp_path / "t.ftl").write_text("a\nDear ${customer.name}")
    one_sentence(hermod("render", "--template", tmp_path / "t.ftl"), 1, "customer", "line 2")


@pytest.mark.parametrize("text,says", [
    ('{"a": 1,\n "b": }', "line 2"),
    ("[1, 2]", "not a JSON object"),
    ("", "d.json"),
])
def test_render_says_what_is_wrong_with_the_data(hermod, tmp_path, text, says):
    (tmp_path / "t.ftl").write_text("x")
    (tmp_path / "d.json").write_text(text)
    one_sentence(hermod("render", "--template", tmp_path / "t.ftl", "--data", tmp_path / "d.json"), 1, "d.json", says)
    one_sentence(hermod("render", "--template", tmp_path / "t.ftl", "--data", tmp_path / "none.json"), 1, "none.json", "No such file")


def test_render_cases_prints_a_row_for_each(hermod, tmp_path):
    rows = [{"id": "ok", "template": "Hi ${n}", "data": {"n": "x"}, "format": "plain"},
            {"id": "parse", "template": "${", "data": {}, "format": "plain"},
            {"id": "undefined", "template": "${a.b}", "data": {}, "format": "plain"},
            {"id": "html", "template": "<b>${n}</b>", "data": {"n": "<"}, "format": "html"}]
    f = tmp_path / "cases.jsonl"
    f.write_text("".join(json.dumps(r) + "\n" for r in rows))
    out = {r["id"]: r for r in map(json.loads, hermod("render", "--cases", f).stdout.splitlines())}
    assert out["ok"] == {"id": "ok", "ok": True, "output": "Hi x"}
    assert out["html"]["output"] == "<b>&lt;</b>"
    for k in ("parse", "undefined"):
        assert (out[k]["ok"], out[k]["error"]) == (False, k) and out[k]["message"]


def test_render_cases_that_are_no_cases(hermod, tmp_path):
    f = tmp_path / "cases.jsonl"
    f.write_text('not json\n{"id": "b"}\n{"id": "c", "template": "x", "data": {}}\n')
    r = hermod("render", "--cases", f)
    out = [json.loads(x) for x in r.stdout.splitlines()]
    assert len(out) == 3 and [o["ok"] for o in out] == [False, False, True], r.stdout
    assert r.returncode == 1


# -- adapters --------------------------------------------------------------------------------

FOUR = ("push/apns", "push/fcm", "chat/wecom-app", "webhook/standard")


def test_adapters_list(hermod):
    r = hermod("adapters", "list")
    assert r.returncode == 0
    for a in FOUR:
        assert a in r.stdout
    described = {a["name"]: a for a in json.loads(hermod("adapters", "list", "--json").stdout)}
    for a in FOUR:
        assert described[a]["settings"], a
    wecom = described["chat/wecom-app"]
    assert wecom["batch"] == {"max": 1000, "computed": True} and wecom["facts"]["unverified"] == 1
    assert {"field": "body", "max": 2048, "computed": False, "conditional": True, "unit": "bytes", "over": "cut"} in wecom["limits"]["fields"]
    assert wecom["rates"] == [{"per": "recipient", "max": 30, "window_ms": 60000}]
    assert described["sms/tencent"]["batch"] == {"max": 200, "computed": True}
    assert described["sms/twilio"]["receipts"] == "push"
    lines = r.stdout.splitlines()
    assert lines[0].split()[:4] == ["ADAPTER", "MEDIUM", "BATCH", "RECEIPTS"]
    assert any(x.split()[:3] == ["chat/wecom-app", "chat", "<=1000"] and "1 unverified" in x for x in lines)
    assert any("title 128 bytes, body 2048 bytes, 30/1m per recipient" in x for x in lines)
    one_sentence(hermod("adapters", "list", "--dir", "/nowhere"), 2, "/nowhere")


def test_adapters_check_all_at_once(hermod):
    files = sorted((ROOT / "adapters").glob("*/*.yaml"))
    r = hermod("adapters", "check", *files, *files)
    assert r.returncode == 0 and r.stdout.count("all good") == 2 * len(files), r.stderr


@pytest.mark.parametrize("name", FOUR)
def test_adapters_check_the_four(hermod, name):
    r = hermod("adapters", "check", ROOT / "adapters" / f"{name}.yaml")
    assert r.returncode == 0 and name in r.stdout and r.stderr == ""


@pytest.mark.parametrize("change,where,says", [
    (lambda t: t.replace("outcomes:", "outcoms:", 1) if "outcomes:" in t else t + "\noutcoms: {}\n", None, "outcoms"),
    (lambda t: t + "\n\tx: 1\n", None, "tab"),
    (lambda t: "", "", ""),
])
def test_adapters_check_a_broken_one(hermod, tmp_path, change, where, says):
    f = tmp_path / "apns.yaml"
    f.write_text(change((ROOT / "adapters/push/apns.yaml").read_text()))
    r = hermod("adapters", "check", f)
    assert r.returncode == 2 and r.stdout == ""
    assert r.stderr.startswith(f"{f}:") and says in r.stderr, r.stderr
    one_sentence(hermod("adapters", "check", tmp_path / "none.yaml"), 2, "none.yaml")


def dry(hermod, tmp_path, name, channel, message, *options):
    (tmp_path / "c.yaml").write_text(channel)
    (tmp_path / "m.yaml").write_text(message)
    return hermod("adapters", "dry-run", name, "--channel", tmp_path / "c.yaml", "--message", tmp_path / "m.yaml", *options)


def channel_files(keys):
    return {
        "push/apns": f"team_id: DEF123GHIJ\nkey_id: ABC123DEFG\nkey: ${{file:{keys.apns}}}\ntopic: com.example.app\n",
        "push/fcm": f"service_account: ${{file:{keys.fcm_account}}}\n",
        "chat/wecom-app": "corp_id: ww1\nsecret: s3cret-of-wecom\nagent_id: 1000002\n",
        "webhook/standard": f"secrets: [{keys.webhook_secret}]\nurl: https://example.com/hook\n",
    }


EXPECT = {
    "push/apns": ["POST https://api.push.apple.com/3/device/", "apns-topic: com.example.app", '"body":"World"'],
    "push/fcm": ["POST https://fcm.googleapis.com/v1/projects/demo-project/messages:send", "World"],
    "chat/wecom-app": ["POST https://qyapi.weixin.qq.com/cgi-bin/message/send?access_token=", '"agentid":1000002', "World"],
    "webhook/standard": ["POST https://example.com/hook", "webhook-id: ", "webhook-signature: v1,", "webhook-timestamp: 1700000000"],
}


@pytest.mark.parametrize("name", FOUR)
def test_dry_run_prints_the_exact_request(hermod, tmp_path, keys, name):
    to = {"push/apns": "a1" * 32, "push/fcm": "tok", "chat/wecom-app": "zhangsan", "webhook/standard": "c-1"}[name]
    args = (hermod, tmp_path, name, channel_files(keys)[name], f"to: {to}\ntitle: Hello\nbody: World\n", "--at", "1700000000", "--nonce", "n1")
    r = dry(*args)
    assert r.returncode == 0, r.stderr
    for part in EXPECT[name]:
        assert part.lower() in r.stdout.lower(), (part, r.stdout)
    for secret in ("s3cret-of-wecom", keys.webhook_secret, "PRIVATE KEY"):
        assert secret not in r.stdout + r.stderr
    assert name in ("push/apns", "push/fcm") or dry(*args).stdout == r.stdout, "the same time and nonce give the same request"


@pytest.mark.parametrize("name,channel,message,code,says", [
    ("push/apns", "team_id: DEF123GHIJ\nkey_id: ABC123DEFG\ntopic: com.example.app\n", "to: x\nbody: y\n", 2, "key"),
    ("push/apns", "team_id: DEF123GHIJ\nkey_id: ABC123DEFG\nkye: x\ntopic: com.example.app\n", "to: x\nbody: y\n", 2, 'did you mean "key"?'),
    ("chat/wecom-app", "corp_id: ww1\nsecret: s\nagent_id: many\n", "to: x\nbody: y\n", 2, "agent_id"),
    ("chat/wecom-app", "corp_id: ww1\nsecret: ${env:NO_SUCH_SECRET}\nagent_id: 1\n", "to: x\nbody: y\n", 2, "NO_SUCH_SECRET"),
    ("chat/wecom-app", "corp_id: ww1\nsecret: s\nagent_id: 1\n", "to: x\nbdoy: y\n", 1, 'did you mean "body"?'),
    ("chat/wecom-app", "corp_id: ww1\nsecret: s\nagent_id: 1\n", "body: y\n", 1, "to"),
    ("chat/wecom-app", "corp_id: ww1\nsecret: s\nagent_id: 1\n", "- a\n", 1, "must be a map"),
    ("chat/wecomapp", "corp_id: ww1\n", "to: x\nbody: y\n", 2, "hermod adapters list shows them"),
])
def test_dry_run_says_what_is_wrong(hermod, tmp_path, name, channel, message, code, says):
    r = dry(hermod, tmp_path, name, channel, message)
    assert r.returncode == code and says in r.stderr, (r.returncode, r.stderr, r.stdout)
    assert len(r.stderr.splitlines()) == 1 and "null" not in r.stderr


def test_the_binary_under_test_is_the_one_built():
    assert (BUILD / "hermod").exists()
