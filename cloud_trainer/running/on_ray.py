"""A Ray cluster: one that is there, or one of this machine that is started and ended with the runner.

Ray (docs.ray.io) is the extra `ray`. On a cluster of several machines each must have Headwater installed, as Ray sends
functions by their names. Ray's report of usage to its makers is switched off.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from cloud_trainer.running.runner import carry_out, in_order
from headwater.contract.errors import BadSetting, Transient, Unreachable

Item = TypeVar("Item")
Result = TypeVar("Result")
_STORE_BYTES = 200 << 20  # of Ray's object store; a chunk of series is a megabyte


class RayRunner:
    """`workers` tasks at a time on the cluster at `address`; "" starts one on this machine.

    BadSetting where Ray is not installed, Unreachable where no cluster answers.
    """

    def __init__(self, workers: int, address: str = "") -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray  # noqa: PLC0415  # an extra
        except ImportError as error:
            raise BadSetting("the runner `ray` needs the package ray", hint="install the extra `ray`") from error
        self.workers, self._ray = workers, ray
        local = {"num_cpus": workers, "object_store_memory": _STORE_BYTES, "include_dashboard": False}
        try:
            ray.init(
                address=address or "local", log_to_driver=False, logging_level="error", **({} if address else local)
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            where = address or "this machine"
            raise Unreachable(f"no Ray cluster at {where}: {str(error).splitlines()[0]}") from error
        self._carry_out = ray.remote(carry_out)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ray.shutdown()

    def map(self, task: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """See `Runner.map`."""
        pickled = self._ray.put(pickle.dumps(task))
        return in_order(items, self.workers, lambda chunk: self._carry_out.remote(pickled, chunk), self._take)

    def _take(self, handle: Any) -> list[Any]:
        wrong = self._ray.exceptions
        try:
            found: list[Any] = self._ray.get(handle)
        except wrong.RayTaskError as error:
            raise error.cause from error
        except (wrong.WorkerCrashedError, wrong.OutOfMemoryError, wrong.NodeDiedError, wrong.ObjectLostError) as error:
            raise Transient(f"a worker of the Ray cluster was lost: {str(error).splitlines()[0]}") from error
        return found
