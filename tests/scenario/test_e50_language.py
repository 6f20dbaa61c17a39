"""The language guide tells the truth: every example of engine/tmpl/LANGUAGE.md is rendered."""

import json
import re

from conftest import ROOT

GUIDE = ROOT / "engine/tmpl/LANGUAGE.md"


def examples():
    text = GUIDE.read_text()
    data = json.loads(re.search(r"```json\n(.*?)```", text, re.S).group(1))
    for line in text.splitlines():
        if not (line.startswith("| `") and line.endswith(" |")):
            continue
        template, wanted = [c.strip() for c in re.split(r"(?<!\\) \| ", line[2:-2], maxsplit=1)]
        yield template.strip("`").replace("\\|", "|"), None if wanted == "error" else wanted.strip("`"), data


def test_every_example_of_the_guide(hermod, tmp_path):
    rows = list(examples())
    assert len(rows) > 30
    cases = tmp_path / "guide.jsonl"
    cases.write_text("".join(
        json.dumps({"id": str(i), "template": t, "data": d, "format": "plain"}, ensure_ascii=False) + "\n"
        for i, (t, _, d) in enumerate(rows)))
    answers = [json.loads(line) for line in hermod("render", "--cases", cases).stdout.splitlines()]
    wrong = [(t, w, a) for (t, w, _), a in zip(rows, answers, strict=True) if (a["output"] if a["ok"] else None) != w]
    assert not wrong
