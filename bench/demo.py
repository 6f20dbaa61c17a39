"""./dev run: everything embedded, the main job at work, and hints for what to try.

Starts the provider simulator and the engine (with its own Redis), sends messages over four channels, compares the
books of both sides and prints commands that work as they stand. Stays up until Ctrl-C; with --once it tries the
hints itself and ends.
"""
import argparse
import fcntl
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from shlex import quote

sys.path.insert(0, str(Path(__file__).parent))
from stack import BUILD, ROOT, Stack, child_setup, free_port, wait_until  # noqa: E402

PORT = 7700
TOKEN = "7f" * 32
MIX = "apns=apns-sink:4,fcm=fcm-sink:3,wecom=wecom-sink:2,plain=hook-sink:1"


def say(text=""):
    print(text, file=sys.stderr, flush=True)


def usable(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def hints(s):
    api = f"http://127.0.0.1:{s.port}"
    sock = s.dir / "data" / "redis" / "redis.sock"
    message = {"channel": "apns-sink", "to": TOKEN, "template": "price-drop", "campaign": "by-hand",
               "data": {"name": "李雷", "product": "降噪耳机", "vip_level": 5, "vip_price": 799}}
    return [
        ("send one message over HTTP", f"curl -s {api}/v1/messages -H 'Content-Type: application/json' -d '{json.dumps(message, ensure_ascii=False)}'"),
        ("see a template on every channel before anything leaves",
         f"curl -s {api}/v1/templates/price-drop/preview -H 'Content-Type: application/json' -d '{json.dumps({'data': message['data']}, ensure_ascii=False)}'"),
        ("the same queue from any language: a prepared file", f"redis-cli -s {quote(str(sock))} < {quote(str(s.dir / 'one-message.redis'))}"),
        ("what became of them", f"curl -s '{api}/v1/report?campaign=by-hand'"),
        ("what the simulated provider received", f"curl -s 'http://127.0.0.1:{s.ports['control']}/control/requests?n=1'"),
        ("the books", f"{quote(str(BUILD / 'hermod'))} report --config {quote(str(s.config))}"),
    ]


def prepared_file(s):
    """An XADD in RESP, as `redis-cli < file` takes it line by line: the payload is quoted with \\x escapes."""
    message = {"channel": "apns-sink", "to": TOKEN, "content": {"title": "Hello", "body": "from redis-cli"}, "campaign": "by-hand"}
    quoted = "".join(f"\\x{b:02x}" for b in pack(message))
    (s.dir / "one-message.redis").write_text(f'XADD {{hm:0}}:q:normal * j "{quoted}"\n')


def pack(v):
    """Enough msgpack for the hint, so that the demo needs no further package."""
    if isinstance(v, dict):
        return bytes([0x80 | len(v)]) + b"".join(pack(k) + pack(x) for k, x in v.items())
    b = v.encode()
    return (bytes([0xa0 | len(b)]) if len(b) < 32 else bytes([0xd9, len(b)])) + b


TEMPLATE = """# The example of the manual: a price has dropped.
title: 降价提醒
body: |-
  尊敬的${name},您关注的${product}已降价!<#if vip_level > 3>尊享VIP专属价${vip_price}元。<#else>首单立减。</#if>
"""


def own_folder():
    """data/demo, empty and ours alone; elsewhere if a unix socket's name (107 bytes) would not fit below it."""
    folder = ROOT / "data" / "demo"
    try:
        folder.parent.mkdir(exist_ok=True)
        lock = open(folder.parent / "demo.lock", "w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if folder.exists():
            shutil.rmtree(folder)
        if len(bytes(folder)) > 80:
            folder = Path(tempfile.mkdtemp(prefix="hermod-demo-"))
        (folder / "templates").mkdir(parents=True)
    except BlockingIOError:
        sys.exit("another ./dev run is at work in this tree")
    except OSError as e:
        sys.exit(f"{e.filename}: {e.strerror}; the demonstration keeps its data there (made by another user? remove it)")
    return folder, lock


def interrupted(*_):
    raise KeyboardInterrupt


def try_hints(s):
    """The printed commands, as a reader would paste them; they send two messages."""
    for what, command in hints(s):
        r = subprocess.run(command, shell=True, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if r.returncode != 0 or not r.stdout:
            sys.exit(f"the hint does not work: {command}\n{r.stdout}{r.stderr}")
    wait_until(lambda: json.loads(s.get("/v1/report?campaign=by-hand")[1])["sent"] == 2, 20, "the messages of the hints")


def demonstrate(s, o):
    """Sends the messages and compares the books; True if both sides agree."""
    r = subprocess.run([str(BUILD / "hermod-bench"), "--redis", s.redis_url, "--http", f"http://127.0.0.1:{s.port}", "--messages",
                        str(o.messages), "--chunk", "200", "--mix", MIX, "--campaign", "demo"], preexec_fn=child_setup(None))
    if r.returncode != 0:
        sys.exit(f"hermod-bench ended with {r.returncode}; the engine's last words:\n{s.tail('engine.log')}")
    led = s.ledger()
    report = json.loads(s.get("/v1/report?campaign=demo")[1])
    agree = led["unique"] == o.messages and report["sent"] == o.messages and led["duplicates"] == 0
    print(f"\n  the provider's own count       {led['unique']:>14,}  unique, {led['duplicates']} duplicates: "
          f"{'both sides agree' if agree else 'THEY DO NOT AGREE'}", flush=True)
    return agree


def stay(s):
    """Until Ctrl-C, then drains; the exit code."""
    say("Ctrl-C ends it.")
    try:
        code = s.engine.wait()
        say(f"the engine ended by itself with {code}; its last words:\n{s.tail('engine.log')}")
        return 1
    except KeyboardInterrupt:
        for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(sig, signal.SIG_IGN)
        say("\ndraining: what is under way is finished, at most 30 s")
        code = s.stop_engine()
        say(f"the engine's exit code: {code}")
        return 0 if code == 0 else 1


def main():
    p = argparse.ArgumentParser(prog="./dev run", description=__doc__)
    p.add_argument("--once", action="store_true", help="end afterwards, exit code 0 if everything agrees")
    p.add_argument("--messages", type=int, default=1_000_000)
    p.add_argument("--shards", default="auto")
    o = p.parse_args()
    if o.messages < 1:
        p.error("--messages: at least 1")
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # also where the shell had them ignored
        signal.signal(sig, interrupted)
    folder, lock = own_folder()
    (folder / "templates" / "price-drop.yaml").write_text(TEMPLATE)
    port = PORT if usable(PORT) else free_port()
    started = time.monotonic()
    with lock, Stack(folder=folder, shards=o.shards, settings="log: {level: warn}", sink_args=["--lean-ledger"]) as s:
        s.start_engine("embedded", port=port)
        s.redis_url = f"unix://{folder}/data/redis/redis.sock"
        say(f"engine   http://127.0.0.1:{port}   (its Redis: {folder}/data/redis/redis.sock)"
            f"{'' if port == PORT else f'   port {PORT} was taken'}")
        say(f"provider {s.url}   (simulator: APNs, FCM, WeCom, webhook)")
        say(f"\n{o.messages:,} messages on four channels, through Redis, templates, TLS and the ledger:\n")
        agree = demonstrate(s, o)
        prepared_file(s)
        say("\nTry:\n")
        for what, command in hints(s):
            say(f"  # {what}\n  {command}\n")
        if not o.once:
            sys.exit(stay(s))
        try_hints(s)
        code = s.stop_engine()
        say(f"ended after {time.monotonic() - started:.1f} s, engine's exit code {code}")
        sys.exit(0 if agree and code == 0 else 1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        say("\ninterrupted")
        sys.exit(130)
