"""How imports end: completed and failed, by what the neighbours say before, after and between the records."""

import time

from tests.system import System

HIERARCHY = {"dimension_name": "geography", "code_list_id": "cl-1", "state": "created"}
SEARCH_INDEX = {"dimension_name": "geography", "state": "created"}


def test_an_instance_that_failed_before_its_sibling_completes_fails_the_job(system: System) -> None:
    job = whole, failed = system.new_job("failed-before", 2)
    system.announce(*job)
    system.count(failed, 300)
    system.stack.dataset_api.set_state(failed, "failed")
    system.count(whole, 2500)
    system.tell_totals(whole)
    system.wait_ended(job, "failed", states={failed: "failed"})


def test_an_instance_that_fails_after_its_sibling_has_completed_fails_the_job(system: System) -> None:
    job = whole, failed = system.new_job("failed-after", 2)
    system.announce(*job)
    system.count(whole, 2500)
    system.count(failed, 300)
    system.tell_totals(whole)
    system.stack.wait_until(lambda: system.stack.dataset_api.states()[whole] == "completed")
    assert system.stack.import_api.states()["failed-after"] == "submitted"
    system.stack.dataset_api.set_state(failed, "failed")
    system.wait_ended(job, "failed", states={failed: "failed"})


def test_counts_that_come_after_the_failure_are_still_counted(system: System) -> None:
    (instance,) = job = system.new_job("failed-then-counted")
    system.announce(instance)
    system.count(instance, 10)
    system.stack.dataset_api.set_state(instance, "failed")
    system.wait_ended(job, "failed", states={instance: "failed"})
    system.count(instance, 20)
    system.wait_ended(job, "failed", states={instance: "failed"})


def test_a_total_told_after_all_records_completes_the_instance(system: System) -> None:
    (instance,) = job = system.new_job("late-total")
    system.announce(instance)
    system.count(instance, 2510)
    system.wait_counted(job)
    assert system.stack.dataset_api.states()[instance] == "submitted"
    system.tell_totals(instance)
    system.wait_ended(job)


def test_an_instance_whose_file_message_was_missed_is_found_and_completed(system: System) -> None:
    (instance,) = job = system.new_job("never-announced")
    system.count(instance, 10)
    system.tell_totals(instance)
    system.wait_ended(job)


def test_an_instance_that_is_complete_without_a_record_of_ours_is_found_by_the_listing(system: System) -> None:
    job = system.new_job("counted-by-others", total=700, inserted=700)
    system.wait_ended(job)


def test_rows_that_were_never_counted_keep_the_instance_open(system: System) -> None:
    (instance,) = job = system.new_job("rows-rejected")
    system.announce(instance)
    system.count(instance, 999)
    system.stack.dataset_api.set_total(instance, 1000)
    system.wait_counted(job)
    time.sleep(1)
    assert system.stack.dataset_api.states()[instance] == "submitted"
    system.count(instance, 1)
    system.wait_ended(job)


def test_more_rows_than_the_total_complete_the_instance_and_are_shown(system: System) -> None:
    (instance,) = job = system.new_job("too-many")
    system.announce(instance)
    system.count(instance, 1010)
    system.stack.dataset_api.set_total(instance, 1000)
    system.wait_ended(job)
    assert system.instance(instance)["over"] is True


def test_an_instance_waits_for_its_import_tasks(today: System) -> None:
    """Counted, but not completed before its hierarchies and search indexes are built; nobody here builds them."""
    tasks = {"build_hierarchies": [HIERARCHY], "build_search_indexes": [SEARCH_INDEX]}
    (instance,) = job = today.new_job("open-tasks", tasks=tasks)
    today.announce(instance)
    today.count(instance, 1510)
    today.tell_totals(instance)
    today.wait_counted(job)
    today.stack.wait_until(lambda: today.instance(instance)["state"] == "waiting for import tasks")
    assert "geography" in today.instance(instance)["open_tasks"]
    today.stack.dataset_api.finish_task(instance, "build_hierarchies", "geography")
    time.sleep(1)
    assert today.stack.dataset_api.states()[instance] == "submitted"
    today.stack.dataset_api.finish_task(instance, "build_search_indexes", "geography")
    today.wait_ended(job)
