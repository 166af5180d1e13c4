"""What a route may say of its decoder, and what docs/decoders.md says of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.contract.decoders import DecoderSpec, make, reasons, spec
from headwater.contract.decoders.paths import parse
from headwater.contract.decoders.quantities import MAX_TEXT_CHARACTERS
from headwater.contract.decoders.shape import MAX_CHANNELS, MAX_READINGS_BYTES, MAX_SHARED
from headwater.contract.errors import BadInput, BadSetting
from headwater.contract.sparkplug import outcome
from headwater.transport.setting_names import allowed

PAGE = Path(__file__).parents[3] / "docs/decoders.md"


def test_the_default_reads_nothing() -> None:
    """The hot path is what one gets without asking."""
    assert DecoderSpec().kind == "raw"


@pytest.mark.parametrize(
    ("table", "words", "hint"),
    [
        ({"kind": "jsn"}, "no decoder 'jsn'", "did you mean json?"),
        ({"kind": ["json"]}, "no decoder", ""),
        ({"kind": "json", "time_units": "s"}, "no option 'time_units'", "did you mean time_unit?"),
        ({"kind": "json", "separator": ";"}, "`separator` has no effect on json", ""),
        ({"kind": "raw", "time": "t"}, "no effect on raw", ""),
        ({"kind": "json", "time": "a..b"}, "is no path", ""),
        ({"kind": "json", "values": {"a": "b[x]"}}, "is no path", ""),
        ({"kind": "json", "values": {"a": ".".join("a" * 40)}}, "at most 32", ""),
        ({"kind": "json", "values": {"a": "b"}, "below": "c"}, "give one of them", ""),
        ({"kind": "json", "time": "t", "time_unit": "min"}, "time_unit", ""),
        ({"kind": "csv"}, "either `columns` or `header`", ""),
        ({"kind": "csv", "columns": ["a", "b"], "time": "tim"}, "no column 'tim'", ""),
        ({"kind": "csv", "columns": ["a", "a"]}, "named twice", ""),
        ({"kind": "csv", "columns": ["a"], "decimal": ","}, "cannot be the separator", ""),
        ({"kind": "csv", "columns": ["a"], "separator": "ab"}, "separator", ""),
        ({"kind": "protobuf"}, "needs `message` and `schema_name`", ""),
        ({"kind": "avro"}, "needs `schema_name`", ""),
        ({"kind": "avro", "schema_name": "a", "framing": "confluent"}, "not both", ""),
        ({"kind": "json", "max_payload_bytes": 0}, "max_payload_bytes", ""),
        ({"kind": "json", "max_samples": 10_001}, "max_samples", ""),
    ],
)
def test_a_spec_without_sense_is_refused_in_words(table: dict[str, Any], words: str, hint: str) -> None:
    """With the nearest right name where a name is wrong."""
    with pytest.raises(BadSetting, match=words) as caught:
        DecoderSpec.of(table)
    assert hint in caught.value.hint


def test_a_schema_that_is_not_there_is_named_with_the_nearest() -> None:
    """Before the first message."""
    with pytest.raises(BadSetting) as caught:
        make(DecoderSpec(kind="avro", schema_name="pmp"), {"pump": b'"double"'})
    assert caught.value.hint == "did you mean pump?"


@pytest.mark.parametrize(
    ("kind", "package"), [("cbor", "cbor2"), ("avro", "fastavro"), ("protobuf", "google.protobuf")]
)
def test_a_missing_library_is_answered_with_the_extra(kind: str, package: str) -> None:
    """An edge without the extra starts, decodes JSON, and says what to install for the rest."""
    code = (
        "import sys\n"
        f"sys.modules[{package!r}] = None\n"  # as Python itself marks what cannot be imported
        "from headwater.contract.decoders import DecoderSpec, make\n"
        "from headwater.contract.errors import BadSetting\n"
        "make(DecoderSpec(kind='json')).decode('a', b'{\"t\":1,\"values\":{\"a\":1}}', 1)\n"
        f"spec = DecoderSpec.model_construct(kind={kind!r})\n"
        "try: make(spec)\n"
        "except BadSetting as error: print(error, '|', error.hint)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout

    assert f"the decoder {kind} needs the Python package {package}" in said
    assert "headwater[decoders]" in said


def test_codec_libraries_are_loaded_by_the_routes_that_need_them() -> None:
    """An edge that reads JSON does not pay for the others."""
    code = (
        "import sys\n"
        "from headwater.contract.decoders import DecoderSpec, make\n"
        "for kind in ('raw', 'json', 'scalar'): make(DecoderSpec(kind=kind))\n"
        "print([m for m in ('cbor2', 'fastavro', 'google.protobuf') if m in sys.modules])\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


@given(st.text(max_size=40))
def test_any_text_is_a_path_or_refused(text: str) -> None:
    """And a path finds something or nothing, in anything."""
    try:
        path = parse(text)
    except ValueError:
        return
    for tree in ({text: 1}, [1, [2]], {"a": {"b": [1]}}, "text", 5, None):
        path.find(tree, tree)


def test_paths_are_followed_from_the_sample_or_the_message() -> None:
    """The examples of the documentation."""
    message, sample = {"id": 7, "s": []}, {"a": {"b": [{"c": 1}]}, "x.y": 2, "l": [3, 4]}

    found = [parse(text).find(message, sample) for text in ("a.b[0].c", '["x.y"]', "l[-1]", "$.id", "l[2]", "a.z.q")]

    assert found == [1, 2, 4, 7, None, None]


def test_a_refusal_can_be_written_into_a_header() -> None:
    """Short, and UTF-8, whatever the payload made it say."""
    error = reasons.refused(reasons.BAD_PAYLOAD, "\udcff" * 500)

    assert isinstance(error, BadInput)
    assert len(str(error).encode()) == 200


def page() -> str:
    """docs/decoders.md as the code itself would write it; run this module to write it anew."""
    lines = [
        "# Decoders",
        "A route's decoder says what its payloads mean. `raw` passes them on unread. `json` without further options",
        "takes our own reading, or an array of them, and passes each on byte for byte once it was checked. All others",
        'make readings (`{"v":1,"t":...,"values":{...}}`) of what they find. NaN, infinities and numbers beyond 1e15',
        "become null.",
        "",
        'A path looks like `a.b[0].c` (`[-1]` is the last, `["a.b"]` a key with other characters) and is followed from',
        "the sample; one that begins with `$` from the whole message. `cbor`, `avro` and `protobuf` need",
        "`pip install 'headwater[decoders]'`.",
        "",
        "`sparkplug-b` is for a route of Sparkplug B 3.0, one a bridge: `decoder = { kind = 'sparkplug-b' }`, and the",
        "class of the assets as `asset_class`. Its `match` is `spBv1.0/#` when it is left out, or `spBv1.0/<group>/#`.",
        "Each edge node and each device is an asset. Readings go where the route says, births and stale intervals to",
        "`sparkplug-events`, and the tables of the births to `sparkplug-states`, so that a restart asks nobody for a",
        "birth. The bridge's user must be allowed to publish `spBv1.0/+/NCMD/+` (roles active and primary) and",
        "`spBv1.0/STATE/<host_id>` (primary). Such a route needs `edge.bridge.ack_after = 'kafka'`: with the spool",
        "it is refused, because messages that wait for others are not spooled ([adr/sparkplug.md](adr/sparkplug.md)).",
        "",
        "## Options",
        "| option | default | values | decoders | meaning |",
        "|---|---|---|---|---|",
    ]  # fmt: skip
    for name, field in DecoderSpec.model_fields.items():
        kinds = ", ".join(kind for kind, options in spec.OPTIONS.items() if name in options) or "all"
        kinds = "all" if kinds == ", ".join(spec.OPTIONS) else kinds
        default = "none" if field.default in (None, "", (), {}) else f"`{field.default}`"
        lines.append(f"| `{name}` | {default} | {allowed(field)} | {kinds} | {field.description} |")
    lines += [
        "",
        "## Refusals",
        "A message is decoded as a whole or refused as a whole; what is refused becomes a dead letter with one",
        "of these codes and a sentence. No message holds the bridge for long: a sample has at most",
        f"{MAX_CHANNELS} channels, a message at most {MAX_READINGS_BYTES >> 20} MiB of readings, and where `below`",
        "begins with `$`, so that every one of `samples` takes the same channels, samples times channels are at most",
        f"{MAX_SHARED} (0.1 s of work). A text of more than {MAX_TEXT_CHARACTERS} characters is no number and no time.",
        "",
        "| reason | meaning |",
        "|---|---|",
    ]
    lines += [f"| `{code}` | {meaning} |" for code, meaning in reasons.REASONS.items()]
    lines += ["", "Those of `sparkplug-b`:", "", "| reason | meaning |", "|---|---|"]
    lines += [f"| `{code}` | {meaning} |" for code, meaning in outcome.REASONS.items()]
    return "\n".join([*lines, ""])


def test_every_option_and_reason_is_documented() -> None:
    """docs/decoders.md is what the code says; `python -m tests.contract.decoders.test_spec` writes it."""
    assert PAGE.read_text() == page()
    assert [name for name, field in DecoderSpec.model_fields.items() if not field.description] == []


if __name__ == "__main__":
    PAGE.write_text(page())
