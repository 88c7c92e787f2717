"""What commands open first: the settings, and the view of the ledger."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tracker.errors import BadInput, LedgerUnavailable, Transient

if TYPE_CHECKING:
    from tracker.overview import Overview
    from tracker.settings import Settings


def load_settings() -> "Settings":
    """The settings of the environment. Raises BadInput with a line for each that is wrong."""
    from tracker.settings import load

    return load()


def open_overview(settings: "Settings") -> "Overview":
    """The overview of a Redis that answers. Raises Transient when it does not."""
    from tracker.overview import make_overview

    overview = make_overview(settings)
    with naming_redis(settings):
        overview.ledger.now_s()
    return overview


def refuse_job(overview: "Overview", instance: str) -> None:
    """Refuse a job's id where an instance's is wanted. Raises BadInput."""
    if job := overview.job(instance):
        raise BadInput(f"{instance} is a job, not an instance; of it: {', '.join(job.instances) or 'none that is known here'}")


@contextmanager
def naming_redis(settings: "Settings") -> Iterator[None]:
    """Say which Redis it is that does not answer. What a Redis that answers says of its ledger stands by itself."""
    from tracker.setting_values import mask_url

    try:
        yield
    except LedgerUnavailable as error:
        for verb in ("does not answer", "refuses"):
            if str(error).startswith(f"Redis {verb}: "):
                where = f"Redis at {mask_url(settings.redis_url.get_secret_value())}"
                raise Transient(str(error).replace("Redis", where, 1)) from error
        raise
