"""The process: settings, connections, signals. `python -m bridge`, or `tracker-bridge`."""

import argparse
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from types import FrameType
from typing import NoReturn

import structlog

from bridge.consumer import FETCH_WAIT_S, LEISURELY_FETCH_WAIT_S, Cluster, Fenced, GroupConsumer
from bridge.loop import Bridge
from bridge.publishing import Publisher
from bridge.verifying import Policy, Verifier
from bridge.window import MAX_BATCHES, Window
from tracker import logs, settings
from tracker.errors import BadInput
from tracker.events import Kind
from tracker.ledger import Ledger
from tracker.ledger_scripts import connect

log = structlog.get_logger(__name__)

BAD_SETTINGS = 2
FAILED = 1


def consumers(chosen: settings.Settings) -> list[GroupConsumer]:
    """One member for both topics where they share a group, else one for each."""
    topics_by_group: dict[str, list[str]] = {}
    for topic, group in groups(chosen).items():
        topics_by_group.setdefault(group, []).append(topic)
    return [
        GroupConsumer(
            chosen.kafka_addr,
            group,
            topics,
            session_timeout_s=chosen.kafka_session_timeout_s,
            poll_records=chosen.bridge_poll_records,
            instance_id=chosen.kafka_group_instance_id,
            # Resumed often while records flow, which registrations, few as they are, do not.
            fetch_wait_s=FETCH_WAIT_S if chosen.import_observations_inserted_topic in topics else LEISURELY_FETCH_WAIT_S,
            tls=chosen.kafka_tls.context,
        )
        for group, topics in topics_by_group.items()
    ]


def groups(chosen: settings.Settings) -> Mapping[str, str]:
    """The consumer group of each topic, the counts' first."""
    return {
        chosen.import_observations_inserted_topic: chosen.import_observations_inserted_consumer_group,
        chosen.input_file_available_topic: chosen.input_file_available_consumer_group,
    }


def build(chosen: settings.Settings) -> Bridge:
    """Wire a bridge. Nothing is connected to before its first step."""
    from tracker.celery import app  # noqa: PLC0415 - reads the settings itself, so only once they are known to be good

    counts, registrations = chosen.import_observations_inserted_topic, chosen.input_file_available_topic
    kinds: dict[str, Kind] = {counts: "counts", registrations: "registrations"}
    ledger = Ledger(connect(chosen.redis_url.get_secret_value()), chosen.redis_key_prefix, dead_letters_max=chosen.dead_letters_max)
    cluster = Cluster(chosen.kafka_addr, chosen.kafka_tls.context)
    publisher = Publisher(app)
    policy = Policy(
        counts_topic=counts,
        registrations_topic=registrations,
        groups=groups(chosen),
        oldest=chosen.kafka_offset_oldest,
        wait_s=chosen.dataset_api_timeout_s + chosen.api_max_request_age_s,
    )
    return Bridge(
        name=chosen.kafka_group_instance_id or f"{socket.gethostname()}-{os.getpid()}",
        kinds=kinds,
        consumers=consumers(chosen),
        cluster=cluster,
        ledger=ledger,
        publisher=publisher,
        verifier=Verifier(ledger, cluster, policy, waiting=publisher.queue_length, clock=time.monotonic),
        window=Window(chosen.bridge_window_records, chosen.republish_after_s, MAX_BATCHES),
        clock=time.monotonic,
        wait=time.sleep,
        version=_version(),
    )


def _version() -> str:
    try:
        return version("import-tracker")
    except PackageNotFoundError:
        return ""


def _stop_on_signals(bridge: Bridge) -> None:
    """The first SIGTERM or SIGINT ends the loop in good order, the second at once."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        if bridge.closing:
            raise SystemExit(FAILED)
        bridge.closing = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


def run(chosen: settings.Settings) -> int:
    """Run a bridge until it is told to stop. Returns the exit code: 0 when all that was on its way is applied and committed."""
    bridge = build(chosen)
    _stop_on_signals(bridge)
    try:
        bridge.run()
        return 0 if bridge.close(chosen.graceful_shutdown_timeout_s) else FAILED
    except Fenced as error:
        log.error("bridge_fenced", reason=str(error))  # noqa: TRY400 - the traceback says nothing to whoever set the id
        return FAILED
    except Exception:
        log.exception("bridge_failed")
        return FAILED


def main() -> NoReturn:
    """Run the console script. It takes no arguments but --help and --version: one that is mistyped must not join the group."""
    parser = argparse.ArgumentParser("tracker-bridge", description="Read the topics and hand what they tell to the workers, until stopped.")
    parser.epilog = "Everything is set by the environment: see `tracker settings`."
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    parser.parse_args()
    try:
        chosen = settings.load()
    except BadInput as error:
        for line in str(error).splitlines():
            print(f"tracker-bridge: {line}", file=sys.stderr)  # noqa: T201 - for the person who started it
        sys.exit(BAD_SETTINGS)
    logs.configure(human=chosen.human_log, level=chosen.log_level, secrets=settings.secrets(chosen))
    log.info("settings", **settings.to_event(chosen))
    sys.exit(run(chosen))


if __name__ == "__main__":
    main()
