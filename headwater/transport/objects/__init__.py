"""Objects under keys: S3 and what speaks like it, or a folder (USB stick, shared disk), behind one protocol."""

from headwater.contract.errors import BadSetting
from headwater.transport.objects.folder import FolderStore
from headwater.transport.objects.memory import MemoryStore
from headwater.transport.objects.probe import probe_conditional_writes
from headwater.transport.objects.store import Head, Object, ObjectSettings, ObjectStore, check_key

__all__ = [
    "FolderStore",
    "Head",
    "MemoryStore",
    "Object",
    "ObjectSettings",
    "ObjectStore",
    "check_key",
    "open_store",
    "probe_conditional_writes",
]


def open_store(settings: ObjectSettings) -> ObjectStore:
    """The store that the settings name; nothing is asked of it yet. BadSetting for an endpoint of another kind."""
    endpoint = settings.endpoint
    if endpoint is not None and endpoint.startswith("file://"):
        return FolderStore.of(settings)
    if endpoint is not None and not endpoint.startswith(("http://", "https://")):
        raise BadSetting(f"the endpoint {endpoint!r} is not an address", hint="expected http://, https:// or file://")
    from headwater.transport.objects.s3 import S3Store  # noqa: PLC0415 # a folder store does without boto3's 35 MB

    return S3Store.of(settings)
