"""What each health check makes of what it sees."""

from dataclasses import replace
from typing import Any

import pytest

from tracker import findings
from tracker.findings import Seen
from tracker.history.stream import Draining
from tracker.settings import Settings
from tracker.views import Figures, LedgerView, Page, SyncView, read_instance, read_job

NOW = 1_000_000.0

LEDGER = LedgerView(
    id="1-ab",
    number=1,
    version=5,
    verified=True,
    ready=True,
    unpassed=0,
    ready_in_s=0.0,
    born_s=NOW - 30,
    reason="there is no ledger",
    void="",
)

FIGURES = Figures(
    now_s=NOW,
    ledger=LEDGER,
    followed=2,
    finished=1,
    settling=0,
    owing=0,
    owed=0,
    owed_is_bounded=False,
    parked=0,
    stuck=0,
    parked_jobs=0,
    dead_letters=0,
    losses=0,
    last_loss_s=None,
    births=1,
    jobs_pending=0,
    sync=SyncView(NOW - 5, NOW - 5, 0, 1, ""),
    queues={},
    unacked=0,
)

BRIDGE: dict[str, Any] = {"partitions": {"counts:0": {"next": 5, "end": 8, "lag": 3, "placed": True}}, "error": None, "republished": []}

WELL = Seen(
    FIGURES,
    bridges={"host-1": BRIDGE},
    workers={"apply@h": {"queues": ["tracker.apply", "tracker.control"]}, "push@h": {"queues": ["tracker.push"]}},
    beats={"host-2": {"last_tick": NOW - 1}},
    durability={"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"},
)

SETTINGS = Settings(import_observations_inserted_topic="counts", input_file_available_topic="files")


def with_figures(**changes: Any) -> Seen:
    return replace(WELL, figures=replace(FIGURES, **changes))


def with_ledger(**changes: Any) -> Seen:
    return with_figures(ledger=replace(LEDGER, **changes))


def with_bridge(**changes: Any) -> Seen:
    return replace(WELL, bridges={"host-1": {**BRIDGE, **changes}})


# -- Redis --------------------------------------------------------------------------------------------------------


def test_a_durable_server_is_well() -> None:
    assert findings.redis_server(WELL).status == "OK"


@pytest.mark.parametrize(
    "name, value", [("appendonly", "no"), ("appendfsync", "everysec"), ("appendfsync", "no"), ("maxmemory-policy", "allkeys-lru")]
)
def test_a_server_that_may_lose_or_evict_is_warned_of_by_name(name: str, value: str) -> None:
    found = findings.redis_server(replace(WELL, durability={**WELL.durability, name: value}))
    assert found.status == "WARNING"
    assert f"{name} is {value}, should be" in found.message


def test_a_server_that_does_not_tell_is_well_and_said_not_to_tell() -> None:
    found = findings.redis_server(replace(WELL, durability={**WELL.durability, "appendfsync": None}))
    assert found.status == "OK"
    assert "cannot be told" in found.message
    assert "appendfsync" in found.message


def test_a_broker_of_its_own_that_is_away_is_critical() -> None:
    assert findings.redis_server(replace(WELL, broker_trouble="the broker of the tasks: away")).status == "CRITICAL"


# -- Ledger -------------------------------------------------------------------------------------------------------


def test_a_first_ledger_is_well_however_young() -> None:
    found = findings.ledger(WELL)
    assert found.status == "OK"
    assert "1-ab" in found.message


@pytest.mark.parametrize(
    "changes, status, words",
    [
        ({"id": None, "verified": False, "ready": False}, "CRITICAL", "no ledger yet"),
        ({"verified": False, "ready": False}, "CRITICAL", "no bridge has verified"),
        ({"trouble": "the ledger has format 2", "verified": False}, "CRITICAL", "format 2"),
        ({"void": "a person asked for it", "verified": False}, "WARNING", "is void (a person asked for it)"),
        ({"ready": False, "unpassed": 3}, "WARNING", "3 partitions still read anew"),
        ({"ready": False, "ready_in_s": 12.0}, "WARNING", "ready in 12 s"),
        ({"number": 2}, "WARNING", "taken the place of an older one"),
    ],
)
def test_a_ledger_that_cannot_be_relied_on_says_why(changes: dict[str, Any], status: str, words: str) -> None:
    found = findings.ledger(with_ledger(**changes))
    assert found.status == status
    assert words in found.message


def test_a_birth_of_long_ago_is_no_warning() -> None:
    assert findings.ledger(with_ledger(number=7, born_s=NOW - findings.YOUNG_BIRTH_S - 1)).status == "OK"


# -- Bridge and consumers -----------------------------------------------------------------------------------------


def test_a_bridge_that_keeps_up_is_well() -> None:
    found = findings.bridge(WELL, SETTINGS)
    assert (found.status, found.message) == ("OK", "1 bridge, 1 partition, 3 records behind")


