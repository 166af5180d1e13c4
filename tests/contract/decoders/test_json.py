"""`raw` and `json`: our own readings pass as they are, other JSON by paths."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headwater.contract import reading
from headwater.contract.decoders import Decoded, DecoderSpec, make
from headwater.contract.errors import BadInput
from tests.contract.decoders.examples import RECEIVED, TREE, T, decode, values


def shaped(payload: object, **options: Any) -> list[Decoded]:
    return decode({"kind": "json", **options}, json.dumps(payload).encode())


def refusal(payload: object, **options: Any) -> str:
    with pytest.raises(BadInput) as caught:
        shaped(payload, **options)
    return caught.value.reason


def test_raw_passes_on_any_bytes() -> None:
    """Not a bit is read or changed; the route decides the key and there is no time."""
    assert decode({}, b"\xff\x00") == [Decoded(b"\xff\x00", None, None)]
    assert decode({"kind": "raw"}, b"") == [Decoded(b"")]


def test_our_reading_is_checked_and_not_written_anew() -> None:
    """Blanks, order and unknown fields stay, byte for byte; the time is known."""
    payload = b' {"values": {"flow": 31.20}, "t": 1763718300000, "by": "plc"}\n'

    assert decode({"kind": "json"}, payload) == [Decoded(payload, None, T)]


def test_an_array_of_our_readings_is_one_reading_each() -> None:
    """Each element keeps its bytes."""
    payload = b'\n[ {"t":1,"values":{"a":1.50}} ,{"t":2,"values":{"a":null}}]'

    assert decode({"kind": "json"}, payload) == [
        Decoded(b'{"t":1,"values":{"a":1.50}}', None, 1),
        Decoded(b'{"t":2,"values":{"a":null}}', None, 2),
    ]
    assert decode({"kind": "json"}, b"[]") == []


@pytest.mark.parametrize(
    "payload", [b"", b"{}", b"[{}]", b"[1", b"\xff", b"7", b'{"t":1,"values":{"a":"x"}}', b"[" * 99_999]
)
def test_what_is_not_our_reading_is_refused_with_a_reason(payload: bytes) -> None:
    """The same refusals as the scorer's, before the record is written."""
    with pytest.raises(BadInput, match=r"\w+ ") as caught:
        decode({"kind": "json"}, payload)
    assert caught.value.reason == "bad-payload"


def test_every_number_below_a_path_is_a_channel() -> None:
    """Booleans count as 0 and 1, texts are no channels, and nested ones are named by their path below."""
    one = shaped(TREE, time="ts", asset="machine.id", below="data")[0]

    assert (one.asset, one.timestamp_ms) == ("pump-3", T)
    assert values(one) == {"flow": 31.2, "current": 1, "running": 1, "bearing.x[0]": 0.25, "bearing.x[1]": -0.5}


def test_what_is_time_or_asset_is_no_channel() -> None:
    """Without a path below, all of the message is looked at but for them."""
    assert values(shaped({"t": 5, "id": 7, "a": 1}, time="t", asset="id")[0]) == {"a": 1}
    assert values(shaped({"t": 5, "a": 1}, time="$.t")[0]) == {"a": 1}
    assert values(shaped({"d": {"t": 5, "a": 1}}, time="d.t", below="d")[0]) == {"a": 1}
    assert values(shaped({"t": {"seconds": 5, "nanos": 1}, "a": 1}, time="t")[0]) == {"a": 1}


def test_channels_can_be_named_one_by_one() -> None:
    """Paths go through objects and arrays; numbers in texts count; what is not there is null."""
    payload = {"a": [{"b": 1}, {"b": "2.5"}], "x.y": 3, "text": "n/a"}
    paths = {"one": "a[0].b", "last": "a[-1].b", "dotted": '["x.y"]', "gone": "a[2].b", "text": "text", "whole": "a"}

    found = values(shaped(payload, values=paths)[0])

    assert found == {"one": 1, "last": 2.5, "dotted": 3, "gone": None, "text": None, "whole": None}


