"""./dev torture [NAME...] [--seed N] [--quick] [--points A,B]: see README.md"""
import argparse
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import books  # noqa: E402
import pytest  # noqa: E402
import scenes  # noqa: E402


def main():
    a = argparse.ArgumentParser(prog="./dev torture", description="Crashes, full disks, hostile providers: is everything accepted still sent once?")
    a.add_argument("names", nargs="*", metavar="NAME", help="of: " + " ".join(scenes.SCENES))
    a.add_argument("--seed", type=int, default=int(time.time()) % 100000)
    a.add_argument("--quick", action="store_true", help="what ./dev test runs")
    a.add_argument("--points", help="only these fault points, by comma")
    o = a.parse_args()
    for n in o.names:
        if n not in scenes.SCENES:
            a.error(f"there is no \"{n}\": {' '.join(scenes.SCENES)}")
    scenes.check_points(o.points, a.error)
    names = o.names or (["points"] if o.points else list(scenes.SCENES))
    started, rows, bad = time.monotonic(), [], 0

    def say(text):
        print(f"{time.monotonic() - started:7.1f} s  {text}", flush=True)
    print(f"torture: seed {o.seed}, {' '.join(names)}", flush=True)
    for name in names:
        say(name)
        try:
            r = scenes.run(name, o.quick, o.seed, say, o.points)
        except (Exception, pytest.fail.Exception) as e:  # noqa: BLE001 - the others still run
            import traceback
            traceback.print_exc()
            r = scenes.Result(wrong=[f"{name}: {type(e).__name__}: {str(e)[:3000]}"])
        rows += r.rows
        for line in r.lines:
            print(line)
        for w in r.wrong:
            print(f"  WRONG {w}")
        bad += len(r.wrong)
    total = books.table(rows)
    bad += sum(not r.ok for r in rows)
    print(f"\n{time.monotonic() - started:.0f} s, seed {o.seed}: {total.kills} kills, {total.accepted + total.maybe} messages accepted, {total.lost} lost, "
          f"{total.marked} copies of messages with an unknown attempt, {total.unmarked} other copies: {'FAILED' if bad else 'ok'}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