def test_no_bridge_is_critical() -> None:
    alone = replace(WELL, bridges={})
    assert findings.bridge(alone, SETTINGS).status == "CRITICAL"
    assert findings.consumer(alone, "counts").status == "CRITICAL"


def test_a_bridge_far_behind_names_the_partition() -> None:
    behind = {"counts:0": {"lag": 200_000}, "counts:1": {"lag": 5}}
    found = findings.bridge(with_bridge(partitions=behind), SETTINGS)
    assert found.status == "WARNING"
    assert "counts:0 by 200000" in found.message
    assert "counts:1" not in found.message


def test_a_bridge_in_trouble_says_so_in_its_own_words() -> None:
    found = findings.bridge(with_bridge(error="Kafka: no broker answers"), SETTINGS)
    assert (found.status, found.message) == ("WARNING", "host-1: Kafka: no broker answers")


def test_batches_that_stay_unapplied_are_named_with_offsets_and_error() -> None:
    stubborn = [{"partition": "counts:0", "start": 5, "end": 9, "attempts": 4, "error": "published 4 times in 40 s and not applied"}]
    found = findings.bridge(with_bridge(republished=stubborn), SETTINGS)
    assert found.status == "WARNING"
    assert "1 batch not applied: counts:0 5-9: published 4 times" in found.message


@pytest.mark.parametrize(
    "info", [{}, {"partitions": None}, {"partitions": {"counts:0": None}}, {"partitions": [], "republished": ["x", 3]}]
)
def test_a_bridge_of_another_version_breaks_nothing(info: dict[str, Any]) -> None:
    seen = replace(WELL, bridges={"host-1": info})
    assert findings.bridge(seen, SETTINGS).status == "OK"
    assert findings.consumer(seen, "counts").status == "WARNING"


def test_a_topic_that_is_read_is_well_and_one_that_is_not_is_a_warning() -> None:
    assert findings.consumer(WELL, "counts").message == "1 partition of counts, 3 records behind"
    found = findings.consumer(WELL, "files")
    assert (found.status, found.message) == ("WARNING", "no bridge holds a partition of files")


def test_a_topic_that_kafka_does_not_let_be_read_is_critical() -> None:
    found = findings.consumer(with_bridge(partitions={}, error="Kafka: no broker answers"), "counts")
    assert found.status == "CRITICAL"
    assert "no broker answers" in found.message


def test_an_unknown_end_is_a_warning_for_the_topic_and_no_lag() -> None:
    seen = with_bridge(partitions={"counts:0": {"lag": None}})
    assert findings.consumer(seen, "counts").status == "WARNING"
    assert findings.lags(seen) == {"counts:0": None}


def test_two_bridges_share_the_partitions() -> None:
    seen = replace(WELL, bridges={"a": BRIDGE, "b": {"partitions": {"counts:1": {"lag": 4}, "counts:0": {"lag": 1}}}})
    assert findings.lags(seen) == {"counts:0": 3, "counts:1": 4}
    assert findings.bridge(seen, SETTINGS).message == "2 bridges, 2 partitions, 7 records behind"


# -- Workers, Beat, listing, what is set aside --------------------------------------------------------------------


def test_a_queue_that_nobody_serves_is_critical_and_says_how_to_serve_it() -> None:
    assert findings.workers(WELL).status == "OK"
    found = findings.workers(replace(WELL, workers={"apply@h": WELL.workers["apply@h"], "old": {}}))
    assert found.status == "CRITICAL"
    assert found.message == "no worker serves tracker.push; start one with celery -A tracker worker -Q tracker.push -n push@%h"


def test_workers_that_are_started_as_health_says_have_names_of_their_own() -> None:
    """Of two of one name only one is seen."""
    commands = set(findings.QUEUE_COMMANDS.values())
    assert len({command.partition(" -n ")[2] for command in commands} - {""}) == len(commands)


@pytest.mark.parametrize(
    "beats, status",
    [
        ({}, "CRITICAL"),
        ({"a": {"last_tick": None}}, "WARNING"),
        ({"a": {"last_tick": NOW - 15}}, "OK"),
        ({"a": {"last_tick": NOW - 17}}, "CRITICAL"),
        ({"a": {"last_tick": NOW - 500}, "b": {"last_tick": NOW + 3}}, "OK"),
    ],
)
def test_beat_is_judged_by_its_last_tick(beats: dict[str, Any], status: str) -> None:
    assert findings.beat(replace(WELL, beats=beats), SETTINGS).status == status


