import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from keys import Keys  # noqa: E402
from sink_client import Sink  # noqa: E402


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def shared_sink(keys):
    sink = Sink("--apns-key", keys.apns_p8, "--fcm-key", keys.fcm_pem, "--fcm-project", "demo",
                "--wecom-corp", "ww1:s3cret", "--webhook-secret", keys.webhook_secret,
                "--webhook-secret", "signed=" + keys.webhook_public)
    yield sink
    sink.stop()


@pytest.fixture
def sink(shared_sink):
    shared_sink.reset()
    yield shared_sink
    shared_sink.reset()
