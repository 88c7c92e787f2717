"""
The health of the whole system: each part is looked at every few seconds, and the answer is given from the last looks.

The form is the original's (dp-healthcheck): checks by name with their status, message and times, and one status over
all of them. That is WARNING until every check has run once; a critical check makes it CRITICAL only when it has
been failing for `HEALTHCHECK_CRITICAL_TIMEOUT`, and WARNING until then.
"""

import asyncio
import importlib.metadata
import platform
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import structlog
from pydantic import SecretStr

from tracker import findings
from tracker.api_client import HealthAnswer
from tracker.dataset_api import DatasetApi
from tracker.errors import LedgerUnavailable
from tracker.findings import Finding, Seen, Status
from tracker.import_api import ImportApi
from tracker.overview import Overview
from tracker.settings import Settings

log = structlog.get_logger(__name__)

REGISTRATIONS, COUNTS = "Kafka NewInstanceEvent Consumer", "Kafka ObservationsInsertedEvent Consumer"
IMPORT_API, DATASET_API = "importAPI", "datasetAPI"
REDIS, LEDGER, BRIDGE, WORKERS, BEAT, LISTING = "Redis", "Ledger", "Bridge", "Workers", "Beat", "Listing"
SET_ASIDE, STUCK, HISTORY = "Parked and dead letters", "Stuck imports", "History"

CHECKS = (REGISTRATIONS, COUNTS, IMPORT_API, DATASET_API, REDIS, LEDGER, BRIDGE, WORKERS, BEAT, LISTING, SET_ASIDE, STUCK, HISTORY)
"""The names of all checks, the original's first."""

HTTP_STATUS = {"OK": 200, "WARNING": 429, "CRITICAL": 500}

MOST_NAMED = 3
"""Stuck instances that the line about them names, and failing jobs."""

ROUND_S = 5.0
"""Seconds between two looks: those who watch ask every 10 s."""

ALLOWED_S = 8.0
"""How long one look may take before it counts as failed. An API's own time-out is shorter by default."""


class Api(Protocol):
    """What health needs of an API."""

    async def health(self) -> HealthAnswer:
        """Ask how it is. Never raises."""


@dataclass(slots=True)
class Check:
    """One check's past. Times of the wall clock are for people, `failing_since_s` is of the monotonic clock."""

    name: str
    finding: Finding | None = None
    last_checked: datetime | None = None
    last_success: datetime | None = None
    last_failure: datetime | None = None
    failing_since_s: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Write the check as the original does: `status_code` is left out where it is 0."""
        finding = self.finding or Finding("WARNING", "not checked yet")
        code = {"status_code": finding.status_code} if finding.status_code else {}
        times = {"last_checked": _rfc3339(self.last_checked), "last_success": _rfc3339(self.last_success)}
        return (
            {"name": self.name, "status": finding.status}
            | code
            | {"message": finding.message}
            | times
            | {"last_failure": _rfc3339(self.last_failure)}
        )


class Board:
    """The results of all checks, and the one status that follows from them."""

    def __init__(
        self,
        names: tuple[str, ...] = CHECKS,
        *,
        critical_timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.checks = {name: Check(name) for name in names}
        self._critical_timeout_s = critical_timeout_s
        self._clock = clock
        self._now = now
        self._start_s = clock()
        self._start_time = now()

    def record(self, found: Mapping[str, Finding]) -> list[str]:
        """Note what was found; returns the checks whose status is another than before."""
        changed = []
        for name, finding in found.items():
            check = self.checks[name]
            if check.finding is None or check.finding.status != finding.status:
                changed.append(name)
            check.finding = finding
            check.last_checked = self._now()
            if finding.status == "OK":
                check.last_success = check.last_checked
            else:
                check.last_failure = check.last_checked
            if finding.status != "CRITICAL":
                check.failing_since_s = None
            elif check.failing_since_s is None:
                check.failing_since_s = self._clock()
        return changed

    @property
    def started(self) -> bool:
        """Whether every check has run once."""
        return all(check.finding for check in self.checks.values())

    @property
    def status(self) -> Status:
        """The status over all checks."""
        if not self.started:
            return "WARNING"
        for check in self.checks.values():
            if check.failing_since_s is not None and self._clock() - check.failing_since_s >= self._critical_timeout_s:
                return "CRITICAL"
        return "OK" if all(check.finding and check.finding.status == "OK" for check in self.checks.values()) else "WARNING"

    def as_json(self) -> dict[str, Any]:
        """Write everything in the original's form: `uptime` in milliseconds, times in RFC 3339, UTC."""
        return {
            "status": self.status,
            "version": version(),
            "uptime": int((self._clock() - self._start_s) * 1000),
            "start_time": _rfc3339(self._start_time),
            "checks": [check.as_json() for check in self.checks.values()],
        }


