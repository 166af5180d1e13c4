"""The stores that the suite runs over, and an S3 server that ignores conditions."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from headwater.app.stack.runner import Runner
from headwater.app.stack.s3 import BUCKET, SeaweedFs, credentials_of
from headwater.transport.objects import FolderStore, MemoryStore, ObjectSettings, ObjectStore
from headwater.transport.objects.s3 import S3Store
from tests.services import demand

KINDS = ("memory", "folder", "moto", "seaweedfs")


class _Quiet(WSGIRequestHandler):
    def log(self, *args: Any, **kwargs: Any) -> None:
        """Test output stays readable."""


class Moto:
    """Moto's S3 in this process; `lawless` drops the headers that make a write conditional."""

    def __init__(self, *, lawless: bool = False) -> None:
        self._app = DomainDispatcherApplication(create_backend_app)
        self._lawless = lawless
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def _answer(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        if self._lawless:
            environ.pop("HTTP_IF_NONE_MATCH", None)
            environ.pop("HTTP_IF_MATCH", None)
        answer: Iterable[bytes] = self._app(environ, start)
        return answer

    def __enter__(self) -> Moto:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def store(self, bucket: str) -> S3Store:
        """A store in a bucket of its own."""
        settings = ObjectSettings(
            endpoint=self.endpoint, bucket=bucket, prefix="fleet/", access_key="key", secret_key="secret"
        )
        store = S3Store.of(settings)
        store.ensure_bucket()
        return store


@pytest.fixture(scope="session")
def moto_server() -> Iterator[Moto]:
    """Moto, for the session."""
    with Moto() as server:
        yield server


@pytest.fixture(scope="session")
def seaweedfs(service_runner: Runner) -> ObjectSettings:
    """A real SeaweedFS that keeps conditional writes apart."""
    credentials = credentials_of(service_runner.folder / "s3")
    server = SeaweedFs(credentials)
    demand(lambda: service_runner.start(server))
    return ObjectSettings(
        endpoint=f"http://{service_runner.address(server)}",
        bucket=BUCKET,
        access_key=credentials.access_key,
        secret_key=credentials.secret_key,
    )


def make_store(kind: str, request: pytest.FixtureRequest, tmp_path: Path, unique: str) -> ObjectStore:
    """An empty store of that kind."""
    if kind == "memory":
        return MemoryStore()
    if kind == "folder":
        return FolderStore(tmp_path / "store")
    if kind == "moto":
        moto: Moto = request.getfixturevalue("moto_server")
        return moto.store(unique)
    settings: ObjectSettings = request.getfixturevalue("seaweedfs")
    return S3Store.of(settings.model_copy(update={"prefix": unique + "/"}))
