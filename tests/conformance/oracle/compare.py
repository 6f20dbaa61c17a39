#!/usr/bin/python3
"""Renders rows with FreeMarker and with hermod, and prints where they differ. See README.md."""
import argparse
import collections
import concurrent.futures
import glob
import json
import os
import random
import re
import subprocess
import tempfile

import extensions

HERE = os.path.dirname(os.path.abspath(__file__))
JARS = "/usr/share/java/freemarker.jar"
OUTSIDE = "not part of th"  # how hermod names what the language leaves out

DATA = {"n": 42, "m": 7, "f": 2.5, "neg": -3.75, "z": 0, "s": "Maria Lopez", "e": "", "cn": "新用户", "t": True, "no": False,
        "nul": None, "xs": [3, 1, 2.5, 1], "ss": ["b", "A", "a", "10", "9"], "em": [], "h": {"a": 1, "b": {"c": "<x>&'\""}},
        "its": [{"t": "Mug", "p": 5.5, "q": 2, "on": True}, {"t": "茶", "p": 12, "q": 0, "on": False}],
        "u": {"name": "Nora", "lvl": 3, "tags": ["x", "y"]}, "d": "2025-03-07", "dt": "2025-11-11T08:05:09Z",
        "tm": "18:30:00", "html": "<a href=\"x\">it's & co</a>"}
FRAGMENTS = {"f": "[F ${n} ${(a)!'-'}]<#assign fa=1>", "sub/h": "H<#include 'i'>", "sub/i": "I", "bad": "<#if>"}


# -- the two sides --------------------------------------------------------------------

def lines(args, path, check):
    with open(path, "rb") as f:
        p = subprocess.run(args, stdin=f, stdout=subprocess.PIPE, check=False)
    if p.returncode not in check:
        raise SystemExit(f"{args[0]} ended with {p.returncode}")
    return [json.loads(s) for s in p.stdout.decode("utf-8", "surrogatepass").split("\n") if s]


def freemarker(path, classes):
    return lines(["java", "-Xss16m", "-XX:TieredStopAtLevel=1", "-cp", f"{classes}:{JARS}", "Oracle"], path, (0,))


def hermod(path, program):
    return lines([program, "render", "--cases", path], path, (0, 1))


def both(rows, opt, models=None):
    """Answers of FreeMarker (to models, if given) and of hermod."""
    paths = []
    for side in (models or rows, rows):
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl", delete=False) as f:
            for i, r in enumerate(side):
                f.write(json.dumps(dict(r, id=str(i)), ensure_ascii=False) + "\n")
        paths.append(f.name)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        a = pool.submit(freemarker, paths[0], opt.classes)
        b = pool.submit(hermod, paths[1], opt.hermod)
        answers = a.result(), b.result()
    for p in paths:
        os.unlink(p)
    if not len(answers[0]) == len(answers[1]) == len(rows):
        raise SystemExit("an answer is missing")
    return answers


def error_class(name):
    return "value" if name in ("type", "other") else name


def same(a, b):
    if a["ok"] != b["ok"]:
        return False
    return a["output"] == b["output"] if a["ok"] else error_class(a["error"]) == error_class(b["error"])


def counts(a, b):
    """Not what takes too long, cuts a character in two, or is outside of the language."""
    if a.get("error") in ("timeout", "limit"):
        return False
    if a["ok"] and any(0xD800 <= ord(c) < 0xE000 for c in a["output"]):
        return False
    return b["ok"] or not (OUTSIDE in b["message"] or "the template takes" in b["message"])


# -- rows -----------------------------------------------------------------------------

def known(name="templates/*.jsonl"):
    rows = []
    for path in sorted(glob.glob(os.path.join(HERE, "..", name))):
        with open(path) as f:
            rows += [json.loads(s) for s in f if s.strip() and '"group": "ext-' not in s]
    return rows