def test_an_array_holds_samples_and_the_message_what_they_share() -> None:
    """Each element is a reading; a path that begins with $ is followed from the message."""
    payload = {"at": T, "id": "pump-3", "s": [{"v": 1}, {"v": 2}]}

    made = shaped(payload, samples="s", time="$.at", asset="$.id", values={"v": "v"})

    assert [(one.asset, one.timestamp_ms, values(one)) for one in made] == [
        ("pump-3", T, {"v": 1}),
        ("pump-3", T, {"v": 2}),
    ]
    assert [values(one) for one in shaped([1.5, 2.5], values={"v": ""})] == [{"v": 1.5}, {"v": 2.5}]


def test_without_a_time_the_time_of_receipt_stands_in_the_reading() -> None:
    """The reading is complete, and it is still known that the sensor gave no time."""
    one = shaped({"a": 1}, values={"a": "a"})[0]

    assert one == Decoded(reading.encode(RECEIVED, {"a": 1}), None, None)


@pytest.mark.parametrize(
    ("given", "unit", "ms"),
    [
        (1763718300, "s", 1763718300000), (1763718300.1234, "s", 1763718300123), ("1763718300.5", "s", 1763718300500),
        (T, "ms", T), (str(T), "ms", T), (T * 1000 + 999, "us", T), (T * 10**6 + 1, "ns", T), (float(T), "ms", T),
        ("2025-11-21T09:45:00Z", "iso8601", T), ("2025-11-21 10:45:00.5+01:00", "iso8601", T + 500),
        ("20251121T094500", "iso8601", T), ({"seconds": str(T // 1000), "nanos": 1_000_000}, "ms", T + 1),
    ],
)  # fmt: skip
def test_a_time_is_read_in_its_unit(given: object, unit: str, ms: int) -> None:
    """Whole numbers exactly, fractions to the nearest millisecond, ISO 8601 without a zone as UTC."""
    assert shaped({"t": given, "a": 1}, time="t", time_unit=unit)[0].timestamp_ms == ms


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns", "iso8601"])
@pytest.mark.parametrize("given", [None, True, "soon", [], {}, -1, 1e300, 10**400, "9" * 400, "0001-01-01T00:00+23:59"])
def test_what_is_no_time_is_refused(given: object, unit: str) -> None:
    """A reading at a made-up time would be worse than none."""
    assert refusal({"t": given, "a": 1}, time="t", time_unit=unit) == "bad-time"


def test_a_value_that_no_sensor_measures_is_null() -> None:
    """Too large, NaN by text, a number of a hundred digits: as if the sensor had said nothing."""
    payload = b'{"a":1e16,"b":"nan","c":-1e15,"d":' + b"9" * 100 + b',"e":"1_000","f":"' + b"9" * 100 + b'"}'

    made = decode({"kind": "json", "values": {c: c for c in "abcdef"}}, payload)

    assert values(made[0]) == {"a": None, "b": None, "c": -1e15, "d": None, "e": None, "f": None}


def test_missing_channels_are_null_left_out_or_refused() -> None:
    """As the route says; so are the numbers and texts that stand for missing."""
    payload = {"a": 1, "b": -9999, "c": "off", "d": None}
    options = {"values": {c: c for c in "abcde"}, "missing_values": [-9999, "off"]}

    assert values(shaped(payload, **options)[0]) == {"a": 1, "b": None, "c": None, "d": None, "e": None}
    assert values(shaped(payload, missing="omit", **options)[0]) == {"a": 1}
    assert refusal(payload, missing="refuse", **options) == "value-missing"
    assert refusal({"b": -9999}, missing="omit", missing_values=[-9999]) == "no-values"


def test_an_asset_is_a_name() -> None:
    """What could not be a key that others accept is refused; a number is one."""
    assert shaped({"id": 17, "a": 1}, asset="id")[0].asset == "17"
    for wrong in ("Pump 3", "../x", "", None, 1.5, -1, True, "a" * 41):
        assert refusal({"id": wrong, "a": 1}, asset="id") == "bad-asset"


def test_one_bad_sample_refuses_the_message() -> None:
    """All or nothing: the dead letter holds the whole payload, and no part of it is written too."""
    assert refusal([{"t": 1, "a": 1}, {"t": "x", "a": 1}], time="t") == "bad-time"
    assert refusal({"s": 7}, samples="s") == "bad-payload"
    assert refusal({"s": [{"note": "x"}]}, samples="s") == "no-values"


def test_bounds_hold() -> None:
    """Bytes, samples, and bytes of all readings together, also where names would multiply."""
    small = make(DecoderSpec(kind="json", max_payload_bytes=50, max_samples=2, below="v"))
    for payload, reason in ((b" " * 51, "too-large"), (b'[{"v":[1]},{"v":[1]},{"v":[1]}]', "too-many")):
        with pytest.raises(BadInput) as caught:
            small.decode("a", payload, 1)
        assert caught.value.reason == reason

    assert refusal([[1]] * 10_001, time=None, below="") == "too-many"
    assert refusal({"a": [1] * 10_001}, below="a") == "too-many"
    large = {"x" * 1000 + str(i): i for i in range(300)}
    assert refusal(large, below="", max_payload_bytes=1 << 20) == "too-large"
    long = {"names": {"x" * 1000: 1, "y" * 1000: 1}, "s": [0] * 5000}
    assert refusal(long, samples="s", below="$.names") == "too-large"
    with pytest.raises(BadInput) as caught:
        decode({"kind": "json"}, b"[" + b",".join([b'{"t":1,"values":{"a":1}}'] * 10_001) + b"]")
    assert caught.value.reason == "too-many"


def test_a_frame_of_a_registry_is_taken_off() -> None:
    """A JSON schema's frame is five bytes before the same JSON."""
    ours = reading.encode(T, {"a": 1})

    assert decode({"kind": "json", "framing": "confluent"}, b"\0\0\0\1\2" + ours) == [Decoded(ours, None, T)]
    with pytest.raises(BadInput):
        decode({"kind": "json", "framing": "confluent"}, ours)


def test_a_long_name_is_refused_before_its_children_repeat_it() -> None:
    """A name, a path to one, and all names of a sample have a bound; texts have no name."""
    for payload, reason in (
        ({"k" * 1024: 1, "x" * 5000: "text"}, ""),
        ({"k" * 1025: 1}, "too-large"),
        ({"k" * 1000: {"x" * 30: 1}}, "too-large"),
        ({"k" * 1025: {}}, "too-large"),
        ({"k" * 1000: [1] * 300}, "too-large"),
    ):
        if reason:
            assert refusal(payload, below="") == reason
        else:
            assert list(values(shaped(payload, below="")[0])) == ["k" * 1024]


def test_what_is_wrong_with_a_sample_says_which_and_what_stands_there() -> None:
    """Counted from 1, with the value and the option to look at; however large the value is, it is short."""
    options = {"time": "t", "values": {"flow": "f"}, "missing": "refuse"}
    good = {"t": T, "f": 1}
    for wrong, says, hint in (
        ({"t": "noon", "f": 1}, "sample 2: the time at 't' is not a time in ms: 'noon'", "`time_unit`"),
        ({"t": 5e18, "f": 1}, "sample 2: the time at 't' is not between 1970 and 9999: 5e+18 ms", "`time_unit`"),
        ({"t": {"a": 1}, "f": 1}, "sample 2: the time at 't' is not a time in ms: a table", "`time_unit`"),
        ({"t": T, "f": "x" * 500}, "sample 2: channel 'flow' has no usable number but 'xxx", "`missing`"),
    ):
        with pytest.raises(BadInput) as caught:
            shaped([good, wrong], **options)
        assert str(caught.value).startswith(says)
        assert hint in caught.value.hint
        assert len(str(caught.value)) <= 200
    with pytest.raises(BadInput, match="no array of samples at 'x' but a table") as caught:
        shaped({"x": {}}, samples="x", **options)
    assert "`samples`" in caught.value.hint
