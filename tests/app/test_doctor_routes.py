"""What the doctor says of routes, schemas and the schema registry."""

from __future__ import annotations

from pathlib import Path

from edge_agent.settings import EdgeSettings
from headwater.app.doctor.finding import Finding
from headwater.app.doctor.routes import check_routes
from tests.transport.test_schema_registry import Registry, registry  # noqa: F401 - a fixture

FRAMED = {"decoder": {"kind": "avro", "framing": "confluent"}}


def found(**bridge: object) -> dict[str, Finding]:
    settings = EdgeSettings.model_validate({"site": "lyon", "bridge": bridge})
    return {finding.check: finding for finding in check_routes("edge.bridge", settings)}


def test_routes_that_can_work_are_good() -> None:
    """And where no registry is set, none is asked."""
    assert {name: each.state for name, each in found().items()} == {"edge.bridge routes": "good"}


def test_what_the_bridge_would_refuse_is_bad_with_the_fix(tmp_path: Path) -> None:
    """A schema file that is not there; a route below another is a warning."""
    bad = found(schemas={"cell": tmp_path / "none.avsc"})["edge.bridge routes"]
    shadow = found(routes=[{}, {}])["edge.bridge routes"]

    assert (bad.state, bad.exit_code, "[edge.bridge.schemas]" in bad.fix) == ("bad", 2, True)
    assert (shadow.state, "never has a message" in shadow.says) == ("warning", True)


def test_a_registry_is_asked(registry: Registry) -> None:  # noqa: F811 - the fixture
    """One that answers is good; one that refuses connections is bad, with what that does to messages."""
    good = found(routes=[FRAMED], schema_registry={"url": registry.url})["edge.bridge.schema_registry"]
    bad = found(routes=[FRAMED], schema_registry={"url": "http://127.0.0.1:1"})["edge.bridge.schema_registry"]

    assert good.state == "good"
    assert (bad.state, bad.exit_code) == ("bad", 5)
    assert "nothing listens there: messages of new schemas wait up to 60 s, then go to dead-letters" in bad.says
    assert "look at edge.bridge.schema_registry" in bad.fix
