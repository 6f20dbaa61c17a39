"""adapters/README.md, "Adding a provider", followed to the letter: one file, no restart, the first message, its receipt."""
import hashlib
import re
import shlex
import shutil
import subprocess
from urllib.parse import parse_qs

import pytest
from conftest import BUILD, ROOT, http, wait_for

MANUAL = (ROOT / "adapters" / "README.md").read_text()
CHAPTER = MANUAL[MANUAL.index("\n## Adding a provider\n"):]
CHAPTER = CHAPTER[:CHAPTER.index("\n## ", 1)]
SECRET = "made-up-secret"


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", CHAPTER, re.S)


def test_one_screen():
    assert len(blocks("yaml")[0].splitlines()) < 60


def test_adding_a_provider(engine, sink, redis, tmp_path):
    adapter, channel, message = blocks("yaml")
    check, send = blocks("sh")
    folder = tmp_path / "adapters"
    shutil.copytree(ROOT / "adapters", folder)
    e = engine(sink, redis, channels={}, settings={"adapters": {"dir": str(folder)}}, env={"EXAMPLE_SECRET": SECRET})
    started = e.pid
    (folder / "sms" / "example.yaml").write_text(adapter)
    (folder / "channel.yaml").write_text(channel)
    (folder / "message.yaml").write_text(message)

    # The commands of the first block, in the folder.
    for line in check.splitlines():
        words = shlex.split(line)
        r = subprocess.run([BUILD / words[0], *words[1:]], cwd=folder, capture_output=True, text=True, timeout=60,
                           env={"EXAMPLE_SECRET": SECRET, "PATH": "/usr/bin:/bin"})
        assert r.returncode == 0, r.stderr
    assert "POST https://sms.example.com/v2/send" in r.stdout and "8613800000000" in r.stdout and SECRET not in r.stdout

    # The account goes into the configuration; only where the provider is differs from the manual.
    text = "".join(f"    {line}\n" for line in channel.splitlines())
    text += f"    endpoint: {{url: \"{sink.tls_url}\", ca_file: \"{sink.ca}\"}}\n"
    config = e.config_file.read_text()
    config = re.sub(r"(?m)^channels:.*\n", "", config) + "channels:\n  sms-example:\n" + text
    e.config_file.write_text(config)

    # The commands of the second.
    sink.script({"path": "/v2/send"}, [{"status": 200, "json": {"code": 0, "msg": "ok", "results": [
        {"phone": "8613800000000", "code": 0, "sid": "sid-1"}]}}])
    answers = []
    for line in send.splitlines():
        words = shlex.split(line.replace("http://127.0.0.1:7700", e.url("")))
        assert words[0] == "curl"

        def taken():  # the reload is under way when it is answered
            r = subprocess.run([*words, "-s", "-S", "-w", "\n%{http_code}"], capture_output=True, text=True, timeout=60)
            body, status = r.stdout.rsplit("\n", 1)
            assert status in ("200", "202") or "there is no channel" in body, r.stdout + r.stderr
            return body if status in ("200", "202") else None
        answers.append(wait_for(taken, what=line))
    id = re.search(r'"id":\s*"([0-9A-Z]{26})"', answers[-1]).group(1)
    m = e.wait_state(id, "sent")
    assert m["attempts"][0]["provider_id"] == "sid-1" and e.pid == started
    [sent] = [r for r in sink.requests() if r.path == "/v2/send"]
    form = {k: v[0] for k, v in parse_qs(sent.body.decode()).items()}
    sign = form.pop("sign")
    assert form["phones"] == "8613800000000" and form["text"] == "Your code is 482913" and form["app"] == "demo"
    assert sign == hashlib.md5(("&".join(f"{k}={v}" for k, v in sorted(form.items())) + SECRET).encode()).hexdigest()

    # And what the provider says afterwards.
    report = b'{"reports":[{"sid":"sid-1","status":"DELIVRD"}]}'
    forged = http("POST", e.url("/v1/callbacks/sms-example"), report, headers={"X-Sign": "0" * 32})
    assert forged.status == 403 and e.message(id)["state"] == "sent"
    told = http("POST", e.url("/v1/callbacks/sms-example"), report,
                headers={"X-Sign": hashlib.md5(report + SECRET.encode()).hexdigest()})
    assert told.status == 200 and told.body == b"ok"
    e.wait_state(id, "delivered")


@pytest.mark.parametrize("lost", ["secret: {required", "answer: {", "success: "])
def test_each_line_counts(hermod, tmp_path, lost):
    """A file that lacks something says so, with line and column."""
    f = tmp_path / "example.yaml"
    f.write_text(blocks("yaml")[0].replace(lost, "x" + lost))
    r = hermod("adapters", "check", f)
    assert r.returncode == 2 and re.match(rf"{f}:\d+:\d+: ", r.stderr), r.stderr
