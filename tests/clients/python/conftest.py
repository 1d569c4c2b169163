"""What every Python client test uses: where to connect, how to script the fake upstream, what must not leak."""

import itertools
import json
import os
import pathlib
import sys
import urllib.request

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import run  # noqa: E402
from run import KINDS, sentence  # noqa: E402, F401

KEY = os.environ["CLIENT_KEY"]
ENGINE, FAKE, FORCED = (os.environ[name] for name in ("ENGINE_URL", "FAKE_URL", "FORCED_URL"))
KINDS_URL = os.environ["KINDS_URL"]
BARE_ENGINE, BARE_KINDS = os.environ["BARE_ENGINE_URL"], os.environ["BARE_KINDS_URL"]
CONTROL = os.environ["FAKE_CONTROL"]
EMAIL = "jane.doe@corp.com"
# With the strict profile an answer's e-mail address is masked like this, the same value always by the same number.
MASKED = os.environ["FORCED_TEXT"].replace(EMAIL, "[EMAIL_1]")
GRAMMAR = f'root ::= "{os.environ["FORCED_TEXT"]}"'

gateway_only = pytest.mark.skipif("DIRECT" in os.environ, reason="only a gateway does this")
_numbers = itertools.count()


def leaks(raw, value=EMAIL, length=6):
    """Every piece of at least `length` characters of a value that stands in the raw answer."""
    raw = raw.decode() if isinstance(raw, bytes) else raw
    pieces = (value[at : at + length] for at in range(len(value) - length + 1))
    return [piece for piece in pieces if piece in raw]


class FakeUpstream:
    """The fake upstream's control side."""

    def order(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(CONTROL + path, data, {"content-type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def script(self, **script):
        """Registers a script and gives the model name that asks for it."""
        model = f"script:python-{next(_numbers)}"
        self.order("POST", "/script", {"key": model, "script": script})
        return model

    def says(self, *pieces, **script):
        return self.script(content={"steps": [{"text": piece} for piece in pieces]}, **script)

    def requests(self, model):
        return [entry for entry in self.order("GET", "/ledger")["entries"] if entry["model"] == model]


@pytest.fixture(scope="session")
def fake():
    return FakeUpstream()


@pytest.fixture
def fresh_gateway(tmp_path):
    """A gateway of the test's own in front of the fake upstream: what a fault does to breakers stays in it."""
    processes = run.Processes(tmp_path)
    try:
        yield processes.gateway("fresh", CONTROL, KEY)
    finally:
        processes.stop()
