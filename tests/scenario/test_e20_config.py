"""Everything that can be wrong in a configuration: one sentence, file:line:column, exit code 2, at check and at run."""
import json
import os
import signal
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
from conftest import BUILD, ROOT, SLOW, free_port, http, wait_for

CHANNEL = "channels:\n  w:\n    adapter: chat/wecom-app\n    corp_id: a\n    secret: b\n    agent_id: 1\n"
HOOK = "channels:\n  h:\n    adapter: webhook/standard\n    secrets: [whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=]\n"


@pytest.fixture
def conf(hermod, tmp_path):
    """conf(text) writes the file; conf.check() and conf.run() return what they said."""
    class Conf:
        path = tmp_path / "c.yaml"

        def __call__(self, text):
            self.path.write_text(text)
            return self

        def _call(self, command, *options, env=None):
            return hermod(command, "--config", self.path, "--set", f"adapters.dir={ROOT}/adapters", *options, cwd=tmp_path,
                          env={"PATH": os.environ["PATH"], **(env or {})})

        def check(self, *options, **kw):
            return self._call("check", *options, **kw)

        def run(self, *options, **kw):
            listen = [] if "listen" in self.path.read_text() else ["--set", f"http.listen=127.0.0.1:{free_port()}"]
            return self._call("run", *listen, *options, **kw)

        def both_say(self, where, *words, lines=1, **kw):
            for r in (self.check(**kw), self.run(**kw)):
                assert r.returncode == 2, (r.args, r.returncode, r.stdout, r.stderr)
                assert r.stdout == "" and len(r.stderr.splitlines()) == lines, r.stderr
                line = r.stderr.splitlines()[0]
                assert line.startswith(f"hermod: {self.path}:{where}: " if where else "hermod: "), r.stderr
                for w in words:
                    assert w in r.stderr, r.stderr
    return Conf()


def test_empty_file_is_a_good_one(conf):
    r = conf("").check()
    assert r.returncode == 0 and "0 channels, 0 routes, 0 templates: all good" in r.stdout


