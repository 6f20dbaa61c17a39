"""The engine on every kind of Redis: password and ACL user, TLS, a cluster that loses a master."""
import random
import socket
import subprocess
import threading

import pytest
from conftest import SLOW, Redis, free_port, wait_for

TOKEN = "3" * 64


def one_message(e, campaign):
    e.wait_state(e.send(channel="apns-sink", to=TOKEN, content={"body": "x"}, campaign=campaign), "sent")
    e.assert_balanced(campaign)


def test_tcp_with_an_acl_user(engine, sink, tmp_path):
    (tmp_path / "acl").mkdir()
    (tmp_path / "acl" / "users").write_text("user hermod on >geheim ~{hm* &* +@all\nuser default off\n")
    r = Redis(tmp_path / "acl", "--aclfile", tmp_path / "acl" / "users")
    try:
        e = engine(sink, f"redis://127.0.0.1:{r.port}", settings={"redis": {"username": "hermod", "password": "geheim"}})
        one_message(e, "acl")
        assert "geheim" not in e.log()
    finally:
        r.stop()


def test_wrong_password_says_so_and_is_not_ready(engine, sink, tmp_path):
    r = Redis(tmp_path / "acl", "--requirepass", "right")
    try:
        e = engine(sink, f"redis://127.0.0.1:{r.port}", settings={"redis": {"password": "wrong"}}, wait=False)
        wait_for(lambda: "WRONGPASS" in e.log() or "password" in e.log(), what="the log names the reason")
        wait_for(lambda: e.alive(), what="the engine keeps trying")

        def answers():
            try:
                return e.get("/readyz").status == 503
            except OSError:
                return False
        wait_for(answers, what="not ready")
        a = e.post("/v1/messages", {"channel": "apns-sink", "to": TOKEN, "content": {"body": "x"}})
        assert a.status == 503 and int(a.headers["Retry-After"]) >= 1
    finally:
        r.stop()


def certificates(folder):
    folder.mkdir()
    run = lambda *a: subprocess.run(a, cwd=folder, check=True, capture_output=True)
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=test ca",
        "-keyout", "ca.key", "-out", "ca.pem")
    run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost",
        "-keyout", "server.key", "-out", "server.csr")
    (folder / "ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    run("openssl", "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
        "-extfile", "ext", "-out", "server.pem")
    return folder


def test_tls_is_verified(engine, sink, tmp_path):
    c = certificates(tmp_path / "certs")
    port = free_port()
    r = Redis(tmp_path / "tls", "--tls-port", port, "--tls-cert-file", c / "server.pem", "--tls-key-file", c / "server.key",
              "--tls-ca-cert-file", c / "ca.pem", "--tls-auth-clients", "no")
    try:
        e = engine(sink, f"rediss://localhost:{port}", settings={"redis": {"ca_file": str(c / "ca.pem")}})
        one_message(e, "tls")
        assert e.stop() == 0
        other = engine(sink, f"rediss://localhost:{port}", name="untrusting", wait=False)
        wait_for(lambda: "certificate" in other.log(), what="an unknown CA is refused by name")
        wait_for(lambda: "hermod is up" in other.log(), what="the engine waits for Redis")
        assert other.stop() == 0
    finally:
        r.stop()


def cluster_port():
    """A cluster node also listens 10000 higher: both must exist and be free."""
    while True:
        p = random.randrange(12000, 22000)
        try:
            for x in (p, p + 10000):
                with socket.socket() as s:
                    s.bind(("127.0.0.1", x))
            return p
        except OSError:
            pass


@pytest.fixture
def cluster(tmp_path):
    nodes = [Redis(tmp_path / f"n{i}", "--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0",
                   port=cluster_port())
             for i in range(6)]
    addresses = [f"127.0.0.1:{n.port}" for n in nodes]
    subprocess.run(["redis-cli", "--cluster", "create", *addresses, "--cluster-replicas", "1", "--cluster-yes"], check=True,
                   capture_output=True, timeout=120)
    def state(n):
        return subprocess.run(["redis-cli", "-p", str(n.port), "cluster", "info"], capture_output=True, text=True).stdout
    wait_for(lambda: all("cluster_state:ok" in state(n) for n in nodes), 60, "the cluster is up")
    yield nodes
    for n in nodes:
        n.stop()


def test_cluster_loses_a_master_while_sending(engine, sink, cluster):
    url = "redis+cluster://" + ",".join(f"127.0.0.1:{n.port}" for n in cluster[:3])
    e = engine(sink, url, settings={"redis": {"command_timeout": "20s"}})
    one_message(e, "cluster")
    total, accepted, errors = 60, [], []
    sink.knobs({"apns": {"latency": 5}})

    def produce():
        for i in range(total):
            body = [{"addr": f"{i * 50 + k:064x}"} for k in range(50)]
            while True:
                # the same idempotency key: a submission whose answer was lost may be repeated
                a = e.post("/v1/messages/batch", [{"channel": "apns-sink", "recipients": body, "content": {"body": "x"}, "campaign": "failover"}],
                           headers={"Idempotency-Key": f"batch-{i}"}, timeout=60)
                if a.status == 202:
                    accepted.append(50)
                    break
                if a.status not in (503, 409):
                    errors.append((a.status, a.body))
                    return
                threading.Event().wait(0.2)

    t = threading.Thread(target=produce)
    t.start()
    wait_for(lambda: sum(accepted) > 300, 60, "the producer is at work")
    victim = next(n for n in cluster[:3] if n.client.info("replication")["role"] == "master")
    victim.kill9()
    t.join(180 * SLOW)
    assert not t.is_alive() and not errors, errors
    r = e.wait_final(total * 50, "failover", 120)
    assert r["sent"] == total * 50, r
    assert sink.ledger()["unique"] >= total * 50 + 1
