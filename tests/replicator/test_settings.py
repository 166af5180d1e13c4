"""What may be set for a link: contradictions are refused in a sentence before anything is connected to."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from headwater.contract.errors import BadSetting
from headwater.transport.settings import load, problems
from replicator.acls import acl_lines, operator_lines
from replicator.cli import app
from replicator.settings import ReplicatorSettings

LINK = """
[replicator]
site = "lyon"
source.brokers = "edge:9092"
target.brokers = "cloud:9092"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder whose headwater.toml is read."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(folder: Path, text: str) -> BadSetting:
    """What is said of a file, by a command and by `headwater config check` alike."""
    (folder / "headwater.toml").write_text(text)
    with pytest.raises(BadSetting) as refused:
        load("replicator", ReplicatorSettings)
    assert [str(each) for each in problems("replicator", ReplicatorSettings)] == [str(refused.value)]
    return refused.value


@pytest.mark.parametrize(
    ("topic", "why"),
    [
        ("lyon.readings", "down.topics: 'lyon.readings' came from lyon: it would go round in circles"),
        ("cloud.hints", "down.topics: 'cloud.hints' was replicated from cloud already"),
        ("__consumer_offsets", "down.topics: '__consumer_offsets' belongs to a cluster or a link itself"),
        ("hints*", "'hints*' cannot be a topic"),
    ],
)
def test_a_way_down_that_cannot_be_is_refused_with_the_settings(folder: Path, topic: str, why: str) -> None:
    """Every command says so, and none begins a link first."""
    assert why in str(refusal(folder, LINK + f'down.topics = ["{topic}"]'))
    done = CliRunner().invoke(app, ["acls"])
    assert isinstance(done.exception, BadSetting)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ('naming.source_alias = "cloud"', "naming: source and target are both called 'cloud'"),
        ('naming.target_alias = "lyon"', "naming: source and target are both called 'lyon'"),
        ('topics = ["lab/1"]', "'lab/1' cannot be a topic: Kafka takes letters, digits, dot, underscore and hyphen"),
        ('topics = [".."]', "'..' cannot be a topic"),
        (f'topics = ["{"t" * 248}"]', "is longer than Kafka's 249 characters"),
        ('topics = ["t"]\nlink.fresh_first.topics = ["t", "nope"]', "link.fresh_first.topics: 'nope' is none that"),
        ('link.hours = ["22:00-22:00"]', "'22:00-22:00' ends where it begins"),
        ('link.hours = ["22-6"]', "'22-6' is no time of day from and to, as 22:00-06:00"),
        ("proof = { enabled = false, sha256 = true }", "sha256 = true without a manifest to be in (enabled = false)"),
        ("link.budget.hour_bytes = 1024", "1024 bytes are less than a link needs to say what it does; a budget is"),
        (f"link.budget.day_bytes = {'9' * 320}", "link.budget.day_bytes"),
        (f"link.rate_bytes_s = {'9' * 320}", "link.rate_bytes_s"),
        ("link.budget = { hour_bytes = 9000000, day_bytes = 8000000 }", "day_bytes (8000000) is below hour_bytes"),
        ("link.budget = { day_bytes = 9000000, month_bytes = 8000000 }", "month_bytes (8000000) is below day_bytes"),
        ("link.budget = { hour_bytes = 9000000, month_bytes = 8000000 }", "month_bytes (8000000) is below hour_bytes"),
        ("fetch_bytes = 8192", "fetch_bytes (8192) is below partition_fetch_bytes (262144)"),
        ('[[replicator.link.lanes]]\nname = "bulk"\ntopics = ["t"]', "lanes: 'bulk' is the link's own lane"),
        ('[[replicator.link.lanes]]\nname = "a"\ntopics = ["t"]\n' * 2, "lanes: two are called 'a'"),
    ],
)
def test_contradictions_are_refused_in_a_sentence(folder: Path, more: str, why: str) -> None:
    """None is left for the link to find out."""
    assert why in str(refusal(folder, LINK + more))


@pytest.mark.parametrize(
    ("name", "most"),
    [
        *((name, 2**31 - 1) for name in ("fetch_bytes", "partition_fetch_bytes", "backlog_bytes")),
        *((name, 3600) for name in ("position_interval_s", "drain_s")),
        *((f"{end}.{name}_timeout_s", 3600) for end in ("source", "target") for name in ("request", "connect")),
        ("proof.interval_s", 86_400),
        ("link.fresh_first.after_s", 2_592_000),
        *((f"mm2.{name}_interval_s", 604_800) for name in ("heartbeat", "checkpoint")),
        ("topic_configs.refresh_s", 604_800),
        ("selection.refresh_s", 600),
        ("fetch_wait_s", 10),
    ],
)
def test_what_no_broker_and_no_clock_takes_is_refused(folder: Path, name: str, most: int) -> None:
    """A number that is too large ends in a sentence with the largest one, not in a traceback of a running link."""
    more = "" if name == "fetch_bytes" else f"fetch_bytes = {2**31 - 1}\n"
    (folder / "headwater.toml").write_text(f"{LINK}{more}{name} = {most}")
    load("replicator", ReplicatorSettings)
    said = str(refusal(folder, f"{LINK}{more}{name} = {most + 1}"))
    assert f"replicator.{name}" in said
    assert said.endswith(f"it must be less than or equal to {most}")


