"""Names, topics, headers, readings, alarms, rollouts: the small words."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.contract import headers, topics
from headwater.contract.alarm import AlarmRule, AlarmState, step
from headwater.contract.canonical import canonical_json
from headwater.contract.errors import BadInput, HeadwaterError
from headwater.contract.names import check_name, check_site
from headwater.contract.reading import decode, encode
from headwater.contract.rollout import Rollout, Target, decode_rollout, desired, rank, wave_size


@pytest.mark.parametrize("name", ["", "a" * 41, "Lyon", "ly.on", "ly/on", "../x", "lyon\n", "lyön"])
def test_names_are_plain(name: str) -> None:
    """What is not a plain name names nothing: no dots, slashes, capitals or line ends."""
    with pytest.raises(BadInput):
        check_name(name)


@pytest.mark.parametrize("name", ["cloud", "mm2-offsets"])
def test_reserved_names_are_no_sites(name: str) -> None:
    """The cloud and MirrorMaker's own names cannot be sites."""
    with pytest.raises(BadInput):
        check_site(name)


def test_a_replicated_topic_is_named_once() -> None:
    """The dot is the replicator's: a replicated topic cannot be replicated again."""
    assert topics.remote("lyon", topics.READINGS) == "lyon.readings"
    assert topics.local("lyon.readings") == ("lyon", "readings")
    with pytest.raises(BadInput):
        topics.remote("osaka", "lyon.readings")
    with pytest.raises(BadInput):
        topics.local("readings")


def test_every_edge_topic_answers_the_partitions_of_readings() -> None:
    """Partition n of scores, alarms, dead letters and state answers partition n of readings."""
    parts = {spec.name: spec.partitions for spec in topics.edge_topics(6)}

    assert {parts[t] for t in (topics.READINGS, topics.SCORES, topics.ALARMS, topics.DEAD_LETTERS, topics.STATE)} == {6}
    assert [s.name for s in topics.edge_topics() if s.compacted] == [topics.STATE, topics.STATUS, topics.CLOCKS]


def test_headers_have_golden_bytes() -> None:
    """The wire form of a number is big-endian int64."""
    assert headers.number(-2) == bytes.fromhex("fffffffffffffffe")
    assert headers.find_number((("a", None), (headers.PACKET_ID, headers.number(7))), headers.PACKET_ID) == 7
    assert headers.find_number((), headers.PACKET_ID) is None
    with pytest.raises(BadInput):
        headers.find_number(((headers.PACKET_ID, b"7"),), headers.PACKET_ID)
    with pytest.raises(BadInput):
        headers.find_text(((headers.REASON, b"\xff"),), headers.REASON)


def test_a_reading_has_golden_bytes() -> None:
    """The payload that the simulator publishes is the one that the documentation shows."""
    payload = encode(1763718300000, {"flow": 31.2, "current": None})

    assert payload == b'{"v":1,"t":1763718300000,"values":{"flow":31.2,"current":null}}'
    assert decode(payload).values == {"flow": 31.2, "current": None}


@pytest.mark.parametrize(
    "payload",
    [b"", b"{}", b"[]", b"\xff", b'{"t":1}', b'{"t":1,"values":{}}', b'{"t":-1,"values":{"a":1}}', b"[" * 100_000,
     b'{"t":1,"values":{"a":"x"}}', b'{"v":9,"t":1,"values":{"a":1}}', b'{"t":1e99,"values":{"a":1}}', b"x" * 300_000],
)  # fmt: skip
def test_what_is_not_a_reading_is_refused_in_words(payload: bytes) -> None:
    """Every refusal is a BadInput with a sentence."""
    with pytest.raises(BadInput, match=r"\w+ "):
        decode(payload)