@pytest.mark.parametrize("text,where,words", [
    # the file itself
    ("http:\n\tlisten: x\n", "2:1", ["a tab stands here; YAML is indented with spaces"]),
    ("http:\n  max_body: 1MB\n   max_header: 2KiB\n", "3:14", ["indented like those beside it?"]),
    ("http:\n  max_body: 1MB\n  max_body: 2MB\n", "3:3", ['"max_body" stands here twice; it is first on line 2']),
    ("http: {auth: off\n", "2:1", ["while parsing a flow mapping", "from line 1"]),
    ("http: &x {auth: off}\n", "1:7", ["anchors (&name) are not allowed"]),
    ("hello\n", "1:1", ["expected sections", "found a value"]),
    ("- a\n", "1:1", ["expected sections", "found a list"]),
    ("http: [1]\n", "1:7", ["section http: expected a map of options, found a list"]),
    # options
    ("http:\n  max_bdoy: 1MB\n", "2:3", ['unknown option in section http: "max_bdoy"', 'did you mean "max_body"?']),
    ("htpp:\n  max_body: 1MB\n", "1:1", ['unknown section "htpp"', 'did you mean "http"?']),
    ("node: {shards: many}\n", "1:16", ["node.shards: expected auto or a whole number from 1 to 256", '"many"']),
    ("node: {shards: 1000}\n", "1:16", ["node.shards: expected auto or a whole number from 1 to 256", '"1000"']),
    ("http: {header_timeout: 5 parsecs}\n", "1:24", ["a duration from 100ms to 10m", '"5 parsecs"']),
    ("http: {max_body: much}\n", "1:18", ["a size from 1KiB to 1GiB", '"much"']),
    ("http: {auth: maybe}\n", "1:14", ["one of required, off", '"maybe"']),
    ("wire: {tls_verify: perhaps}\n", "1:20", ["true or false", '"perhaps"']),
    ("log: {level: loud}\n", "1:7", ['"loud" is not a log level']),
    ("queue: {claim_after: 1s}\n", "1:9", ["at least three times queue.heartbeat"]),
    ("queue: {block: 10s}\n", "1:9", ["must be shorter than redis.command_timeout"]),
    # Redis
    ("redis: {url: 'http://x'}\n", "1:9", ["redis.url: expected embedded, or a URL that starts with redis://"]),
    ("redis: {url: 'redis://host:99999999'}\n", "1:9", ['redis.url: ', '"99999999" is not a port']),
    ("redis: {url: 'redis://'}\n", "1:9", ["redis.url: "]),
    ("redis: {binary: no-such-redis-server}\n", "1:9", ["redis.binary: the program no-such-redis-server was not found"]),
    ("redis: {url: 'rediss://h', ca_file: /no/ca}\n", "1:28", ["redis.ca_file: /no/ca cannot be read: No such file"]),
    ("redis: {cert_file: /no/cert}\n", "1:9", ["cert_file and key_file go together"]),
    # HTTP
    ("http: {listen: nonsense}\n", "1:8", ['"nonsense" is not host:port']),
    ("http: {listen: '127.0.0.1:777777'}\n", "1:8", ['"127.0.0.1:777777" is not host:port']),
    ("http: {tls_cert: /no/cert.pem}\n", "1:8", ["tls_cert and tls_key go together"]),
    ("http: {tls_cert: c.yaml, tls_key: c.yaml}\n", "1:8", ["http.tls_cert: ", "c.yaml", "not PEM"]),
    # folders
    ("log: {file: /nope/x.log}\n", "1:7", ["log.file: /nope/x.log cannot be written to: No such file"]),
    ("log: {file: /proc/version/x.log}\n", "1:7", ["log.file: /proc/version/x.log cannot be written to: Not a directory"]),
    ("node: {data_dir: /proc/version}\n", "1:8", ["node.data_dir: /proc/version is not a folder"]),
    ("node: {data_dir: /proc/version/x}\n", "1:8", ["node.data_dir: /proc/version/x cannot be written to: Not a directory"]),
    ("templates: {dir: /proc/version}\n", "1:13", ["templates.dir: /proc/version is not a folder"]),
    # channels and routes
    ("channels:\n  a: {team: x}\n", "2:6", ["channel a: names no adapter"]),
    ("channels:\n  a: {adapter: push/apsn}\n", "2:16", ['there is no adapter "push/apsn"', 'did you mean "push/apns"?']),
    ("channels:\n  a: {adapter: apns}\n", "2:16", ["channel a: adapter is written medium/name"]),
    ("channels:\n  'a b': {adapter: push/apns}\n", "2:3", ['"a b" is not a good name for a channel']),
    (CHANNEL.replace("    secret: b\n", ""), "3:5", ["channel w: secret is missing"]),
    (CHANNEL + "    colour: red\n", "7:5", ['channel w: unknown option "colour"']),
    (CHANNEL.replace("agent_id: 1", "agent_id: many"), "6:15", ["agent_id: expected a whole number", '"many"']),
    (HOOK + "    url: ftp://x\n", "5:10", ["url: the URL must begin with https:// or http://"]),
    (CHANNEL + "routes:\n  r: [x]\n", "8:7", ['there is no channel "x"']),
    (CHANNEL + "routes:\n  r: [{channel: w, on: [provider_dwon]}]\n", "8:25", ['"provider_dwon" is not an outcome', 'did you mean "provider_down"?']),
    (CHANNEL + "routes:\n  r: []\n", "8:6", ["route r: expected a list of channels"]),
])
def test_wrong_file(conf, text, where, words):
    conf(text).both_say(where, *words)


def test_missing_file_and_folder_in_its_place(hermod, tmp_path):
    for command in ("check", "run"):
        r = hermod(command, "--config", tmp_path / "none.yaml")
        assert (r.returncode, r.stderr) == (2, f"hermod: {tmp_path}/none.yaml: cannot be opened: No such file or directory\n")
        r = hermod(command, "--config", tmp_path)
        assert (r.returncode, r.stderr) == (2, f"hermod: {tmp_path}: is not a file\n")


def test_all_problems_of_a_file_are_told_at_once(conf):
    conf("http: {max_bdoy: 1}\nredis: {ulr: x}\nnode: {shards: many}\n").both_say("1:8", "max_bdoy", "ulr", "many", lines=3)


def test_two_bad_channels_are_both_told(conf):
    conf(CHANNEL.replace("    secret: b\n", "") + "  v: {adapter: push/nope}\n").both_say(None, "channel w: secret", "push/nope", lines=2)