@pytest.mark.parametrize(
    "given",
    [
        *(("trim", "--keep-hours", number) for number in ("nan", "inf", "1e308")),
        *(("watch", "--interval", number) for number in ("nan", "inf", "1e308")),
        *(("status", "--max-lag", number) for number in ("nan", "inf")),
    ],
    ids=" ".join,
)
def test_an_option_that_counts_nothing_is_a_mistake_of_whoever_gives_it(folder: Path, given: tuple[str, ...]) -> None:
    """It is told before anything is connected to, and no lag is taken for none."""
    (folder / "headwater.toml").write_text(LINK)
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 2
    assert given[1] in done.stderr


@pytest.mark.parametrize(
    ("keep", "why"),
    [
        ("above = 5, below = 3", "no number is above 5 and below 3"),
        ("above = 5, at_most = 5", "no number is above 5 and at_most 5"),
        ("at_least = 5, below = 5", "no number is at_least 5 and below 5"),
        ("equals = 4, above = 5", "`equals` says it all: leave out above"),
    ],
)
def test_a_condition_that_nothing_fits_is_refused(folder: Path, keep: str, why: str) -> None:
    """A rule that would leave everything out is a mistake, most likely."""
    rule = '[[replicator.records]]\ntopics = ["*"]\nkeep = { field = "x", %s }'
    assert why in str(refusal(folder, LINK + rule % keep))
    (folder / "headwater.toml").write_text(LINK + rule % "at_least = 5, at_most = 5")
    assert load("replicator", ReplicatorSettings).records


def test_what_fits_is_not_refused(folder: Path) -> None:
    """Patterns may fit topics that come later; hours may pass midnight; lanes may be named after anything else."""
    more = 'selection.include = ["lab-.*"]\nlink = { hours = ["22:00-06:00"], fresh_first = { topics = ["nope"] } }\n'
    (folder / "headwater.toml").write_text(LINK + more + 'down.topics = ["hints"]')
    found = load("replicator", ReplicatorSettings)
    assert found.down_link is not None
    assert found.down_link.way("hints", 0).target == "cloud.hints"


def test_hints_can_be_followed(folder: Path) -> None:
    """What is wrong with a whole section has no variable; a cluster that is missing has one."""
    whole = refusal(folder, LINK + "fetch_bytes = 8192")
    assert (str(whole).startswith("the section [replicator]: fetch_bytes (8192)"), whole.hint) == (True, "")
    missing = refusal(folder, LINK.replace('target.brokers = "cloud:9092"', ""))
    assert "replicator.target is missing" in str(missing)
    assert missing.hint.startswith("set HEADWATER_REPLICATOR__TARGET__BROKERS,")


def test_a_password_that_is_missing_is_named_with_its_variable_and_its_file(folder: Path) -> None:
    """So that nobody has to guess where the rest of a login goes; the salt of a rule likewise."""
    given = refusal(folder, LINK + 'target.sasl_mechanism = "SCRAM-SHA-512"\ntarget.username = "mm2"')
    assert str(given).endswith("sasl_mechanism SCRAM-SHA-512 needs password")
    assert given.hint.startswith("it can be set by HEADWATER_REPLICATOR__TARGET__PASSWORD, or by the file ")
    assert "replicator__target__password in the folder that HEADWATER_SECRETS names" in given.hint
    salted = refusal(folder, LINK + 'topics = ["t"]\n[[replicator.records]]\ntopics = ["t"]\nmask = ["who"]')
    assert salted.hint.startswith("it can be set by HEADWATER_REPLICATOR__MASK_SALT, or by the file replicator__mask_")


def test_a_short_salt_is_counted_in_characters(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is not shown."""
    monkeypatch.setenv("HEADWATER_REPLICATOR__MASK_SALT", "salt")
    assert str(refusal(folder, LINK)).endswith("replicator.mask_salt: it must have at least 8 characters")


def test_what_pause_and_trim_need_is_told_apart(folder: Path) -> None:
    """`acls` has a block for it, with the cloud's part where topics come down."""
    (folder / "headwater.toml").write_text(LINK + 'topics = ["readings"]\ndown.topics = ["hints"]')
    settings = load("replicator", ReplicatorSettings)
    own, found = acl_lines(settings), operator_lines(settings)
    assert [line.partition("--operation ")[2] for line in found if "edge:9092" in line] == [
        "Create --topic 'headwater-replication-control'",
        "Read --topic 'headwater-replication-control'",
        "Write --topic 'headwater-replication-control'",
        "Delete --topic 'readings'",
    ]
    assert sum("cloud:9092" in line for line in found) == 3
    assert not any("Delete" in line for lines in own.values() for line in lines)
    shown = CliRunner().invoke(app, ["acls"]).stdout.splitlines()
    assert shown[shown.index("# for whoever pauses or trims") + 1 :] == found