def make_examiner(settings: Settings, overview: Overview) -> "Examiner":
    """The examiner of the system that the settings name, with API clients of its own."""
    return Examiner(
        overview,
        DatasetApi(
            settings.dataset_api_addr,
            token=_plain(settings.dataset_api_auth_token),
            service_token=_plain(settings.service_auth_token),
            timeout_s=settings.dataset_api_timeout_s,
            max_calls=1,
        ),
        ImportApi(
            settings.import_api_addr,
            token=_plain(settings.import_api_auth_token),
            service_token=_plain(settings.service_auth_token),
            timeout_s=settings.import_api_timeout_s,
            max_calls=1,
        ),
        settings,
    )


class Examiner:
    """Looks at every part once; holds nothing of what it found. The APIs belong to the event loop it is called on."""

    def __init__(self, overview: Overview, dataset_api: Api, import_api: Api, settings: Settings) -> None:
        self._overview = overview
        self._apis: Mapping[str, Api] = {IMPORT_API: import_api, DATASET_API: dataset_api}
        self._settings = settings
        self._places = {
            IMPORT_API: f"the Import API at {settings.import_api_addr} (IMPORT_API_ADDR)",
            DATASET_API: f"the Dataset API at {settings.dataset_api_addr} (DATASET_API_ADDR)",
        }

    async def examine(self, record: Callable[[Mapping[str, Finding]], object]) -> None:
        """Run all checks side by side; each is recorded as soon as it is done. None takes longer than `ALLOWED_S`."""

        async def one(names: tuple[str, ...], look: Awaitable[Mapping[str, Finding]]) -> None:
            try:
                async with asyncio.timeout(ALLOWED_S):
                    found = await look
            except TimeoutError:
                found = dict.fromkeys(names, Finding("CRITICAL", f"no answer within {ALLOWED_S:g} s"))
            except Exception as error:  # a check that breaks is a finding, never the end of the others
                log.exception("check_broke", checks=names)
                found = dict.fromkeys(names, Finding("CRITICAL", f"the check itself failed: {type(error).__name__}"))
            record(found)

        of_redis = tuple(name for name in CHECKS if name not in self._apis)
        await asyncio.gather(
            one(of_redis, asyncio.to_thread(self.look_at_redis)), *(one((name,), self._ask(name, api)) for name, api in self._apis.items())
        )

    async def _ask(self, name: str, api: Api) -> dict[str, Finding]:
        answer = await api.health()
        # Where it was asked, as most often the address is what is wrong.
        message = answer.message if answer.status == "OK" else f"{self._places[name]}: {answer.message}"
        return {name: Finding(answer.status, message, answer.status_code or 0)}

    def look_at_redis(self) -> dict[str, Finding]:
        """Run the checks that Redis alone can tell; blocks."""
        try:
            seen = look(self._overview, self._settings)
        except LedgerUnavailable as error:
            others = tuple(name for name in CHECKS if name not in self._apis and name != REDIS)
            return {REDIS: Finding("CRITICAL", str(error))} | dict.fromkeys(
                others, Finding("WARNING", "not known while Redis does not answer")
            )
        return judge(seen, self._settings)


def look(overview: Overview, settings: Settings) -> Seen:
    """Gather what Redis knows of all parts. Raises LedgerUnavailable."""
    figures = overview.figures()
    return Seen(
        figures=figures,
        standing=overview.instances("stuck", limit=MOST_NAMED).items if figures.stuck else (),
        bridges=overview.heartbeats("bridge"),
        workers=overview.heartbeats("worker"),
        beats=overview.heartbeats("beat"),
        durability=overview.durability(),
        broker_trouble=overview.broker_trouble(),
        draining=overview.draining(),
        failing=overview.failing_jobs(settings.stuck_after_s, MOST_NAMED),
    )


def judge(seen: Seen, settings: Settings) -> dict[str, Finding]:
    """What follows from a look at Redis for each of its checks."""
    return {
        REGISTRATIONS: findings.consumer(seen, settings.input_file_available_topic),
        COUNTS: findings.consumer(seen, settings.import_observations_inserted_topic),
        REDIS: findings.redis_server(seen),
        LEDGER: findings.ledger(seen),
        BRIDGE: findings.bridge(seen, settings),
        WORKERS: findings.workers(seen),
        BEAT: findings.beat(seen, settings),
        LISTING: findings.listing(seen, settings),
        SET_ASIDE: findings.set_aside(seen, settings),
        STUCK: findings.stuck(seen, settings),
        HISTORY: findings.history(seen),
    }


def version() -> dict[str, str]:
    """What runs here. `build_time` is when the installed package was written, `git_commit` is known for installs from git."""
    installed, commit = "unknown", ""
    written = Path(__file__).stat().st_mtime
    with suppress(importlib.metadata.PackageNotFoundError):
        distribution = importlib.metadata.distribution("import-tracker")
        installed = distribution.version
        origin = distribution.read_text("direct_url.json") or ""
        commit = origin.partition('"commit_id": "')[2].partition('"')[0]
    return {
        "build_time": _rfc3339(datetime.fromtimestamp(written, UTC)) or "",
        "git_commit": commit,
        "language": "python",
        "language_version": platform.python_version(),
        "version": installed,
    }


def _rfc3339(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None
