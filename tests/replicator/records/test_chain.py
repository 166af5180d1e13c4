"""What rules do with records, without a broker."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from pydantic import ValidationError

from headwater.contract.errors import BadSetting
from headwater.transport.kafka_batch import Out, Record, batches, encode, records
from replicator.records import thinning
from replicator.records.chain import Chain, Tally
from replicator.records.choosing import chain_of
from replicator.records.paths import edited, found_at, parts_of
from replicator.records.settings import RecordRule, rules_of
from replicator.settings import ReplicatorSettings

ENDS = {"source": {"brokers": "a:1"}, "target": {"brokers": "b:1"}}


def record(value: Any = b"{}", key: bytes | None = b"k", offset: int = 0, at: int = 0, **headers: str) -> Record:
    """A record; a value that is not bytes becomes JSON."""
    data = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
    return Record(offset, at, key, data, tuple((name, text.encode()) for name, text in headers.items()))


def chain(*rules: dict[str, Any], salt: bytes = b"") -> Chain:
    """Rules of any topic."""
    made = [RecordRule.model_validate({"topics": ("t",), **each}) for each in rules]
    return Chain([(f"rule {n}", rule) for n, rule in enumerate(made, start=1)], salt)


def passes(rule: dict[str, Any], *found: Record) -> list[bool]:
    """Which of some records a rule ships."""
    left = chain(rule).apply([each._replace(offset=n) for n, each in enumerate(found)])
    offsets = [each.offset for each in left]
    return [n in offsets for n in range(len(found))]


def changed(rule: dict[str, Any], value: bytes, salt: bytes = b"") -> bytes | None:
    """What a rule makes of a value."""
    (found,) = chain(rule, salt=salt).apply([record(value)])
    return found.value


def test_keys_fit_as_a_whole() -> None:
    """A pattern is for the whole key; no key and no text fit none."""
    found = [record(key=key) for key in (b"test-1", b"a-test-1", None, b"\xff")]
    assert passes({"drop": {"key": "test-.*"}}, *found) == [False, True, True, True]
    assert passes({"keep": {"key": "test-.*"}}, *found) == [True, False, False, False]


def test_headers_are_there_or_equal() -> None:
    """A header that is there fits; with header_is its value must be that text."""
    found = [record(), record(quality="good"), record(quality="bad")]
    assert passes({"keep": {"header": "quality"}}, *found) == [False, True, True]
    assert passes({"keep": {"header": "quality", "header_is": "good"}}, *found) == [False, True, False]


@pytest.mark.parametrize(
    ("condition", "fitting", "other"),
    [
        ({}, [1, 0, False, "x", [1], {}], [None]),
        ({"equals": 5}, [5, 5.0, [1, 5]], [6, "5", True, None, {}, [[]]]),
        ({"equals": True}, [True], [1, False, "true"]),
        ({"equals": "on"}, ["on", ["off", "on"]], ["On", 1, None]),
        ({"above": 2.5}, [3, 2.6, 1e300, [0, 9], 10**30], [2.5, -1, "3", True, None, {}]),
        ({"at_least": 2, "below": 4}, [2, 3.9], [1.9, 4, 10**30]),
        ({"at_most": -1}, [-1, -7], [0]),
    ],
)
@pytest.mark.parametrize("path", ["v", "a.v", "a.b.v"])
def test_fields_are_compared(condition: dict[str, Any], fitting: list[Any], other: list[Any], path: str) -> None:
    """Numbers as numbers, texts as texts, of lists any element; what is missing or of another kind does not fit."""

    def at(leaf: Any) -> Any:
        for name in reversed(path.split(".")):
            leaf = {"z": [1, {"v": 0}], name: leaf}
        return leaf

    rule = {"keep": {"field": path, **condition}}
    tally = Tally()
    found = [
        record(at(each), offset=n)
        for n, each in enumerate(
            [
                *fitting,
                *other,
            ]
        )
    ]
    left = chain(rule).apply(found, tally)
    assert [each.offset for each in left] == list(range(len(fitting)))
    assert not tally.unreadable
    assert passes(rule, record({"z": 1}), record({"a": 7})) == [False, False]


def test_all_that_a_condition_names_must_hold() -> None:
    """Two rules that drop are an or; one condition is an and; `only` says whom a rule is about."""
    both = {"drop": {"key": "a", "field": "n", "above": 1}}
    found = [record({"n": 2}, key=b"a"), record({"n": 2}, key=b"b"), record({"n": 1}, key=b"a")]
    assert passes(both, *found) == [False, True, True]
    assert passes({"only": {"key": "a"}, "keep": {"field": "n", "above": 1}}, *found) == [True, True, False]


def test_tombstones_are_shipped_unless_said() -> None:
    """A filter by key leaves tombstones alone unless it judges them or is about them."""
    gone, there = record(None, key=b"test-1"), record(key=b"test-1")
    assert passes({"drop": {"key": "test-.*"}}, gone, there) == [True, False]
    assert passes({"keep": {"field": "n"}}, gone) == [True]
    assert passes({"every_s": 9}, there, there, gone) == [True, False, True]
    assert passes({"drop": {"key": "test-.*"}, "tombstones": "judge"}, gone, there) == [False, False]
    assert passes({"drop": {"tombstone": True}}, gone, there) == [False, True]


@pytest.mark.parametrize(
    ("value", "why"),
    [(b"21.5", "not an object"), (b"", "not JSON"), (b"\xff", "not JSON"), (b'{"a":' * 10**5, "not JSON")],
)
def test_a_value_that_cannot_be_read_is_counted(value: bytes, why: str) -> None:
    """Filters ship it unchanged, rules that mask or remove drop it, and a rule may say which."""
    for rule, does in (
        ({"keep": {"field": "n", "above": 1}}, "shipped"),
        ({"keep": {"field": "n"}, "unreadable": "drop"}, "dropped"),
        ({"mask": ["n"], "mask_with": "x"}, "dropped"),
        ({"remove_fields": ["n"], "unreadable": "ship"}, "shipped"),
        ({"rename_fields": {"n": "m"}}, "shipped"),
    ):
        tally = Tally()
        left = chain(rule).apply([record(value)], tally)
        assert left == ([record(value)] if does == "shipped" else [])
        assert tally.unreadable == {("rule 1", why, does): 1}
        assert tally.filtered == ({} if does == "shipped" else {"rule 1": 1})


def test_what_is_not_named_keeps_its_bytes() -> None:
    """Numbers of any length and precision stay as they were written, and so does a value that no path leads into."""
    value = b'{"a": {"b" : 1, "c":12345678901234567890123.4500}, "d":[1, 2e5], "e":"\\u00e9"}'
    assert changed({"remove_fields": ["a.b"]}, value) == (
        b'{"a":{"c":12345678901234567890123.4500},"d":[1, 2e5],"e":"\\u00e9"}'
    )
    assert changed({"remove_fields": ["x", "a.x", "d.x", "e.x"]}, value) == value


def test_fields_are_masked_removed_and_renamed() -> None:
    """By a constant or a salted digest; in every element of a list; renamed in place; all by their former names."""
    value = b'{"who":"Ann","n":5,"crew":[{"who":"Bo","x":1},{"who":null},7],"list":["a"]}'
    rule = {"mask": ["who", "crew.who"], "remove_fields": ["crew.x"], "rename_fields": {"who": "n", "crew": "team"}}

    def digest(text: str) -> str:
        return hmac.new(b"salt", text.encode(), hashlib.sha256).hexdigest()

    assert json.loads(changed(rule, value, b"salt") or b"") == {
        "n": digest("Ann"),
        "team": [{"who": digest("Bo")}, {"who": None}, 7],
        "list": ["a"],
    }
    assert changed({"mask": ["n", "list"], "mask_with": 0}, value) == value.replace(b"5", b"0").replace(b'["a"]', b"0")
    assert changed({"rename_fields": {"a\\.b": "c.d"}}, b'{"x":1,"a.b":2,"y":3}') == b'{"x":1,"c.d":2,"y":3}'


def test_a_digest_is_of_what_a_text_says() -> None:
    """However a text is escaped, it is the same text."""
    one, other = (changed({"mask": ["a"]}, text, b"s") for text in (b'{"a":"\\u00e9"}', '{"a":"é"}'.encode()))
    assert one == other
    assert one != changed({"mask": ["a"]}, b'{"a":"\\u00e9"}', b"other salt")


def test_headers_are_removed_and_set() -> None:
    """Values are not looked at for it."""
    rule = {"remove_headers": ["x-*", "b"], "set_headers": {"site": "lyon"}}
    (found,) = chain(rule).apply([record(b"\xff", **{"x-1": "1", "b": "2", "c": "3", "site": "?"})])
    assert found.headers == (("c", b"3"), ("site", b"lyon"))


def test_one_record_of_a_key_in_a_span() -> None:
    """The first of each; one that is late by a span counts as of the present one; a clock that jumped is forgotten."""
    times = [0, 1, 9, 10, 8, 19, 20, 5_000, 5_001, 21, 22, 30, -1, -1]
    found = [record(at=at * 1000) for at in times]
    expected = [True, False, False, True, False, False, True, True, False, True, False, True, True, True]
    assert passes({"every_s": 10}, *found) == expected
    assert passes({"every_s": 10}, record(key=b"a"), record(key=b"b"), record(key=None), record(key=None)) == [
        True,
        True,
        True,
        False,
    ]


@given(st.lists(st.tuples(st.integers(0, 80), st.sampled_from([b"a", b"b", b"c", None]))), st.data())
def test_a_life_that_begins_in_the_middle_thins_out_alike(made: list[tuple[int, bytes | None]], data: Any) -> None:
    """Whatever the times are: read again from where the present span began, it ships what it would have shipped."""
    rules = {"drop": {"key": "c"}}, {"every_s": 0.01}
    found = [record(key=key, offset=n, at=at) for n, (at, key) in enumerate(made)]
    whole = chain(*rules)
    whole.reset(0)
    cut = data.draw(st.integers(0, len(found)))
    first, began = whole.apply(found[:cut]), whole.began
    rest = whole.apply(found[cut:])
    other = chain(*rules)
    other.reset(began or 0)
    other.apply(found[began:cut])
    assert other.apply(found[cut:]) == rest
    assert first + rest == chain(*rules).apply(found)


def test_memory_of_keys_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond that many keys in a span it begins anew, and a life in the middle still does the same."""
    monkeypatch.setattr(thinning, "MOST_KEYS", 5)
    rng = random.Random(3)
    found = [record(key=b"%d" % rng.randrange(9), offset=n, at=rng.randrange(25)) for n in range(400)]
    whole = chain({"every_s": 0.01})
    for cut in range(0, 400, 7):
        whole.reset(0)
        whole.apply(found[:cut])
        other = chain({"every_s": 0.01})
        other.reset(whole.began or 0)
        other.apply(found[whole.began : cut])
        assert other.apply(found[cut:]) == whole.apply(found[cut:])


