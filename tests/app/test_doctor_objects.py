"""What the doctor finds in a store: another clock, no bucket, no right to write."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import SecretStr

from headwater.app.doctor.finding import Finding
from headwater.app.doctor.objects import check_objects
from headwater.app.stack.state import S3Address
from headwater.transport.objects import ObjectSettings


@contextmanager
def answering(status: int, ahead_s: float | None, *, bucket_status: int = 200) -> Iterator[ObjectSettings]:
    """An HTTP server that answers objects by `status`, and whose Date is `ahead_s` from now."""

    class Answer(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            of_bucket = len(self.path.strip("/").split("/")) == 1
            self.send_response_only(bucket_status if of_bucket else status)
            self.send_header("Server", "OtherS3/7.1")
            if ahead_s is not None:
                self.send_header("Date", formatdate(time.time() + ahead_s, usegmt=True))
            self.send_header("Content-Length", "0")
            self.send_header("ETag", '"a"')
            self.end_headers()

        do_HEAD = do_PUT = do_GET = _answer

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield ObjectSettings(
            endpoint=f"http://127.0.0.1:{server.server_port}", access_key="a", secret_key=SecretStr("b"), attempts=1
        )
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def checked(settings: ObjectSettings, *, publishes: bool = False) -> dict[str, Finding]:
    return {finding.check: finding for finding in check_objects("objects", settings, publishes=publishes)}


@pytest.mark.parametrize(("ahead_s", "says"), [(3600, "ahead of"), (-120, "behind"), (10, "agrees")])
def test_the_clock_of_the_server_is_compared(ahead_s: float, says: str) -> None:
    """The Date of any answer tells; the finding names when signatures fail, and the fix."""
    with answering(200, ahead_s) as settings:
        found = checked(settings)["objects clock"]

    assert says in found.says
    assert found.state == ("good" if says == "agrees" else "warning")
    assert says == "agrees" or ("15 minutes" in found.says and "NTP" in found.fix)


def test_a_clock_that_is_wrong_is_told_where_the_server_denies(tmp_path: Path) -> None:
    """A refused signature is what a wrong clock looks like: both are told."""
    with answering(403, 3600, bucket_status=403) as settings:
        found = checked(settings)

    assert found["objects"].state == "bad"
    assert "clock" in found["objects"].fix
    assert found["objects clock"].state == "warning"
    assert found["objects version"].says == "OtherS3/7.1"
    assert found["objects bucket"].state == "good"


def test_a_server_without_a_date_has_no_known_clock() -> None:
    """Nothing is said of it that is not known."""
    with answering(200, None) as settings:
        found = checked(settings)

    assert "not known" in found["objects clock"].says


def test_a_bucket_that_is_missing_is_named(s3: S3Address) -> None:
    """On the real server: the bucket is what is wrong, and the fix is to make it."""
    settings = ObjectSettings(
        endpoint=s3.endpoint, bucket="no-such-bucket", access_key=s3.access_key, secret_key=SecretStr(s3.secret_key)
    )
    found = checked(settings)

    assert found["objects bucket"].state == "bad"
    assert "no-such-bucket" in found["objects bucket"].says
    assert "create it" in found["objects bucket"].fix


def test_a_publisher_without_the_right_to_write_is_told(tmp_path: Path) -> None:
    """A folder that cannot be made stands for keys that may only read."""
    (tmp_path / "headwater").write_text("a file where the folder should be")
    found = checked(ObjectSettings(endpoint=f"file://{tmp_path}"), publishes=True)

    assert found["objects write"].state == "bad"
    assert "cannot be written" in found["objects write"].says
    assert "objects conditional writes" not in found


def test_a_bucket_that_is_missing_is_not_made(s3: S3Address) -> None:
    """SeaweedFS makes a bucket by the first write: the doctor says that it is missing, and writes nothing."""
    settings = ObjectSettings(
        endpoint=s3.endpoint, bucket="not-made-by-us", access_key=s3.access_key, secret_key=SecretStr(s3.secret_key)
    )
    for _ in range(2):
        found = checked(settings, publishes=True)
        assert "there is no bucket" in found["objects bucket"].says
        assert "objects write" not in found
