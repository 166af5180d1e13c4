"""Whether this machine is able to run Headwater at all."""

from __future__ import annotations

import platform
import shutil
import tempfile
from importlib import metadata
from pathlib import Path

from headwater.app.doctor.finding import Finding, attempt, good, warning
from headwater.contract.errors import Permanent
from headwater.transport.files import file_error
from headwater.transport.settings import home

PACKAGES = ("paho-mqtt", "confluent-kafka", "boto3", "tuf", "numpy", "msgspec", "crc32c", "lz4", "zstandard")
LOW_DISK_BYTES = 1 << 30


def check_installation() -> list[Finding]:
    """Python, packages, the model runtime, the state folder."""
    return [_python(), attempt("packages", _packages), attempt("model runtime", _runtime), attempt("folder", _folder)]


def _python() -> Finding:
    version = platform.python_version()
    return good("python", f"Python {version} on {platform.machine()}")


def _packages() -> Finding:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            raise Permanent(f"the package {name} is not installed", hint="install headwater again") from None
    return good("packages", ", ".join(f"{name} {version}" for name, version in found.items()))


def _runtime() -> Finding:
    from headwater.transport import tflite  # noqa: PLC0415  # 50 MB that the other checks do not need

    return good("model runtime", tflite.runtime_class())


def _folder() -> Finding:
    folder = home()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            file.write(b"doctor")
            file.flush()
    except OSError as error:
        raise file_error(error, Path(folder)) from error
    free = shutil.disk_usage(folder).free
    says = f"{folder} can be written, {free / 2**30:.1f} GiB are free"
    if free < LOW_DISK_BYTES:
        return warning("folder", says, "free some space: the local log needs room while the link is down")
    return good("folder", says)