def test_another_rule_has_another_digest() -> None:
    """So that a link sees that its rules have changed, and a changed salt too."""
    one = {"mask": ("a",)}
    found = {chain(*rules).digest for rules in ([], [one], [one, one], [{**one, "mask_with": 1}])}
    assert len({*found, chain(one, salt=b"x").digest}) == 5
    assert chain({"drop": {"key": "a"}}).digest == chain({"drop": {"key": "a"}}, salt=b"x").digest


def test_a_rule_is_the_same_wherever_it_stands_in_the_list() -> None:
    """A rule for other topics before it, a name or more topics change neither what it does nor its digest."""
    thins = {"topics": ("t",), "every_s": 60.0}
    lists: tuple[list[dict[str, Any]], ...] = ([thins], [{"topics": ("other",), "mask": ("a",), "mask_with": 1}, thins])
    lists += ([{**thins, "name": "minutes"}], [{**thins, "topics": ("t", "u")}])
    made = [[RecordRule.model_validate(each) for each in rules] for rules in lists]
    assert len({Chain(rules_of(rules, "t")).digest for rules in made}) == 1
    assert len({Chain(rules_of(rules, "u")).digest for rules in made}) == 2


def test_paths_are_read() -> None:
    """Dots divide, a backslash keeps one, and nothing is no name."""
    assert parts_of(r"a.b\.c.d") == ("a", "b.c", "d")
    assert list(found_at(b'{"a":[{"b":[1,2]},{"b":3},4]}', ("a", "b"))) == [1, 2, 3]
    assert edited(b"{}", []) == b"{}"
    for wrong in ("", ".", "a.", ".a", "a..b", "a\\"):
        with pytest.raises(ValueError, match="no path"):
            parts_of(wrong)


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ([{"drop": {"key": "("}}], "not a regular expression"),
        ([{"drop": {}}], "name what a record must be"),
        ([{"drop": {"above": 3}}], "say with `field`"),
        ([{"drop": {"header_is": "x"}}], "say with `header`"),
        ([{"drop": {"field": "a..b"}}], "no path"),
        ([{"drop": {"field": "a", "tombstone": True}}], "no value"),
        ([{}], "does nothing"),
        ([{"mask_with": 1}], "does nothing"),
        ([{"mask": ["a"]}], "rule 1: mask needs the setting replicator.mask_salt"),
        ([{"set_headers": {"hw-model": "x"}}], "hw-model"),
        ([{"every_s": 1}, {"every_s": 2, "name": "slow"}], "slow: every_s is set for t by rule 1 already"),
        ([{"name": "a", "every_s": 1}, {"name": "a", "drop": {"key": "x"}}], "two rules are called 'a'"),
        ([{"topics": ["other"], "every_s": 1}], "rule 1: topics other are none that the link ships"),
    ],
)
def test_rules_that_cannot_apply_are_refused(rules: list[dict[str, Any]], says: str) -> None:
    """At the start, with the rule and the setting in the sentence."""
    with pytest.raises(ValidationError, match=says):
        ReplicatorSettings(site="lyon", topics=("t",), records=[{"topics": ["t"], **each} for each in rules], **ENDS)