class Grammar:
    def __init__(self, rnd, depth=7):
        self.rnd, self.depth, self.rules = rnd, depth, {}
        with open(os.path.join(HERE, "grammar.txt")) as f:
            for line in f:
                if line[0] != "#":
                    name, rest = line.rstrip("\n").split(": ", 1)
                    self.rules[name] = rest.replace("␤", "\n").replace("␉", "\t").split(" ¦ ")
        with open(os.path.join(HERE, "../../../engine/tmpl/builtins.h")) as f:
            self.rules["bi"] = re.findall(r'^HM_BI(?:_X)?\(\w+, "(\w+)"(?!.*BI_OUT)', f.read(), re.M)
        self.areas = [n for n in self.rules if n[0].isupper() and len(n) > 2]

    def text(self, name, depth=0):
        alternatives = self.rules[name]
        chosen = alternatives[0] if depth > self.depth else self.rnd.choice(alternatives)
        return re.sub("«(\\w+)»", lambda m: self.text(m[1], depth + 1), chosen)

    def row(self, areas):
        return {"template": self.text(self.rnd.choice(areas or self.areas)), "data": DATA, "fragments": FRAGMENTS}


TOKEN = re.compile(r"""<#--.*?-->|</?[#@][\w.]*|/?>|\$\{|\}|r?"(?:[^"\\]|\\.)*"|r?'(?:[^'\\]|\\.)*'|\?\??[a-z_]*"""
                   r"""|[^\W\d]\w*|\d+(?:\.\d+)?|\s+|&&|\|\||[=!<>+\-*/%]=|\.\.[<!*]?|->|.""", re.S)


class Mutations:
    """The known rows, changed a little: the cases nobody thought of are near those somebody did."""

    def __init__(self, rnd, grammar):
        self.rnd, self.rows, self.g = rnd, known(), grammar
        self.tokens = [t for r in self.rows for t in TOKEN.findall(r["template"])]
        self.exprs = [e for r in self.rows for e in re.findall(r"\$\{([^{}]*)\}", r["template"])]

    def swap(self, tokens, pattern, new):
        at = [i for i, t in enumerate(tokens) if re.fullmatch(pattern, t, re.S)]
        if at:
            tokens[self.rnd.choice(at)] = new

    def change(self, tk):
        rnd, g = self.rnd, self.g
        i, j = sorted((rnd.randrange(len(tk)), rnd.randrange(len(tk) + 1)))
        what = rnd.randrange(10)
        if what == 0:
            self.swap(tk, r"\?[a-z_]+", "?" + rnd.choice(g.rules["bi"]))
        elif what == 1:
            self.swap(tk, r"r?[\"'].*", g.text("lit"))
        elif what == 2:
            self.swap(tk, r"\d.*", g.text("num"))
        elif what == 3:
            self.swap(tk, r"[a-z]\w*", rnd.choice(list(DATA)))
        elif what == 4:
            tk.insert(i, g.text("w"))
        elif what == 5:
            del tk[i]
        elif what == 6:
            tk[i] = rnd.choice(self.tokens)
        elif what == 7:
            self.swap(tk, r"[a-z]\w*|\d.*|[\"'].*", f"({rnd.choice(self.exprs)})")
        elif what == 8:
            tk.insert(rnd.choice((0, i, len(tk))), g.text("piece", 5))
        else:
            wrap = rnd.choice((("<#if t>", "</#if>"), ("<#list xs as q>", "</#list>"), ("<#compress>", "</#compress>"),
                               ("<#assign q>", "</#assign>${q}"), ("<#macro q>", "</#macro><@q/>"),
                               ("<#attempt>", "<#recover>E</#attempt>"), ("<#escape q as q?html>", "</#escape>"),
                               ('<#outputformat "XML">', "</#outputformat>"), ("(", ")")))
            tk.insert(j, g.text("w") + wrap[1])
            tk.insert(i, wrap[0] + g.text("w"))

    def row(self, _):
        old = self.rnd.choice(self.rows)
        row = {k: old[k] for k in ("template", "format", "locale", "timezone", "fragments") if k in old}
        row["data"] = {**DATA, **old["data"]}
        for _ in range(self.rnd.choice((1, 1, 1, 2, 2, 3))):
            tk = TOKEN.findall(row["template"])
            if tk:
                self.change(tk)
            row["template"] = "".join(tk)
        return row


