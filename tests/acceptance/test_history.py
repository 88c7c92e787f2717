"""What has happened is kept in a database, told by the command, and counted for Prometheus: seen on a whole system."""

import json
from typing import Any

import httpx

from tests.conftest import Build
from tests.postgres import Postgres


def test_an_import_stands_in_the_database_from_its_registration_to_its_job(build: Build, postgres: Postgres) -> None:
    system = build(env={"DB_ACCESS": postgres.access})
    (instance,) = job = system.new_job("kept")
    system.announce(instance)
    system.count(instance, 2500)
    assert system.stack.command("add", instance, "5", "--key", "kept-1", "--new").returncode == 0
    system.expected[instance] += 5
    system.wait_counted(job)
    system.tell_totals(instance)
    system.wait_ended(job)

    def kept() -> list[Any]:
        with postgres.connect() as connection:
            return connection.execute(
                "SELECT what, details FROM import_tracker.history WHERE instance_id = %s OR job_id = 'kept' ORDER BY ms, number",
                (instance,),
            ).fetchall()

    system.stack.wait_until(lambda: kept()[-1:] and kept()[-1][0] == "job_completed", timeout_s=20)
    rows = kept()
    words = [word for word, _ in rows]
    assert words[-2:] == ["completed", "job_completed"]
    assert {"first", "by_hand", "total"} <= set(words)
    assert words.count("registered") <= 1
    assert sum(int(details["count"]) for word, details in rows if word == "pushed") == 2505
    (by_hand,) = [details for word, details in rows if word == "by_hand"]
    assert by_hand["by"]

    told = json.loads(system.stack.command("history", "--job", "kept", "--json").stdout)
    assert told["source"] == "database"
    assert told["items"][0]["what"] == "job_completed"
    assert {item["text"] for item in told["items"] if item["what"] == "job_completed"} == {"the job is completed"}

    text = httpx.get(f"{system.stack.web_url}/metrics", trust_env=False).text
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(figures["import_tracker_observations_pushed_total"]) == 2505
    assert float(figures['import_tracker_instances_ended_total{state="completed"}']) == 1
    assert float(figures['import_tracker_jobs_ended_total{state="completed"}']) == 1
    assert float(figures["import_tracker_completion_seconds_count"]) == 1
    assert (float(figures["import_tracker_owed_observations"]), float(figures["import_tracker_open_intents"])) == (0, 0)
    assert float(figures['import_tracker_processes{kind="bridge"}']) == 1
