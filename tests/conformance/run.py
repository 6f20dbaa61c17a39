#!/usr/bin/env python3
"""The conformance rows through `hermod render --cases`: run.py HERMOD FILE.jsonl ...

A row is right when the output is the expected one, or the error is of the expected class; `type` and `other` count as one.
Prints a line per file and the whole; exit code 1 when a row is wrong.
"""
import json
import subprocess
import sys
from pathlib import Path

ONE = {"type": "type or other", "other": "type or other"}


def right(row, answer):
    if "error" in row:
        return not answer["ok"] and ONE.get(answer["error"], answer["error"]) == ONE.get(row["error"], row["error"])
    return answer["ok"] and answer["output"] == row["expected"]


def main(hermod, *files):
    passed = total = 0
    for file in map(Path, files):
        rows = [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
        out = subprocess.run([hermod, "render", "--cases", file], stdout=subprocess.PIPE, text=True, check=False).stdout
        answers = {a["id"]: a for a in map(json.loads, out.splitlines())}
        wrong = [r["id"] for r in rows if r["id"] not in answers or not right(r, answers[r["id"]])]
        total, passed = total + len(rows), passed + len(rows) - len(wrong)
        print(f"  {file.name:<18} {len(rows) - len(wrong):>5} of {len(rows):>5}" + (f"   wrong: {', '.join(wrong[:10])}" if wrong else ""))
    print(f"  {'all':<18} {passed:>5} of {total:>5}   {100 * passed / max(total, 1):.1f} %")
    return 0 if total and passed == total else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
