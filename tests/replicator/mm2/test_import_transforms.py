"""Transforms of a MirrorMaker 2 file become rules for records where one does the same."""

from __future__ import annotations

import pytest

from replicator.mm2.importing.flow import Imported, import_flow
from replicator.settings import ReplicatorSettings

BASE = ("clusters=a,b", "a.bootstrap.servers=a:1", "b.bootstrap.servers=b:1", "a->b.enabled=true")
TRANSFORMS = r"""
transforms=tomb, line, who, fields, heads, plant, whole, cast
transforms.tomb.type=org.apache.kafka.connect.transforms.Filter
transforms.tomb.predicate=isTomb
transforms.line.type=org.apache.kafka.connect.transforms.Filter
transforms.line.predicate=hasLine
transforms.line.negate=true
transforms.who.type=org.apache.kafka.connect.transforms.MaskField$Value
transforms.who.fields=who,a.b
transforms.who.replacement=***
transforms.who.predicate=staff
transforms.fields.type=org.apache.kafka.connect.transforms.ReplaceField$Value
transforms.fields.exclude=x,y
transforms.fields.renames=n:m
transforms.heads.type=org.apache.kafka.connect.transforms.DropHeaders
transforms.heads.headers=trace,span
transforms.heads.predicate=hasLine
transforms.plant.type=org.apache.kafka.connect.transforms.InsertHeader
transforms.plant.header=plant
transforms.plant.value.literal=lyon
transforms.whole.type=org.apache.kafka.connect.transforms.Filter
transforms.whole.predicate=staff
transforms.cast.type=org.apache.kafka.connect.transforms.Cast$Value
transforms.cast.spec=a:int32
predicates=isTomb,hasLine,staff
predicates.isTomb.type=org.apache.kafka.connect.transforms.predicates.RecordIsTombstone
predicates.hasLine.type=org.apache.kafka.connect.transforms.predicates.HasHeaderKey
predicates.hasLine.name=line
predicates.staff.type=org.apache.kafka.connect.transforms.predicates.TopicNameMatches
predicates.staff.pattern=a\\.staff.*
"""


def _minimal(*lines: str) -> Imported:
    return import_flow("\n".join([*BASE, *lines]).encode())


def test_transforms_become_rules() -> None:
    """Those that a rule does the same as, with their predicates; the others are told, one by one."""
    imported = _minimal("a->b.topics=staff-1,readings,staff_.*", *TRANSFORMS.strip().splitlines())
    found = ReplicatorSettings.model_validate(imported.settings)
    rules = [rule.model_dump(exclude_defaults=True) for rule in found.records]
    assert rules == [
        {"name": "tomb", "topics": ("*",), "drop": {"tombstone": True}},
        {"name": "line", "topics": ("*",), "keep": {"header": "line"}, "tombstones": "judge"},
        {"name": "who", "topics": ("staff-1", "staff*"), "mask": ("who", r"a\.b"), "mask_with": "***"},
        {"name": "fields", "topics": ("*",), "remove_fields": ("x", "y"), "rename_fields": {"n": "m"}},
        {"name": "heads", "topics": ("*",), "only": {"header": "line"}, "remove_headers": ("trace", "span")},
        {"name": "plant", "topics": ("*",), "set_headers": {"plant": "lyon"}},
    ]
    rows = {row.key: row for row in imported.rows}
    assert rows["transforms.whole.type"].state == rows["transforms.cast.type"].state == "no counterpart"
    assert "selection.exclude" in rows["transforms.whole.type"].remark
    assert rows["transforms.who.fields"].state == rows["predicates.staff.pattern"].state == "taken over"
    assert rows["transforms.cast.spec"].state == "no counterpart"


@pytest.mark.parametrize(
    "lines",
    [
        ["type=org.apache.kafka.connect.transforms.MaskField$Value", "fields=x", "predicate=p", "negate=true"],
        ["type=org.apache.kafka.connect.transforms.ReplaceField$Value", "include=x"],
        ["type=org.apache.kafka.connect.transforms.MaskField$Value"],
        ["type=org.apache.kafka.connect.transforms.InsertHeader", "header=hw-model", "value.literal=x"],
        ["type=org.apache.kafka.connect.transforms.Filter", "predicate=none"],
        ["type=org.example.Mine"],
        [],
    ],
)
def test_transforms_that_no_rule_does_are_told(lines: list[str]) -> None:
    """No rule is made that would do something else."""
    predicate = ["predicates.p.type=org.apache.kafka.connect.transforms.predicates.HasHeaderKey", "predicates.p.name=h"]
    imported = _minimal("transforms=t", *(f"transforms.t.{line}" for line in lines), *predicate)
    assert "records" not in imported.settings
    assert {row.key: row.state for row in imported.rows}["transforms"] == "no counterpart"
