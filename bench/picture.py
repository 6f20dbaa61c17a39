"""Turns a terminal's text into an SVG: ./dev run --once 2>&1 | /usr/bin/python3 bench/picture.py > bench/run.svg"""
import html
import re
import sys
import unicodedata
from pathlib import Path

WIDTH, LINE, CHAR, PAD = 112, 17, 7.8, 14


def columns(text):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def cut(text):
    out = ""
    for c in text:
        if columns(out + c) > WIDTH - 1:
            return out + "…"
        out += c
    return out


raw = re.sub(r"\x1b\[[0-9;]*m", "", sys.stdin.read()).replace(str(Path(__file__).resolve().parents[1]), "~/hermod")
lines = [cut(x.split("\r")[-1].rstrip()) for x in raw.split("\n")]
lines = ["$ ./dev run"] + [x for x in lines if not x.startswith("== ") and "ended after" not in x]
while lines and not lines[-1]:
    lines.pop()
w, h = int(WIDTH * CHAR + 2 * PAD), len(lines) * LINE + 2 * PAD
print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="img" aria-label="./dev run in a terminal">')
print(f'<rect width="{w}" height="{h}" rx="8" fill="#16181d"/>')
print('<g font-family="DejaVu Sans Mono, Menlo, Consolas, Noto Sans Mono CJK SC, monospace" font-size="13" fill="#d7dae0" xml:space="preserve">')
for i, x in enumerate(lines):
    if x:
        bold = ' fill="#8fd694"' if x.startswith(("$", "  sends", "  balance")) or "agree" in x or x.startswith("[") else ' fill="#8a919e"' if x.startswith("  #") else ""
        print(f'<text x="{PAD}" y="{PAD + (i + 1) * LINE - 4}"{bold}>{html.escape(x)}</text>')
print("</g></svg>")
