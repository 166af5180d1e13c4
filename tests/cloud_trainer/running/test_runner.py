"""Whatever runs the work, and however many workers there are: the same results in the same order."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cloud_trainer.running.pool import ProcessPool
from cloud_trainer.running.runner import CHUNK, Kind, Runner, open_runner
from headwater.contract.errors import BadSetting, GateFailed, Transient
from tests.cloud_trainer.running import tasks
from tests.cloud_trainer.running.rays import has_ray

NEEDS_RAY = pytest.mark.skipif(not has_ray(), reason="Ray is not installed: make test-ray")
KINDS = ["pool", pytest.param("ray", marks=NEEDS_RAY)]


@pytest.fixture(scope="module", params=KINDS)
def runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    kind: Kind = request.param
    with open_runner(kind, 3) as opened:
        yield opened


def test_results_come_in_the_order_of_the_items(runner: Runner) -> None:
    """Also where later ones are done first; and more than one process has worked."""
    found = list(runner.map(tasks.slower_first, range(200)))
    assert [number for number, _ in found] == list(range(200))
    assert len({pid for _, pid in found}) > 1


def test_workers_are_started_once_and_open_the_task_once(runner: Runner) -> None:
    """A task with a network in it is unpickled once a process, not once a chunk, and processes serve the next map."""
    found = list(runner.map(tasks.Once(), range(20 * CHUNK)))
    assert {count for _, count in found} == {1}
    again = list(runner.map(tasks.slower_first, range(20 * CHUNK)))
    assert {pid for _, pid in again} & {pid for pid, _ in found}


def test_every_worker_has_one_blas_thread(runner: Runner) -> None:
    """Also of a library that the task loads: sums in another order would be other results."""
    assert {n for found in runner.map(tasks.threads, range(3 * CHUNK)) for n in found} == {1}


def test_what_the_task_raises_is_raised_here(runner: Runner) -> None:
    """With its hint; what came before it has been given out."""
    found: list[int] = []
    with pytest.raises(GateFailed, match="item 20 is refused") as raised:
        found.extend(runner.map(tasks.refused_at_20, range(100)))
    assert raised.value.hint == "leave it out"
    assert list(runner.map(tasks.refused_at_20, range(10))) == list(range(10))


def test_items_are_taken_as_they_are_needed(runner: Runner) -> None:
    """A thousand series are never pickled at once: a few chunks are ahead of the results."""
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    results = runner.map(tasks.refused_at_20, (number + 100 for number in items()))
    assert next(results) == 100
    assert len(taken) <= 12 * CHUNK


def test_a_killed_worker_is_an_error_that_says_so() -> None:
    """As the kernel kills where memory runs out: not a wait for ever, and what to do is said."""
    with ProcessPool(2) as pool:
        with pytest.raises(Transient, match="worker process of the trainer was killed") as raised:
            list(pool.map(tasks.killed_at_20, range(100)))
        assert "trainer.workers" in raised.value.hint


@pytest.mark.skipif(has_ray(), reason="Ray is installed here")
def test_without_ray_the_setting_says_what_to_install() -> None:
    """The runner `ray` is an extra."""
    with pytest.raises(BadSetting, match="needs the package ray") as raised:
        open_runner("ray")
    assert raised.value.hint == "install the extra `ray`"