def test_environment_and_command_line(hermod, tmp_path):
    def says(*words, env=None, sets=()):
        r = hermod("check", *(x for s in sets for x in ("--set", s)), env=env, cwd=tmp_path)
        assert r.returncode == 2 and len(r.stderr.splitlines()) == 1, r.stderr
        for w in words:
            assert w in r.stderr, r.stderr
    says("environment HERMOD_REDIS_ULR: there is no such option", env={"HERMOD_REDIS_ULR": "x"})
    says("environment HERMOD_HTTP_MAX_BODY: http.max_body: expected a size", env={"HERMOD_HTTP_MAX_BODY": "zz"})
    says('--set http.max_bdoy: there is no such option; did you mean "http.max_body"?', sets=["http.max_bdoy=1"])
    says("--set http.max_body: expected a size", '"zz"', sets=["http.max_body=zz"])


# -- secrets -----------------------------------------------------------------------------------

def test_missing_secrets_name_the_reference_and_never_a_value(conf):
    conf("redis:\n  password: ${env:NO_SUCH_SECRET}\n").both_say("2:13", "${env:NO_SUCH_SECRET}: the environment has no NO_SUCH_SECRET")
    conf("redis:\n  password: ${file:/no/such}\n").both_say("2:13", "${file:/no/such}: cannot be opened: No such file or directory")
    conf(CHANNEL.replace("secret: b", "secret: ${env:NO_SUCH_SECRET}")).both_say("5:13", "NO_SUCH_SECRET")


def test_secrets_are_never_printed(conf, tmp_path):
    (tmp_path / "secret").write_text("fromfile-5ecret\n")
    conf(f"redis:\n  url: redis://u:urlpw-5ecret@h:1\n  password: clear-5ecret\n  username: ${{env:HM_T_USER}}\n" + CHANNEL.replace("secret: b", f"secret: ${{file:{tmp_path}/secret}}"))
    env = {"HM_T_USER": "fromenv-5ecret"}
    r = conf.check("--show", env=env)
    assert r.returncode == 0 and "***" in r.stdout and "5ecret" not in r.stdout + r.stderr
    # not even where they are wrong
    for text, value in (("node:\n  shards: ${env:HM_T_USER}\n", "5ecret"), (CHANNEL.replace("agent_id: 1", "agent_id: ${env:HM_T_USER}"), "5ecret"),
                        ("redis:\n  url: nonsense://u:urlpw-5ecret@h\n", "5ecret")):
        r = conf(text).check(env=env)
        assert r.returncode == 2 and value not in r.stdout + r.stderr, r.stderr


def test_bad_key_material_is_named_not_shown(conf):
    key = "-----BEGIN PRIVATE KEY-----\\nMIGHAgEAMBMGByqGSM49-5ecret\\n-----END PRIVATE KEY-----"
    text = "channels:\n  a: {adapter: push/apns, team_id: DEF123GHIJ, key_id: ABC123DEFG, topic: t, key: \"%s\"}\n"
    for k in (key, "not a key 5ecret"):
        r = conf(text % k).check()
        assert r.returncode == 2 and ":2:" in r.stderr and "key: " in r.stderr and "5ecret" not in r.stderr, r.stderr


def test_show_says_who_set_what(conf):
    r = conf("http:\n  max_body: 1MiB\n").check("--show", "--set", "http.max_batch=7", env={"HERMOD_LOG_LEVEL": "warn"})
    said = {x.split(":")[0].strip(): x for x in r.stdout.splitlines() if ":" in x}
    assert any("max_body: 1MiB" in x and "file" in x for x in r.stdout.splitlines())
    assert "7" in said["max_batch"] and "command line" in said["max_batch"]
    assert "warn" in said["level"] and "environment" in said["level"]
    assert "default" in said["max_header"]


def test_options_are_all_documented(hermod):
    r = hermod("check", "--options")
    assert r.returncode == 0 and r.stdout.count("\n") > 100
    for o in ("redis.url", "http.max_body", "queue.partitions"):
        assert o in r.stdout


# -- templates -----------------------------------------------------------------------------------

@pytest.mark.parametrize("text,where,words", [
    ("body: |\n  fine\n  Hi ${name\n", ":3:", []),
    ("body: 'Hi <#if x>never closed'\n", ":1:", ["#if"]),
    ("bdoy: x\n", ":1:1", ["bdoy", 'did you mean "body"?']),
    ("format: pdf\nbody: x\n", ":1:", ["format: must be plain, markdown, html, json or xml"]),
    ("body: [1]\n", ":1:", ["body"]),
    ("\tbody: x\n", ":1:", ["tab"]),
    ("", ":1:", []),
])
def test_bad_template_file(conf, tmp_path, text, where, words):
    (tmp_path / "templates").mkdir()
    bad = tmp_path / "templates" / "welcome.yaml"
    bad.write_text(text)
    (tmp_path / "templates" / "good.yaml").write_text("body: x\n")
    conf("templates: {dir: ./templates}\n")
    for r in (conf.check(), conf.run()):
        assert r.returncode == 2 and len(r.stderr.splitlines()) == 1, (r.returncode, r.stdout, r.stderr)
        assert "templates/welcome.yaml" + where in r.stderr, r.stderr
        for w in words:
            assert w in r.stderr, r.stderr