def vary(rnd, row):
    if "format" not in row or rnd.random() < 0.1:
        row["format"] = rnd.choice(("plain", "plain", "html", "xml", "json"))
    if rnd.random() < 0.1:
        row["locale"] = "zh_CN"
    if rnd.random() < 0.1:
        row["timezone"] = rnd.choice(("GMT+08:00", "GMT-03:30"))
    return row


# -- reports --------------------------------------------------------------------------

def shown(a):
    return repr(a["output"])[:160] if a["ok"] else f"{a['error']}: {a['message'].splitlines()[0][:160] if a['message'] else ''}"


def reduce(row, opt):
    """The shortest template still told apart, by leaving out pieces."""
    for _ in range(12):
        tk = TOKEN.findall(row["template"])
        shorter = [dict(row, template="".join(tk[:i] + tk[i + n:])) for n in {1, 2, 3, 4, 8, len(tk) // 4, len(tk) // 2} if n
                   for i in range(0, len(tk), (n + 1) // 2)]
        if not shorter:
            break
        fails = [r for r, a, b in zip(shorter, *both(shorter, opt)) if not same(a, b) and counts(a, b)]
        if not fails:
            break
        row = min(fails, key=lambda r: len(r["template"]))
    return row


def report(found, opt):
    kinds = collections.defaultdict(list)
    for row, a, b in found:
        kinds[tuple(re.sub(r"\d+|\".*?\"|'.*?'|`.*?`", "_", shown(x))[:50] if not x["ok"] else "ok" for x in (a, b))].append((row, a, b))
    for kind in sorted(kinds.values(), key=len, reverse=True)[:opt.show]:
        row, a, b = min(kind, key=lambda f: len(f[0]["template"]))
        if opt.reduce:
            row = reduce(row, opt)
            (a,), (b,) = both([row], opt)
        print(f"{len(kind)} like {row['template']!r} ({row.get('format')} {row.get('locale', '')} {row.get('timezone', '')})")
        print(f"    FreeMarker {shown(a)}\n    hermod     {shown(b)}")


def run(opt):
    rnd = random.Random(opt.seed)
    grammar = Grammar(rnd)
    source = Mutations(rnd, grammar) if opt.what == "known" else grammar
    found, done = [], 0
    while done < opt.rows:
        n = min(20000, opt.rows - done)
        models = None
        if opt.what in ("gt", "braces"):
            pairs = [extensions.pair(rnd, opt.what) for _ in range(n)]
            rows, models = [p[0] for p in pairs], [p[1] for p in pairs]
        else:
            rows = [vary(rnd, source.row(opt.area)) for _ in range(n)]
        for row, a, b in zip(rows, *both(rows, opt, models)):
            if not same(a, b) and counts(a, b) and ".now" not in row["template"]:
                found.append((row, a, b))
        done += n
    print(f"{done} rows, {len(found)} differ (seed {opt.seed})")
    report(found, opt)
    return 1 if found else 0


def calibrate(opt):
    bad = 0
    rows = known() + known("more.jsonl")
    for row, a, _ in zip(rows, *both(rows, opt)):
        right = a.get("output") == row["expected"] if "expected" in row else error_class(a.get("error")) == error_class(row["error"])
        if not right:
            print(row["id"], shown(a))
            bad += 1
    print(f"{len(rows)} rows, FreeMarker disagrees with {bad}")
    return 1 if bad else 0


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("what", choices=("calibrate", "known", "grammar", "gt", "braces"))
    p.add_argument("--rows", type=int, default=20000)
    p.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    p.add_argument("--area", action="append", help="of grammar.txt; may be repeated")
    p.add_argument("--show", type=int, default=20, help="kinds of difference to print")
    p.add_argument("--reduce", action="store_true", help="shorten what is printed")
    p.add_argument("--hermod", default=os.path.join(HERE, "../../../build/release/hermod"))
    opt = p.parse_args()
    with tempfile.TemporaryDirectory() as opt.classes:
        subprocess.run(["javac", "-nowarn", "-Xlint:none", "-cp", JARS, "-d", opt.classes, os.path.join(HERE, "Oracle.java")],
                       check=True, stderr=subprocess.DEVNULL)
        raise SystemExit(calibrate(opt) if opt.what == "calibrate" else run(opt))


if __name__ == "__main__":
    main()
