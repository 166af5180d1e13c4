"""`scalar` and `csv`: numbers without a structure around them."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from headwater.contract.decoders import DecoderSpec, make
from headwater.contract.errors import BadInput
from tests.contract.decoders.examples import RECEIVED, T, decode, values


def scalar(payload: bytes, **options: Any) -> dict[str, float | None]:
    one = decode({"kind": "scalar", **options}, payload)[0]
    assert (one.asset, one.timestamp_ms) == (None, None)
    assert f'"t":{RECEIVED},'.encode() in one.value
    return values(one)


@pytest.mark.parametrize(
    ("text", "value"),
    [(b"31.25", 31.25), (b" -7\n", -7), (b"+.5e-3", 0.0005), (b"true", 1), (b"False", 0), (b"NaN", None),
     (b"-inf", None), (b"1e400", None), (b"5.", 5)],
)  # fmt: skip
def test_a_text_is_one_number(text: bytes, value: float | None) -> None:
    """The last word of the topic names the channel; what is not finite is null."""
    assert scalar(text) == {"flow": value}


@pytest.mark.parametrize(
    "text", [b"", b" ", b"on", b"1,5", b"1 2", b"0x10", b"1_0", b"\xff", "\uff11".encode(), b"9" * 65]
)
def test_a_text_that_is_no_number_is_refused(text: bytes) -> None:
    """Nothing is guessed."""
    with pytest.raises(BadInput) as caught:
        scalar(text)
    assert caught.value.reason == "bad-payload"


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize(
    ("encoding", "form", "value"),
    [("f32", "f", 1.5), ("f64", "d", -0.1), ("i8", "b", -3), ("i16", "h", -300), ("i32", "i", -70_000),
     ("i64", "q", -(10**12)), ("u8", "B", 200), ("u16", "H", 60_000), ("u32", "I", 4 * 10**9), ("u64", "Q", 10**15),
     ("f32", "f", float("nan")),
     ("u64", "Q", 2**64 - 1)],
)  # fmt: skip
def test_a_number_may_be_binary(encoding: str, form: str, value: float, order: str) -> None:
    """Of exactly its size, in either order; what no sensor measures is null."""
    payload = struct.pack(("<" if order == "little" else ">") + form, value)
    expected = value if abs(value) <= 1e15 else None

    assert scalar(payload, encoding=encoding, byte_order=order) == {"flow": expected}
    with pytest.raises(BadInput):
        scalar(payload + b"\0", encoding=encoding, byte_order=order)


def test_the_channel_is_an_option_or_any_word_of_the_topic() -> None:
    """A word that the topic does not have is refused."""
    assert scalar(b"1", channel="heat") == {"heat": 1}
    assert scalar(b"1", channel_word=1) == {"pump": 1}
    assert scalar(b"1,5", decimal=",") == {"flow": 1.5}
    for topic in ("a/b", "a/b/"):
        with pytest.raises(BadInput):
            make(DecoderSpec(kind="scalar", channel_word=2)).decode(topic, b"1", 1)


def test_a_topic_that_is_not_text_names_no_channel() -> None:
    """A lone surrogate, as a lenient reader makes of bad UTF-8, is refused in words."""
    with pytest.raises(BadInput, match="not text"):
        make(DecoderSpec(kind="scalar")).decode("a/\udcff", b"1", 1)


def csv(payload: bytes, **options: Any) -> list[tuple[str | None, int | None, dict[str, float | None]]]:
    return [(one.asset, one.timestamp_ms, values(one)) for one in decode({"kind": "csv", **options}, payload)]


def test_each_line_is_a_sample() -> None:
    """Columns by order, one without a name skipped; empty cells and words are missing."""
    columns = ["t", "id", "", "flow", "heat"]
    payload = f"{T},pump-3,x,1.5,\r\n\n{T + 1},pump-4,y, 2 ,bad\n".encode()

    assert csv(payload, columns=columns, time="t", asset="id") == [
        ("pump-3", T, {"flow": 1.5, "heat": None}),
        ("pump-4", T + 1, {"flow": 2, "heat": None}),
    ]


def test_the_first_line_may_name_the_columns() -> None:
    """Of every message; quotes, another separator and a comma for the fraction are understood, a BOM is not a name."""
    payload = '\ufefftime;"flow; in";heat\n2025-11-21 09:45:00;1,5;"2"\n'.encode()
    options = {"header": True, "separator": ";", "decimal": ",", "time": "time", "time_unit": "iso8601"}

    assert csv(payload, **options) == [(None, T, {"flow; in": 1.5, "heat": 2})]
    assert csv(payload, values={"f": "flow; in"}, **options) == [(None, T, {"f": 1.5})]
    assert csv(b"time;a\n", **options) == []


@pytest.mark.parametrize(
    "payload",
    [b"", b"1", b"1,2,3", b'1,"2', b'1,"2"x', b"x,2", b"\xff,1", b",2", b"1," + b"x" * 140_000],
)
def test_lines_that_do_not_fit_the_columns_are_refused(payload: bytes) -> None:
    """By line and by what was expected."""
    with pytest.raises(BadInput, match=r"\w+ "):
        csv(payload, columns=["t", "a"], time="t")


def test_a_first_line_without_the_wanted_column_is_refused_with_the_nearest() -> None:
    """The publisher's spelling is in the hint."""
    with pytest.raises(BadInput) as caught:
        csv(b"tim,a\n1,2\n", header=True, time="time")
    assert caught.value.hint == "did you mean tim?"
    with pytest.raises(BadInput):
        csv(b"a,a\n1,2\n", header=True)


def test_lines_are_bounded() -> None:
    """More lines than samples are allowed refuse the message, and long names times many lines do too."""
    with pytest.raises(BadInput) as caught:
        csv(b"1\n" * 10_001, columns=["a"])
    assert caught.value.reason == "too-many"
    with pytest.raises(BadInput) as caught:
        csv(b"x" * 100_000 + b"\n" + b"1\n" * 9000, header=True)
    assert caught.value.reason == "too-large"
