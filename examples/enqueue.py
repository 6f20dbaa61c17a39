#!/usr/bin/python3
"""Puts messages into Hermod's queue: one message, and a chunk of three.

    examples/enqueue.py [--redis URL] [--channel NAME] [--prefix hm] [--partitions 16]

Needs python3-redis and python3-msgpack. URL as redis-py takes it: redis://host:6379/0 or
unix:///path/redis.sock (of an embedded Redis: <data_dir>/redis/redis.sock).
"""
import argparse
import time
import zlib

import msgpack
import redis


def enqueue(r, job, lane="normal", prefix="hm", partitions=16, spread=""):
    """Adds one entry. Any partition will do; spreading them lets all shards work."""
    partition = zlib.crc32(spread.encode()) % partitions
    return r.xadd(f"{{{prefix}:{partition}}}:q:{lane}", {"j": msgpack.packb(job)})


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--redis", default="redis://127.0.0.1:6379/0")
    args.add_argument("--channel", default="demo")
    args.add_argument("--prefix", default="hm")
    args.add_argument("--partitions", type=int, default=16)
    a = args.parse_args()
    r = redis.Redis.from_url(a.redis)

    entry = enqueue(r, {
        "to": "example-1",
        "channel": a.channel,
        "content": {"title": "Hello", "body": "From Python"},
    }, prefix=a.prefix, partitions=a.partitions, spread="example-1")
    print("one message:", entry.decode())

    # A chunk: everything but the recipients is shared; each may bring data of its own.
    entry = enqueue(r, {
        "rs": [
            "example-2",
            {"addr": "example-3", "data": {"name": "张三"}},
            {"addr": "example-4", "user": "u4", "locale": "zh-CN"},
        ],
        "channel": a.channel,
        "content": {"body": "Hello ${name}"},
        "render": True,
        "data": {"name": "friend"},
        "campaign": "example",
        "expires": int((time.time() + 3600) * 1000),
    }, lane="bulk", prefix=a.prefix, partitions=a.partitions, spread="chunk")
    print("a chunk of three:", entry.decode())


if __name__ == "__main__":
    main()