# -- the machine ---------------------------------------------------------------------------------

@pytest.fixture
def outside():
    """A folder every user can reach (those of pytest, and perhaps the tree itself, are the user's own)."""
    with tempfile.TemporaryDirectory(prefix="hermod-e20-") as folder:
        os.chmod(folder, 0o755)
        shutil.copytree(ROOT / "adapters", Path(folder) / "adapters")
        yield Path(folder)


def nobody(argv, **kw):
    return subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *map(str, argv)], capture_output=True, text=True,
                          timeout=60 * SLOW, **kw)


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user")
def test_no_permission_for_the_data_directory(outside, tmp_path_factory):
    folder = tmp_path_factory.mktemp("private")  # 0700, root's
    for command in ("check", "run"):
        r = nobody([BUILD / "hermod", command, "--set", f"node.data_dir={folder}/data", "--set", f"adapters.dir={outside}/adapters",
                    "--set", f"http.listen=127.0.0.1:{free_port()}"], cwd="/")
        assert r.returncode == 2 and r.stdout == "", (r.returncode, r.stdout, r.stderr)
        assert r.stderr == f"hermod: node.data_dir: {folder}/data cannot be written to: Permission denied\n"


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user")
def test_data_directory_of_somebody_else(outside):
    for folder, says in ((outside, "cannot be written to"), (outside / "a/b", f"cannot be made: {outside}")):
        r = nobody([BUILD / "hermod", "run", "--set", f"node.data_dir={folder}", "--set", f"adapters.dir={outside}/adapters"], cwd="/")
        assert (r.returncode, r.stderr) == (2, f"hermod: node.data_dir: {folder} {says}: Permission denied\n")


def test_data_directory_too_deep_for_a_socket(conf, tmp_path):
    r = conf("").run("--set", f"node.data_dir={tmp_path}/{'d' * 90}")
    assert r.returncode == 1 and "too deep" in r.stderr.splitlines()[-1], r.stderr


def test_redis_program_that_ends_at_once(conf):
    r = conf("redis: {binary: /bin/false}\n").run()
    assert r.returncode == 1 and r.stderr.splitlines()[-1] == "hermod: the embedded redis-server exited with status 1", r.stderr


def test_tls_files_that_do_not_belong_together(conf, tmp_path):
    for n in ("a", "b"):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                        "-keyout", f"{n}.key", "-out", f"{n}.pem"], cwd=tmp_path, check=True, capture_output=True)
    conf("http: {tls_cert: a.pem, tls_key: b.key}\n").both_say("1:8", "http.tls_cert: ", "key")
    conf("http: {tls_cert: a.pem, tls_key: none.key}\n").both_say("1:25", "http.tls_key: none.key cannot be read: No such file")
    assert conf("http: {tls_cert: a.pem, tls_key: a.key}\n").check().returncode == 0


def test_unreachable_redis_is_waited_for(engine, redis):
    redis.stop()
    e = engine(redis=f"redis://127.0.0.1:{redis.port}", wait=False)

    def readyz():
        try:
            return e.get("/readyz")
        except OSError:
            return None
    a = wait_for(readyz, what="the API answers without Redis")
    assert a.status == 503 and a.headers["Content-Type"] == "application/problem+json" and "Redis" in a.json["detail"], a.body
    assert int(a.headers["Retry-After"]) >= 1
    assert e.get("/healthz").status == 200
    assert e.log().count("connection failed") <= 20, "a Redis that is away fills no logs"
    redis.restart()
    e.wait_ready()
    assert e.stop() == 0


def test_a_file_the_machine_cannot_serve_is_refused_at_reload(engine, sink, redis):
    e = engine(sink, redis)
    good = e.config_file.read_text()
    e.config_file.write_text(good.replace('level: "info"', 'level: "info"\n  file: "/nope/x.log"'))
    e.p.send_signal(signal.SIGHUP)
    wait_for(lambda: "the old one keeps running" in e.log(), what="the bad file is refused")
    assert "/nope" in e.log() and "log.file" in e.log()
    assert e.get("/readyz").status == 200


