"""What can be run by name, in full or quickly. Worlds run in processes of their own, two at a time."""
import concurrent.futures
import multiprocessing
from dataclasses import dataclass, field

import fleet
import hostile
import memory
import storage
import sweep
from peers import PEERS

WORKERS = 2


@dataclass
class Result:
    rows: list = field(default_factory=list)
    lines: list = field(default_factory=list)
    wrong: list = field(default_factory=list)


def quiet(text):
    pass


def in_parallel(calls):
    """[(function, args...)] -> results in the same order. Each in a fresh process, so that a world owns its children."""
    with concurrent.futures.ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("fork"), max_tasks_per_child=None) as pool:
        return [f.result() for f in [pool.submit(*c) for c in calls]]


def check_points(names, error):
    for n in (names or "").split(","):
        if n and n not in sweep.points():
            error(f"no fault point is called \"{n}\"; they are rows of engine/tbl/faults.h")


def points(quick, seed, say, only=None):
    names = only.split(",") if only else [n for n in sweep.points() if not quick or n not in sweep.ELSEWHERE]
    half = [names[i::WORKERS] for i in range(WORKERS)]
    got = in_parallel([(sweep.sweep_points, h, seed, 1 if quick else 3, f"points{i}", print_to(say), quick) for i, h in enumerate(half) if h])
    rows = sorted((r for rows, _ in got for r in rows), key=lambda r: r.name)
    missed = [m for _, ms in got for m in ms if m not in sweep.ELSEWHERE]
    wrong = [f"{m}: not reached by any load of tests/torture/traffic.py; add what passes it, or a line to ELSEWHERE in sweep.py" for m in missed]
    return Result(rows, [] if not quick else [f"  not reached: {' '.join(missed)}"] if missed else [], [] if quick else wrong)


def print_to(say):
    return None if say is quiet else PrintTo()


class PrintTo:
    """A say() that can be handed to another process."""

    def __call__(self, text):
        print(f"           {text}", flush=True)


def moments(quick, seed, say, only=None):
    kills = 16 if quick else 200
    got = in_parallel([(sweep.sweep_moments, kills // WORKERS, seed, f"moments{i}", print_to(say)) for i in range(WORKERS)])
    row = got[0][0]
    for rows in got[1:]:
        row.add(rows[0])
    return Result([row])


def redis(quick, seed, say, only=None):
    n = 2 if quick else 10
    calls = [(storage.redis_killed, "everysec", n, seed), (storage.embedded_killed, "everysec", n, seed), (storage.power_cut, 1 if quick else 5, seed),
             (storage.redis_stopped, 1 if quick else 4, 2, seed), (storage.redis_cut, 4 if quick else 40, seed)]
    if not quick:
        calls[1:1] = [(storage.redis_killed, "always", n, seed), (storage.embedded_killed, "always", n, seed)]
    return Result(in_parallel(calls), ["  everysec: a Redis that is killed loses nothing it has written to its file, which it does before it answers (unless the disk",
                                       "  is so slow that a sync is still running: then up to 2 s). When its machine dies as well, what was accepted since the last",
                                       "  sync (1 s) and still waited is lost; nothing is sent twice. appendfsync: always loses nothing in either case."])


def disk(quick, seed, say, only=None):
    n = 1 if quick else 5
    return Result(in_parallel([(storage.ledger_disk_full, n, seed), (storage.redis_disk_full, n, seed)]))


def network(quick, seed, say, only=None):
    return Result([storage.provider_cut(2 if quick else 20, seed)])


def two(quick, seed, say, only=None):
    return Result(in_parallel([(fleet.one_dies, 6 if quick else 40, seed)]))


def rolling(quick, seed, say, only=None):
    return Result(in_parallel([(fleet.rolling, 4 if quick else 20, seed)]))


def alloc(quick, seed, say, only=None):
    if quick:
        return Result([memory.alloc_sweep(seed, most=12)])
    rows = in_parallel([(memory.alloc_sweep, seed, None, (i, WORKERS), print_to(say)) for i in range(WORKERS)])
    note = "; ".join(r.note for r in rows)
    rows[0].add(rows[1]).note = note
    return Result(rows[:1])


def soak(quick, seed, say, only=None):
    return Result([memory.soak(20 if quick else 600, seed, say=say)])


def peers(quick, seed, say, only=None):
    rows, lines = hostile.hostile(list(PEERS), 2.5 if quick else 5, seed, together=quick, say=say)
    return Result([], lines, [f"{r.name}: {w}" for r in rows for w in r.wrong[:5]])


SCENES = {"points": points, "moments": moments, "redis": redis, "disk": disk, "network": network, "two": two, "rolling": rolling,
          "alloc": alloc, "soak": soak, "hostile": peers}


def run(name, quick, seed, say=quiet, only=None):
    return SCENES[name](quick, seed, say, only)
