"""Whether this machine is able to run Headwater at all."""

from __future__ import annotations

import platform
import resource
import shutil
import tempfile
from importlib import metadata
from pathlib import Path

from headwater.app.doctor.finding import Finding, attempt, good, warning
from headwater.contract.errors import Permanent
from headwater.transport.files import file_error
from headwater.transport.mqtt.client import KNOWN_PAHO, unknown_internals
from headwater.transport.settings import home

PACKAGES = ("paho-mqtt", "confluent-kafka", "boto3", "tuf", "numpy", "msgspec", "crc32c", "lz4", "zstandard")
LOW_DISK_BYTES = 1 << 30
FEW_FILES = 1024
IN_MEMORY = ("tmpfs", "ramfs")
_MOUNTS = Path("/proc/self/mountinfo")
_PAHO = f"pip install 'paho-mqtt=={KNOWN_PAHO[-1]}*'"


def check_installation() -> list[Finding]:
    """Python, packages, the model runtime, the state folder, the limit of open files."""
    return [
        _python(),
        attempt("packages", _packages),
        _paho(),
        attempt("model runtime", _runtime),
        attempt("folder", _folder),
        check_disk("disk", home()),
        _open_files(),
    ]


def _python() -> Finding:
    version = platform.python_version()
    return good("python", f"Headwater {_headwater()} on Python {version}, {platform.machine()}")


def _headwater() -> str:
    try:
        return metadata.version("headwater")
    except metadata.PackageNotFoundError:
        return "(not installed, run from its folder)"


def _packages() -> Finding:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            raise Permanent(f"the package {name} is not installed", hint="install headwater again") from None
    return good("packages", ", ".join(f"{name} {version}" for name, version in found.items()))


def _paho() -> Finding:
    """The MQTT wire uses names of paho that its authors may change in any release."""
    why = unknown_internals()
    if why:
        return warning("paho", f"{why}: messages are read by paho itself, at ten times the cost", _PAHO)
    return good("paho", f"paho-mqtt {metadata.version('paho-mqtt')} is one whose internals were tried")


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


def check_disk(check: str, folder: Path) -> Finding:
    """Whether what is kept there outlives a restart of the machine."""
    kind = _file_system(folder)
    if kind in IN_MEMORY:
        fix = "set HEADWATER_HOME (or state_dir) to a folder on a disk"
        return warning(check, f"{folder} is in memory ({kind}): models and trust are lost at a restart", fix)
    return good(check, f"{folder} is on {kind or 'a file system of unknown kind'}")


def _file_system(folder: Path) -> str:
    """Type of the file system that holds `folder` (proc_pid_mountinfo(5)); "" where the system does not tell."""
    try:
        lines = _MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    path, kinds = folder.resolve(), {}
    for line in lines:
        mount, _, rest = line.partition(" - ")
        kinds[mount.split()[4].replace("\\040", " ")] = rest.split()[0]  # the last mounted there is on top
    return next((kinds[str(p)] for p in (path, *path.parents) if str(p) in kinds), "")


def _open_files() -> Finding:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and limit < FEW_FILES:
        fix = f"ulimit -n {FEW_FILES}, or LimitNOFILE={FEW_FILES} in the unit"
        return warning("open files", f"a process may open {limit}: connections to many brokers may need more", fix)
    return good("open files", f"a process may open {'any number' if limit == resource.RLIM_INFINITY else limit}")