def test_rules_that_meet_in_a_topic_of_a_pattern_are_refused_there() -> None:
    """What no start can know is said when the topic comes."""
    rules = [{"topics": ["a*"], "every_s": 1}, {"topics": ["*b"], "every_s": 1}]
    link = ReplicatorSettings(site="lyon", selection={"include": [".*"]}, records=rules, **ENDS)
    assert chain_of(link, "a") is not None
    assert chain_of(link, "c") is None
    with pytest.raises(BadSetting, match="every_s is set for ab by rule 1 already"):
        chain_of(link, "ab")


_VALUES = st.one_of(
    st.none(),
    st.sampled_from(
        [b"", b" ", b"7", b"{", b"{}\n", b'{"a":{"n":\n5}}', b'{"a":1}', b'{"a":[{"n":9}]}', b'{"a":{"n":[7]}}']
    ),
    st.sampled_from([b'{"a":{"n":5}}{"a":{"n":1}}', b'{"a":{"n":5}} ']),
    st.one_of(st.integers(0, 9), st.none(), st.booleans(), st.text("x5", max_size=2)).map(
        lambda leaf: json.dumps({"z": 0, "a": {"n": leaf}}).encode()
    ),
)
_SIEVES = st.sampled_from(
    [
        {"keep": {"field": "a.n", "above": 4}},
        {"drop": {"field": "a.n", "at_least": 2, "below": 7}},
        {"keep": {"field": "a.n"}, "unreadable": "drop"},
        {"keep": {"field": "a.n", "equals": 5, "key": "a|b"}, "tombstones": "judge"},
        {"drop": {"key": "a"}},
        {"drop": {"key": "a"}, "tombstones": "judge"},
    ]
)


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"x" * 90, None]), _VALUES), min_size=1, max_size=9), _SIEVES)
def test_whole_batches_are_filtered_as_record_by_record(
    made: list[tuple[bytes | None, Any]], rule: dict[str, Any]
) -> None:
    """What is left out without becoming a record is what would be left out otherwise, and counted alike."""
    outs = [Out(key, value, (("h", b"1"),) * (n % 3), 1000 + n * 90) for n, (key, value) in enumerate(made)]
    (batch,) = batches(memoryview(encode(outs, codec="lz4")))
    rules = chain(rule, {"set_headers": {"x": "y"}})
    plain, other = Tally(), Tally()
    whole = rules.apply(records(batch), plain)
    found = rules.sieved(batch, other)
    event(f"at once: {found is not None}")
    if found is not None:
        assert rules.apply(found, other, sieved=True) == whole
        assert (other.filtered, other.unreadable) == (plain.filtered, plain.unreadable)