@given(st.binary(max_size=200), st.integers(0, 2**31))
def test_a_mutated_reading_is_a_reading_or_bad_input(noise: bytes, seed: int) -> None:
    """Nothing else leaves the decoder, whatever the bytes."""
    payload = bytearray(encode(1763718300000, {"flow": 31.2, "current": 1.5}))
    at = random.Random(seed).randrange(len(payload))
    payload[at : at + len(noise) // 8] = noise
    try:
        decode(bytes(payload))
    except BadInput:
        return


def run(rule: AlarmRule, scores: list[float]) -> list[tuple[int, str]]:
    state, seen = AlarmState(), []
    for i, score in enumerate(scores):
        state, transition = step(rule, state, score, 1.0, f"e{i}")
        if transition:
            seen.append((i, f"{transition.kind} {transition.episode}"))
    return seen


def test_an_episode_opens_after_a_run_and_closes_after_recovery() -> None:
    """Single high scores open nothing; a score between recovery and threshold keeps an episode open."""
    rule = AlarmRule(open_after=2, close_after=2, recovery=0.8)

    assert run(rule, [2, 0, 2, 2, 0.9, 0.9, 0.5, 0.9, 0.5, 0.5, 2]) == [(3, "opened e3"), (9, "closed e3")]


def test_a_score_that_is_no_number_changes_nothing() -> None:
    """NaN neither opens nor closes, nor breaks a run."""
    assert run(AlarmRule(open_after=2), [2, math.nan, 2]) == [(2, "opened e2")]


A, B = Target(1, "a" * 64), Target(2, "b" * 64)


def rollout(**more: object) -> Rollout:
    fields = {"rollout_id": "r-1", "asset_class": "pump", "generation": 3, "target": B, "previous": A,
              "sites": ("osaka", "lyon"), "reached": 1, "state": "running", **more}  # fmt: skip
    return Rollout(**fields)  # type: ignore[arg-type]  # of the types that the fields have


def test_a_wave_reaches_the_first_sites_only() -> None:
    """The sites that a wave has not reached stay on the previous version; a pin wins over everything."""
    assert [desired(rollout(), s) for s in ("osaka", "lyon", "paris")] == [B, A, A]
    assert desired(rollout(pins={"osaka": A}), "osaka") == A
    assert desired(rollout(state="cancelled", reached=2), "lyon") == A
    assert desired(rollout(state="complete", reached=2), "paris") == B
    assert desired(rollout(previous=None), "lyon") is None


@given(st.floats(0.001, 1), st.integers(1, 500))
def test_a_wave_holds_at_least_one_site_and_its_share(share: float, sites: int) -> None:
    """ceil(share * n), at least one, never more than there are."""
    size = wave_size(share, sites)

    assert 1 <= size <= sites
    assert size >= share * sites - 1e-6


def test_ranks_differ_between_rollouts() -> None:
    """No site is always the guinea pig."""
    sites = [f"site-{i}" for i in range(20)]

    assert len({rank(f"r-{i}", sites)[0] for i in range(40)}) > 5
    assert rank("r-1", sites) == rank("r-1", list(reversed(sites)))


def test_a_rollout_document_survives_its_own_encoding() -> None:
    """Encode and decode give the same document; a truncated one is refused."""
    data = rollout().encode()

    assert decode_rollout(data) == rollout()
    with pytest.raises(BadInput):
        decode_rollout(data[:-1])
    with pytest.raises(BadInput):
        decode_rollout(rollout(reached=5).encode())


@given(st.integers(0, 2**31))
def test_a_mutated_rollout_never_raises_past_its_door(seed: int) -> None:
    """A document is read or refused as BadInput."""
    rng = random.Random(seed)
    data = bytearray(rollout().encode())
    for _ in range(rng.randrange(1, 4)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    try:
        decode_rollout(bytes(data))
    except BadInput:
        return


def test_numbers_that_json_cannot_carry_are_refused() -> None:
    """A digest over NaN would differ between readers."""
    with pytest.raises(BadInput):
        canonical_json({"a": math.nan})


def test_every_error_has_an_exit_code_of_the_table() -> None:
    """docs/exit-codes.md and the tree agree."""

    def leaves(kind: type[HeadwaterError]) -> set[int]:
        return {kind.exit_code}.union(*(leaves(k) for k in kind.__subclasses__()))

    assert leaves(HeadwaterError) <= {2, 3, 4, 5, 6, 7, 8, 70}


def test_a_value_beyond_all_sensors_counts_as_missing() -> None:
    """1e308 would make every later sum infinite; it is treated as a sensor that said nothing."""
    payload = b'{"t":1,"values":{"a":1e308,"b":-1.1e15,"c":1e15,"d":-1e15}}'
    assert decode(payload).values == {"a": None, "b": None, "c": 1e15, "d": -1e15}
