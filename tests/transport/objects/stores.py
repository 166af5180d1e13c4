"""The stores that the suite runs over, and an S3 server that ignores conditions."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from headwater.app.stack.state import S3Address
from headwater.transport.objects import FolderStore, MemoryStore, ObjectSettings, ObjectStore
from headwater.transport.objects.s3 import S3Store

KINDS = ("memory", "folder", "moto", "s3")


class _Quiet(WSGIRequestHandler):
    def log(self, *args: Any, **kwargs: Any) -> None:
        """Test output stays readable."""


class Lawless:
    """Moto's S3 behind a layer that drops the headers which make a write conditional."""

    def __init__(self) -> None:
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever)

    def _answer(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        environ.pop("HTTP_IF_NONE_MATCH", None)
        environ.pop("HTTP_IF_MATCH", None)
        answer: Iterable[bytes] = self._app(environ, start)
        return answer

    def __enter__(self) -> Lawless:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def store(self, bucket: str) -> S3Store:
        """A store in a bucket of its own."""
        endpoint = f"http://127.0.0.1:{self._server.server_port}"
        store = S3Store.of(ObjectSettings(endpoint=endpoint, bucket=bucket, access_key="key", secret_key="secret"))
        store.ensure_bucket()
        return store


def settings_of(server: S3Address) -> ObjectSettings:
    """The address of a test server as a user would set it."""
    return ObjectSettings(
        endpoint=server.endpoint,
        bucket=server.bucket,
        prefix="fleet/",
        access_key=server.access_key,
        secret_key=server.secret_key,
    )


def make_store(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """An empty store of that kind."""
    if kind == "memory":
        return MemoryStore()
    if kind == "folder":
        return FolderStore(tmp_path / "store")
    return S3Store.of(settings_of(request.getfixturevalue(kind)))