def test_two_values_in_one_and_none_in_another_are_not_taken_for_one_each() -> None:
    """What a rule cannot read is shipped, however many objects the others make together."""
    outs = [Out(b"k", value, (), 1000) for value in (b"", b'{"n":50}{"n":1}', b'{"n":50}')]
    (batch,) = batches(memoryview(encode(outs)))
    rules = chain({"keep": {"field": "n", "above": 90}})
    assert rules.sieved(batch, Tally()) is None
    assert rules.apply(records(batch)) == records(batch)[:2]


@pytest.mark.parametrize("rule", [{"mask": ["a.b"], "mask_with": "x"}, {"keep": {"field": "a.b", "equals": 1}}])
def test_a_value_of_any_depth_is_read_or_counted(rule: dict[str, Any]) -> None:
    """A list in a list in a list: what is too deep for this program cannot be read, and ends nothing."""
    tally = Tally()
    for depth in (10, *range(300, 1500, 20), 100_000):
        value = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
        assert len(chain(rule).apply([record(value)], tally)) <= 1
    assert tally.unreadable


def test_batches_of_usual_records_are_filtered_at_once() -> None:
    """With keys and values of any length, and a time of any distance."""
    sizes = (0, 1, 62, 63, 64, 127, 128, 8191, 8192, 70_000)
    outs = [Out(b"k" * size, json.dumps({"n": size, "x": "x" * size}).encode(), (), 5 - size) for size in sizes]
    (batch,) = batches(memoryview(encode(outs)))
    found = chain({"keep": {"field": "n", "above": 62}}).sieved(batch, Tally())
    assert found == records(batch)[3:]
