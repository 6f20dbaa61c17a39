"""The JSON Schema of adapter files: every file fits it, what the loader refuses does not."""
import copy
import json

import jsonschema
import pytest
import yaml
from conftest import ROOT

SCHEMA = json.loads((ROOT / "adapters" / "schema.json").read_text())
FILES = sorted((ROOT / "adapters").glob("*/*.yaml"))


class Core(yaml.CSafeLoader):
    """YAML 1.2 as editors read it: dates are texts."""


Core.yaml_implicit_resolvers = {k: [r for r in v if r[0] != "tag:yaml.org,2002:timestamp"]
                                for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()}


def validate(doc):
    jsonschema.Draft7Validator(SCHEMA).validate(doc)


def test_it_is_a_schema():
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert len(FILES) > 60


@pytest.mark.parametrize("file", FILES, ids=lambda f: f"{f.parent.name}/{f.stem}")
def test_every_file_fits(file):
    validate(yaml.load(file.read_text(), Core))
    validate(yaml.load(file.read_text(), yaml.CBaseLoader))  # as Hermod reads it: every scalar is a text


def objects(schema, doc, path=()):
    """Places in the document that the schema knows as an object with fixed keys."""
    if "$ref" in schema:
        schema = SCHEMA["definitions"][schema["$ref"].rsplit("/", 1)[1]]
    if isinstance(doc, dict) and schema.get("type") == "object":
        if schema.get("additionalProperties") is False:
            yield path
        for k, v in doc.items():
            more = schema.get("properties", {}).get(k) or schema.get("additionalProperties")
            if isinstance(more, dict):
                yield from objects(more, v, (*path, k))
    elif isinstance(doc, list) and isinstance(schema.get("items"), dict):
        for i, v in enumerate(doc):
            yield from objects(schema["items"], v, (*path, i))


# One file per kind of section is enough; in each every place is tried.
@pytest.mark.parametrize("name", ["chat/wecom-app", "sms/twilio", "push/fcm", "email/sendgrid"])
def test_a_word_neither_knows(name, hermod, tmp_path):
    doc = yaml.load((ROOT / "adapters" / f"{name}.yaml").read_text(), yaml.CBaseLoader)
    places = list(objects(SCHEMA, doc))
    assert len(places) > 15
    for n, path in enumerate(places):
        bad = copy.deepcopy(doc)
        at = bad
        for step in path:
            at = at[step]
        at["misspelt"] = "1"
        with pytest.raises(jsonschema.ValidationError):
            validate(bad)
        if n % 8 == 0 or len(path) < 2:  # a process for each would take long
            file = tmp_path / "x.yaml"
            file.write_text(json.dumps(bad))
            r = hermod("adapters", "check", file)
            assert r.returncode == 2 and "misspelt" in r.stderr, path
