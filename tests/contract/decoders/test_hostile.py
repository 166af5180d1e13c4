"""Hostile and careless publishers: whatever the bytes, a decoder gives readings or BadInput, in bounded memory."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.contract import reading
from headwater.contract.decoders import Decoder, DecoderSpec, make
from headwater.contract.decoders.reasons import REASONS
from headwater.contract.errors import BadInput
from tests.contract.decoders.bombs import bombs
from tests.contract.decoders.examples import EXAMPLES, TOPIC, Example

DECODERS = {example.name: example.decoder() for example in EXAMPLES}
RECEIVED = 1763718300250
MUTATIONS = 800  # of each example: about 10,000 in all


def survives(decoder: Decoder, payload: bytes, *, reads: bool = True) -> bool:
    """Whether it was decoded; anything but a refusal in words, or a reading that others cannot read, fails."""
    try:
        made = decoder.decode(TOPIC, payload, RECEIVED)
    except BadInput as error:
        made, refused = (), error
    else:
        refused = None
    assert refused is None or (refused.reason in REASONS and str(refused).encode())
    for one in made if reads else ():
        found = reading.decode(one.value)
        assert one.timestamp_ms is None or one.timestamp_ms == found.t
    return refused is None


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_every_example_is_decoded(example: Example) -> None:
    """What the mutations begin with is valid."""
    assert survives(DECODERS[example.name], example.payload, reads=example.name != "raw")


def mutated(rng: random.Random, payload: bytes) -> bytes:
    """A few bytes changed, cut out, doubled or added; numbers made extreme."""
    data = bytearray(payload)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(6):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del data[at : at + rng.randrange(1, 9)]
            case 2:
                data[at:at] = data[rng.randrange(len(data) + 1) :][:40]
            case 3:
                data[at : at + 1] = rng.choice([b"\xff" * 9, b"\x00", b"\x80\x80\x80\x80\x01", b"\x7f\xf0\0\0\0\0\0\0"])
            case 4:
                data[at:at] = rng.choice(
                    [b"9" * 400, b"-1e999", b"NaN", b"[" * 200, b'"', b"{", b"\xed\xa0\x80", b"\\ud800"]
                )
            case _:
                data = data[:at]
    return bytes(data)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_a_mutated_message_is_decoded_or_refused(example: Example) -> None:
    """Nothing but BadInput with a known reason leaves a decoder, and what it makes the scorer can read."""
    rng = random.Random(4711)
    decoder = DECODERS[example.name]

    done = [survives(decoder, mutated(rng, example.payload), reads=example.name != "raw") for _ in range(MUTATIONS)]

    assert len(done) == MUTATIONS
    assert example.name == "raw" or 0 < sum(done) < MUTATIONS  # both ends of the test were reached


@pytest.mark.parametrize("name", [name for name in DECODERS if name != "raw"])
@given(payload=st.binary(max_size=300))
def test_any_bytes_are_decoded_or_refused(name: str, payload: bytes) -> None:
    """Of any format, framed or not."""
    survives(DECODERS[name], payload)
    survives(DECODERS[name], b"\0\0\0\0\x07" + payload)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


@given(tree=_JSON, key=st.sampled_from(["ts", "machine", "data", "s", "t"]))
def test_any_json_is_decoded_or_refused(tree: object, key: str) -> None:
    """Also NaN as Python writes it, lone surrogates, and numbers without end."""
    for document in (tree, {key: tree}, {"ts": 5, "machine": {"id": "a"}, "data": tree}, {"t": 5, "s": tree}):
        for name in ("json", "json samples", "readings"):
            survives(DECODERS[name], json.dumps(document).encode())


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_sixteen_megabytes_are_refused_unread(example: Example) -> None:
    """In the time of a comparison."""
    payload = example.payload + bytes(16 << 20)
    began = time.perf_counter()

    assert not survives(DECODERS[example.name], payload)

    assert time.perf_counter() - began < 0.1


BOMBS = """
import resource, sys, time
from tests.contract.decoders.bombs import bombs

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
for name, decoder, payload in bombs():
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        decoder.decode("a/b", payload, 1)
        outcome = "decoded"
    except Exception as error:
        outcome = type(error).__name__
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    print(f"{name}\\t{outcome}\\t{grown}\\t{time.perf_counter() - began:.3f}", flush=True)
"""


def test_no_message_fills_the_memory_or_stalls_the_process() -> None:
    """Nesting, declared lengths, shared references, colliding keys, endless digits: in a process of their own."""
    ran = subprocess.run([sys.executable, "-c", BOMBS], check=False, capture_output=True, text=True, timeout=120)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    rows = [line.split("\t") for line in ran.stdout.splitlines()]
    assert len(rows) > 25
    assert {outcome for _, outcome, _, _ in rows} == {"decoded", "BadInput"}
    assert [row for row in rows if int(row[2]) > 100] == []  # MiB
    assert [row for row in rows if float(row[3]) > 3] == []  # seconds, on a machine that does other things too


def test_what_all_samples_share_is_looked_at_once() -> None:
    """Thousands of samples times thousands of nodes of the whole message would hold the loop for minutes."""
    tried = [(name, decoder, payload) for name, decoder, payload in bombs() if "shared" in name]
    for name, decoder, payload in tried:
        began = time.process_time()
        survives(decoder, payload, reads=False)
        assert time.process_time() - began < 0.4, name  # seconds: a quarter of it on an idle machine
    assert len(tried) > 5


def test_samples_times_shared_channels_have_a_bound() -> None:
    """At the bound they are read; beyond it the refusal says what is too much, and what to do."""
    decoder = make(DecoderSpec.of({"kind": "json", "samples": "s", "below": "$.b", "missing": "omit"}), {})
    shared = [1, *[None] * 99]

    assert len(decoder.decode(TOPIC, json.dumps({"s": [0] * 2000, "b": shared}).encode(), RECEIVED)) == 2000
    with pytest.raises(BadInput, match=r"2001 samples times 100 channels below '[$].b', at most 200000") as refusal:
        decoder.decode(TOPIC, json.dumps({"s": [0] * 2001, "b": shared}).encode(), RECEIVED)
    assert refusal.value.reason == "too-many"
    assert "fewer samples" in refusal.value.hint
