"""What the commands that look show."""

import json

import pytest

from tests.unit.tracker.cli.runs import follow, one_line, run
from tracker.api_client import HealthAnswer
from tracker.cli import reading
from tracker.dataset_api import DatasetApi
from tracker.events import Batch, ObservationsInserted, pack
from tracker.import_api import ImportApi
from tracker.instance import Instance
from tracker.ledger import Ledger
from tracker.settings import Settings


def test_status_shows_instances_with_progress_and_jobs(ledger: Ledger) -> None:
    follow(ledger, "i-1", "i-2")
    result = run("status")
    assert result.exit_code == 0
    assert "2 followed, 0 finished" in result.stdout
    assert "40 %" in result.stdout
    assert "job-1" in result.stdout
    assert "CRITICAL Workers: no worker serves tracker.apply" in result.stdout


def test_status_leaves_out_what_is_finished_unless_asked(ledger: Ledger) -> None:
    follow(ledger, "i-open", "i-done")
    ledger.finish(ledger.seen(ledger.take("i-done"), Instance("i-done", "submitted", "job-1", 4, 4)), "completed")
    assert "i-done" not in run("status").stdout
    assert "i-done" in run("status", "--all").stdout


def test_status_points_to_what_is_finished_where_nothing_else_is(ledger: Ledger) -> None:
    assert "no instance is followed\n" in run("status").stdout
    follow(ledger, "i-done")
    ledger.finish(ledger.seen(ledger.take("i-done"), Instance("i-done", "submitted", "job-1", 4, 4)), "completed")
    assert "no instance is followed; --all shows the 1 finished\n" in run("status").stdout


@pytest.mark.parametrize("as_json", [True, False])
def test_status_is_watched_into_a_pipe_as_well(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, as_json: bool) -> None:  # noqa: FBT001
    follow(ledger, "i-1")
    looks = iter([None, None])

    def sleep(_: float) -> None:
        if next(looks, "end") == "end":
            raise KeyboardInterrupt

    monkeypatch.setattr("tracker.cli.reading.time.sleep", sleep)
    result = run("status", "--watch", *(["--json"] if as_json else []))
    assert result.exit_code == 0
    if as_json:
        assert [json.loads(line)["figures"]["followed"] for line in result.stdout.splitlines()] == [1, 1, 1]
    else:
        assert result.stdout.count("instances  1 followed") == 3


def test_status_names_what_is_parked_and_does_not_refer_to_itself(ledger: Ledger) -> None:
    names = [f"i-{number}" for number in range(1, 5)]
    follow(ledger, *names)
    for name in names:
        ledger.park(ledger.seen(ledger.take(name), Instance(name, "submitted", "job-1", 10, 4)), "refused", "400")
    (line,) = [line for line in run("status").stdout.splitlines() if "Parked and dead letters" in line]
    named = "i-1 (refused), i-2 (refused), i-3 (refused), …"
    assert line.rstrip() == f"WARNING Parked and dead letters: 4 instances parked: {named}; see tracker parked list"


def test_status_names_commands_that_a_shell_understands(ledger: Ledger) -> None:
    ledger.register("a b", "job-1")
    ledger.park(ledger.seen(ledger.take("a b"), Instance("a b", "submitted", "job-1", 10, 4)), "refused", "400")
    ledger.client.xadd(f"{ledger.prefix}dead", {"what": "undecodable"})
    (line,) = [line for line in run("status").stdout.splitlines() if "Parked and dead letters" in line]
    assert line.rstrip().endswith(
        "1 instance parked; 1 dead letter; parked: a b (refused); see tracker show 'a b', tracker dead-letters list"
    )


def test_status_says_what_it_leaves_out(ledger: Ledger) -> None:
    follow(ledger, *(f"i-{number}" for number in range(5)))
    assert "… and 3 more instances (--limit)" in run("status", "--limit", "2").stdout


def test_status_as_json_can_be_read_by_programs(ledger: Ledger) -> None:
    follow(ledger, "i-1")
    ledger.beat("bridge", "b", {"partitions": {"counts:0": {"lag": 7}}}, 60)
    told = json.loads(run("status", "--json").stdout)
    assert told["figures"]["followed"] == 1
    assert told["lag"] == {"counts:0": 7}
    assert told["instances"]["items"][0]["total"] == 10
    assert told["jobs"]["items"][0]["instances"] == ["i-1"]
    assert told["checks"]["Bridge"]["status"] == "OK"


def test_ids_are_shown_as_they_are_and_never_as_markup(ledger: Ledger) -> None:
    follow(ledger, "[red]i-1[/red]")
    assert "[red]i-1[/red]" in run("status").stdout


