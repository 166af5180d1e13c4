"""Topics, and the names of assets that come from them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.contract.errors import BadInput
from headwater.contract.names import PATTERN
from headwater.contract.sparkplug.addresses import MOST_KNOWN, Addresses, asset_name, escaped


def unescaped(name: str) -> list[str]:
    """The words of an asset's name: the inverse that makes the mapping injective."""
    words, at = [bytearray()], 0
    while at < len(name):
        escape = re.match(r"-x([0-9a-f]{2})", name[at:])
        if escape:
            words[-1].append(int(escape[1], 16))
            at += 4
        elif name.startswith("--", at):
            words.append(bytearray())
            at += 2
        else:
            words[-1].append(ord(name[at]))
            at += 1
    return [bytes(word).decode() for word in words]


words = st.text(st.sampled_from("abx0-5f_PäZ é"), min_size=1, max_size=8) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/+#\0"), min_size=1, max_size=8
)


@given(st.lists(words, min_size=1, max_size=3))
def test_no_two_names_become_one_asset(given_words: list[str]) -> None:
    """From the asset's name the words of the topic can be read back."""
    name = "--".join(map(escaped, given_words))

    assert re.fullmatch(r"[a-z0-9-]+", name)
    assert unescaped(name) == given_words


@pytest.mark.parametrize(
    ("word", "asset"),
    [
        ("pump-7", "pump-7"),
        ("Pump_7", "-x50ump-x5f7"),
        ("a-x5f", "a-x2dx5f"),
        ("a--b", "a-x2d-x2db"),
        ("é", "-xc3-xa9"),
    ],
)
def test_examples_of_names(word: str, asset: str) -> None:
    """Names that can be stay as they are."""
    assert asset_name(word) == asset
    assert PATTERN.fullmatch(asset)


def test_a_name_that_is_too_long_is_refused_in_words() -> None:
    """More than 40 characters are refused with a hint, and the topic is still understood."""
    with pytest.raises(BadInput, match="at most 40"):
        asset_name("P" * 11)
    assert "at most 40" in Addresses("device").of("spBv1.0/g/DDATA/n/" + "P" * 11).refusal


def test_topics_are_parsed() -> None:
    """Each type has its own number of words."""
    found = Addresses("group-node-device").of("spBv1.0/g/DDATA/n/d")
    assert (found.kind, found.node, found.device, found.asset) == ("DDATA", "g/n", "d", "g--n--d")
    assert Addresses("device").of("spBv1.0/g/NDATA/n").asset == "n"


@pytest.mark.parametrize(
    "topic",
    ["", "a/b", "spAv1.0/g/NDATA/n", "spBv1.0/g/NDATA/n/d", "spBv1.0/g/DDATA/n", "spBv1.0/g/DDATA/n/", "spBv1.0/g/X/n",
     "spBv1.0/g/NDATA/n\0", "spBv1.0/+/NDATA/n", "spBv1.0/STATE", "spBv1.0/STATE/a/b/c", "spBv1.0/g/NDATA/\ud800",
     "spBv1.0/g/NDATA/" + "n" * 2_000],
)  # fmt: skip
def test_other_topics_are_refused(topic: str) -> None:
    """A topic that is not of Sparkplug B is named as such."""
    with pytest.raises(BadInput) as caught:
        Addresses("device").of(topic)
    assert caught.value.reason == "bad-topic"


def test_made_up_topics_do_not_fill_memory() -> None:
    """However many topics come, a bounded number is remembered."""
    ours = Addresses("device")
    for n in range(MOST_KNOWN + 10):
        ours.of(f"spBv1.0/g/NDATA/{n}")
    assert len(ours._known) <= MOST_KNOWN
