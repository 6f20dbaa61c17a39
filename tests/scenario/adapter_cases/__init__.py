"""Every adapter's case: a message its provider takes, one that it refuses, and what the refusal means.

One file per medium; what the simulator answers stands here as the provider would say it.
"""
import importlib
import pkgutil

DEVICE = "1" * 64
OUTCOMES = ("bad_request", "invalid_recipient", "auth", "rate_limited", "retry", "provider_down", "unknown")


class Case:
    """settings of the channel; an address; the provider's yes and no (replies of a script), and what the no means.

    token: (path, reply) of the request for a token that comes first. In settings, @SINK@ stands for this channel's place at the
    simulator (also in the address), @ACCOUNT@ for the text of a Google service account, @ALIPAY_KEY@ for a private RSA key.
    opens: what makes the body readable. endpoint: function of the simulator, further members of the channel's endpoint.
    """

    def __init__(self, to, yes, no, outcome, settings=None, path="/", method="POST", special=None, options=None, has=None, token=None, opens=None,
                 endpoint=None):
        self.to, self.yes, self.no, self.outcome, self.settings = to, yes, no, outcome, settings
        self.path, self.method, self.special, self.options, self.has = path, method, special, options, has
        self.token, self.opens, self.endpoint = token, opens, endpoint or (lambda sink: {})
        assert outcome in OUTCOMES


def says(status=200, json=None, body=None, **headers):
    r = {"status": status, "accept": status < 300}
    if json is not None:
        r["json"] = json
        headers.setdefault("content_type", "application/json")
    if body is not None:
        r["body"] = body
    if headers:
        r["headers"] = {k.replace("_", "-"): v for k, v in headers.items()}
    return r


PHONE = "+8613800000000"
ROOM = "!abc:example.org"


def all_cases():
    cases = {}
    for m in pkgutil.iter_modules(__path__):
        cases.update(importlib.import_module(f"adapter_cases.{m.name}").CASES)
    return cases