def test_show_tells_all_of_one_instance(ledger: Ledger) -> None:
    follow(ledger, "i-1")
    payload, records = pack("counts", 0, [(0, 6)], lambda count: ObservationsInserted("i-1", count))
    ledger.apply(Batch(ledger.state(()).id or "", "counts", 0, "e", 0, 1, "counts", records, payload))
    turn = ledger.seen(ledger.take("i-1"), Instance("i-1", "submitted", "job-1", 10, 4))
    ledger.park(turn, "drift", "somebody else counts")
    text = run("show", "i-1").stdout
    assert all(words in text for words in ("parked", "job-1", "4 confirmed of 10 (40 %)", "somebody else counts", "(drift)"))
    assert json.loads(run("show", "i-1", "--json").stdout)["owed"] == 6


@pytest.mark.usefixtures("ledger")
def test_show_of_an_unknown_instance_fails() -> None:
    result = run("show", "i-9")
    assert (result.exit_code, one_line(result)) == (1, "i-9: no such instance is known here; tracker status --all lists those that are")


# -- settings --


def test_settings_show_value_source_and_meaning_and_mask_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNC_INTERVAL", "1m")
    monkeypatch.setenv("SERVICE_AUTH_TOKEN", "hush-hush")
    text = run("settings").stdout
    assert "hush-hush" not in text
    assert "The time between two full listings" in text
    rows = {row["name"]: row for row in json.loads(run("settings", "--json").stdout)}
    assert (rows["SYNC_INTERVAL"]["value"], rows["SYNC_INTERVAL"]["source"], rows["SYNC_INTERVAL"]["default"]) == (
        "1m",
        "environment",
        "30s",
    )
    assert rows["SERVICE_AUTH_TOKEN"]["value"] == "***"


# -- health --


@pytest.fixture
def apis(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both APIs are well."""

    async def health(_: object) -> HealthAnswer:
        return HealthAnswer("OK", 200, "GET /health: 200")

    monkeypatch.setattr(DatasetApi, "health", health)
    monkeypatch.setattr(ImportApi, "health", health)


@pytest.mark.usefixtures("apis")
def test_health_shows_every_check_and_fails_when_one_is_critical(ledger: Ledger) -> None:
    result = run("health")
    assert result.exit_code == 1
    assert "no worker serves" in result.stdout
    ledger.beat("worker", "all@h", {"queues": ["tracker.apply", "tracker.push", "tracker.control"]}, 60)
    ledger.beat("beat", "b", {"last_tick": ledger.now_s()}, 60)
    partitions = {"input-file-available:0": {"lag": 0}, "import-observations-inserted:0": {"lag": 0}}
    ledger.beat("bridge", "b", {"partitions": partitions}, 60)
    result = run("health", "--json")
    assert result.exit_code == 0
    assert {check["name"]: check["status"] for check in json.loads(result.stdout)["checks"]}["Workers"] == "OK"


def test_health_of_this_hosts_own_process(monkeypatch: pytest.MonkeyPatch, ledger: Ledger) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "host-1")
    ledger.beat("worker", "push@host-2", {"host": "host-2"}, 60)
    ledger.beat("bridge", "host-1-55", {}, 60)
    ledger.beat("bridge", "host-11-5", {}, 60)
    result = run("health", "--self", "worker")
    assert (result.exit_code, one_line(result)) == (1, "no worker of host-1 is alive; alive elsewhere: push@host-2")
    assert run("health", "--self", "bridge").stdout == "bridge: alive (host-1-55)\n"
    assert run("health", "--self", "beat").exit_code == 1


def test_a_bridge_with_an_id_of_its_own_is_found_by_it(monkeypatch: pytest.MonkeyPatch, ledger: Ledger) -> None:
    monkeypatch.setenv("KAFKA_GROUP_INSTANCE_ID", "left")
    ledger.beat("bridge", "left", {}, 60)
    assert run("health", "--self", "bridge").exit_code == 0


def test_health_of_the_own_web_asks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIND_ADDR", "127.0.0.1:1")
    result = run("health", "--self", "web")
    assert result.exit_code == 1
    assert one_line(result).startswith("web at http://127.0.0.1:1/livez does not answer")


@pytest.mark.parametrize(
    "bind_addr, url",
    [(":21300", "http://127.0.0.1:21300/livez"), ("0.0.0.0:80", "http://127.0.0.1:80/livez"), ("[::1]:80", "http://[::1]:80/livez")],
)
def test_the_own_web_is_asked_where_it_listens(bind_addr: str, url: str) -> None:
    assert reading.livez_url(Settings(bind_addr=bind_addr)) == url