@pytest.mark.parametrize(
    "sync, status, words",
    [
        (SyncView(NOW - 5, NOW - 5, 0, 2, ""), "OK", "read 5 s ago, 2 pages"),
        (SyncView(None, None, 0, 0, ""), "WARNING", "not been read yet"),
        (SyncView(None, NOW, 3, 0, "refused"), "WARNING", "3 of 20 tries: refused"),
        (SyncView(None, NOW, 20, 0, "refused"), "CRITICAL", "failed 20 times since the start: refused"),
        (SyncView(NOW - 40, NOW, 1, 1, "refused"), "WARNING", "since then it failed 1 time: refused"),
        (SyncView(NOW - 150, NOW - 150, 0, 1, ""), "WARNING", "due every 30 s"),
    ],
)
def test_the_listing_is_judged_by_its_last_success_and_the_tries_since(sync: SyncView, status: str, words: str) -> None:
    found = findings.listing(with_figures(sync=sync), SETTINGS)
    assert found.status == status
    assert words in found.message


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"parked": 2}, "2 instances parked"),
        ({"parked_jobs": 1}, "1 job unknown to the Import API"),
        ({"dead_letters": 1}, "1 dead letter"),
        ({"dead_letters": 8000}, "8,000 dead letters; beyond 10,000 of them partitions stand still"),
        ({"losses": 1, "last_loss_s": NOW - 60}, "lost to Kafka's retention, last 60 s ago"),
    ],
)
def test_whatever_waits_for_a_person_is_a_warning(changes: dict[str, Any], words: str) -> None:
    found = findings.set_aside(with_figures(**changes), SETTINGS)
    assert found.status == "WARNING"
    assert words in found.message


def test_dead_letters_without_room_are_critical_and_say_what_to_do() -> None:
    found = findings.set_aside(with_figures(dead_letters=10_000), SETTINGS)
    assert found.status == "CRITICAL"
    assert "tracker dead-letters list" in found.message


def test_what_is_stuck_is_counted_and_the_first_are_named() -> None:
    assert findings.stuck(WELL, SETTINGS).status == "OK"
    view = read_instance("i-1", {"g": "1", "st": "submitted", "stk": "1000", "first": "1"}, "1", 2_000_000)
    found = findings.stuck(replace(with_figures(stuck=2), standing=(view,)), SETTINGS)
    assert found.status == "WARNING"
    assert found.message.startswith(
        "2 instances without a record, a push or news for 20 min: i-1: the Dataset API has no total above 0 yet"
    )
    assert found.message.endswith("; …")
    assert findings.stuck(with_figures(stuck=2), SETTINGS).message.endswith("see tracker status")


def test_jobs_that_have_failed_for_long_are_told_beside_stuck_instances() -> None:
    job = read_job("j-1", (), {"why": "404 instance not found", "tries": "7"}, 1.0, None)
    found = findings.stuck(replace(WELL, failing=Page((job,), 2, 3, 0)), SETTINGS)
    assert (found.status, found.message) == (
        "WARNING",
        "2 jobs whose state could not be seen to for 20 min: j-1: 404 instance not found; …",
    )
    paused = replace(WELL, figures=replace(FIGURES, ledger=replace(LEDGER, ready=False)), failing=Page((job,), 2, 3, 0))
    assert findings.stuck(paused, SETTINGS).status == "OK", "no job is looked at then"
    both = findings.stuck(replace(with_figures(stuck=1), failing=Page((job,), 1, 3, 0)), SETTINGS).message
    assert both.startswith("1 instance without a record, a push or news for 20 min")
    assert both.endswith("; 1 job whose state could not be seen to for 20 min: j-1: 404 instance not found")


def test_nothing_set_aside_is_well_and_so_is_a_loss_of_long_ago() -> None:
    assert findings.set_aside(WELL, SETTINGS).status == "OK"
    assert findings.set_aside(with_figures(losses=1, last_loss_s=NOW - findings.RECENT_LOSS_S - 1), SETTINGS).status == "OK"


@pytest.mark.parametrize(
    "seconds, words", [(-3, "0 s"), (0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (200_000, "2 days")]
)
def test_ages_are_read_at_a_glance(seconds: float, words: str) -> None:
    assert findings.age_in_words(seconds) == words


@pytest.mark.parametrize(
    "draining, status, words",
    [
        (Draining(1200), "OK", "1,200 entries in Redis; no database keeps it"),
        (Draining(1200, configured=True, waiting_s=4.0), "OK", "1,200 entries in Redis, drained into the database"),
        (Draining(1200, configured=True, waiting_s=90.0), "WARNING", "not drained into the database for 90 s"),
        (Draining(9, configured=True, waiting_s=90.0, failures=2, reason="away"), "WARNING", "failed 2 times in a row: away; the oldest"),
        (Draining(9, configured=True, lost=3, lost_at_s=NOW - 60), "WARNING", "3 entries trimmed before the database had them, last"),
        (Draining(9, configured=True, lost=3, lost_at_s=NOW - 90_000), "OK", "drained into the database"),
    ],
)
def test_history(draining: Draining, status: str, words: str) -> None:
    finding = findings.history(replace(WELL, draining=draining))
    assert finding.status == status
    assert words in finding.message
