"""Message ids, and which message an id in the simulator's ledger belongs to.

Everything the producers send is built so that the simulator's id alone names the message: no list of expectations is needed to
find a copy nobody asked for.
"""
import time
import uuid

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def text(n):
    """A 128-bit number as ULID."""
    return "".join(ALPHABET[(n >> shift) & 31] for shift in range(125, -1, -5))


def number(ulid):
    n = 0
    for c in ulid:
        n = n << 5 | ALPHABET.index(c)
    return n


def new(rng):
    return int(time.time() * 1000) << 80 | rng.getrandbits(79)  # room to add 1000 without reaching the time


def of_sink(profile, key):
    """(message id, part) of what the simulator booked; part is 0 where the text is in one piece."""
    if profile == "apns":
        return text(uuid.UUID(key).int), 0
    if profile == "wecom":
        return key[1:].upper(), 0  # addresses of the WeCom channel are u<id>
    if profile == "echo":
        id, _, part = key.partition("-")
        return id, int(part or 1)
    return key, 0