def test_default_start_needs_nothing(tmp_path, hermod):
    """No file at all: embedded Redis, ./data, the adapters of the tree; its log starts without a warning."""
    port = free_port()
    with open(tmp_path / "log", "wb") as log:
        p = subprocess.Popen([BUILD / "hermod", "run", "--set", f"http.listen=127.0.0.1:{port}"], cwd=tmp_path, stderr=log)
        try:
            def ready():
                assert p.poll() is None, (tmp_path / "log").read_text()
                try:
                    return http("GET", f"http://127.0.0.1:{port}/readyz").status == 200
                except OSError:
                    return False
            wait_for(ready, 20, "ready")
            p.terminate()
            assert p.wait(30 * SLOW) == 0
        finally:
            p.kill()
    text = (tmp_path / "log").read_text()
    assert " warn " not in text and " error " not in text, text
    assert "hermod is up" in text and (tmp_path / "data" / "ledger").is_dir()


@pytest.mark.parametrize("listen,says", [
    ("203.0.113.1:7788", "cannot listen on 203.0.113.1:7788: this machine does not have that address (http.listen)"),
    ("no-such-host.invalid:7788", "cannot listen on no-such-host.invalid:7788: addresses of this machine are given as numbers"),
    ("127.0.0.1:80", "cannot listen on 127.0.0.1:80: ports below 1024 need a permission this user does not have (http.listen)"),
])
@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user")
def test_where_nobody_can_listen(outside, listen, says):
    outside.chmod(0o777)
    r = nobody([BUILD / "hermod", "run", "--set", f"node.data_dir={outside}/data", "--set", f"adapters.dir={outside}/adapters", "--set", f"http.listen={listen}"], cwd="/")
    assert r.returncode == 1 and r.stderr.startswith(f"hermod: {says}") and len(r.stderr.splitlines()) == 1, r.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_port_in_use_is_told_before_anything_starts(tmp_path, hermod, host):
    with socket.socket(socket.AF_INET6 if host == "[::1]" else socket.AF_INET) as s:
        s.bind(("::1" if host == "[::1]" else "127.0.0.1", 0))
        s.listen()
        listen = f"{host}:{s.getsockname()[1]}"
        r = hermod("run", "--set", f"http.listen={listen}", cwd=tmp_path)
    assert (r.returncode, r.stderr) == (1, f"hermod: cannot listen on {listen}: another program uses this port (http.listen)\n")


def test_the_log_says_where_the_api_is(tmp_path):
    with open(tmp_path / "log", "wb") as log:
        p = subprocess.Popen([BUILD / "hermod", "run", "--set", "http.listen=127.0.0.1:0", "--set", "log.format=json"], cwd=tmp_path, stderr=log)
        try:
            text = wait_for(lambda: "hermod is up" in (t := (tmp_path / "log").read_text()) and t, 20, "up")
            lines = [json.loads(x) for x in text.splitlines() if "hermod is up" in x]
            assert http("GET", lines[0]["api"] + "/healthz").status == 200
            p.terminate()
            assert p.wait(30 * SLOW) == 0
        finally:
            p.kill()
    for x in (tmp_path / "log").read_text().splitlines():
        json.loads(x)


@pytest.mark.parametrize("moment", ["data/lock", "data/ledger", "data/redis/redis.log", "data/redis/redis.sock", "data/redis/appendonlydir"])
@pytest.mark.parametrize("which", ["term", "hup"])
def test_signals_while_it_starts(tmp_path, moment, which):
    """A stop that comes early is a stop; a reload that comes early is made up for."""
    port = free_port()
    conf = tmp_path / "c.yaml"
    conf.write_text(f"http: {{listen: '127.0.0.1:{port}'}}\nqueue: {{read_count: 100}}\n")
    with open(tmp_path / "log", "wb") as log:
        p = subprocess.Popen([BUILD / "hermod", "run", "--config", conf], cwd=tmp_path, stderr=log)
        try:
            while not (tmp_path / moment).exists() and p.poll() is None:
                pass
            if which == "hup":
                conf.write_text(conf.read_text().replace("100", "200"))
                p.send_signal(signal.SIGHUP)
                text = wait_for(lambda: "configuration reloaded" in (t := (tmp_path / "log").read_text()) and t, 20, "the reload")
                assert "queue.read_count" in text
            p.terminate()
            assert p.wait(30 * SLOW) == 0, (tmp_path / "log").read_text()[-3000:]
        finally:
            p.kill()
    assert not subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True).stdout, "nothing is left behind"
