"""What commands open first: the settings, and the view of the ledger."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tracker.errors import LedgerUnavailable, Transient

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


@contextmanager
def naming_redis(settings: "Settings") -> Iterator[None]:
    """Say which Redis it is that does not answer."""
    from tracker.setting_values import mask_url

    try:
        yield
    except LedgerUnavailable as error:
        cause = str(error).removeprefix("Redis does not answer: ").removeprefix("Redis refuses: ")
        verb = "refuses" if "refuses" in str(error) else "does not answer"
        raise Transient(f"Redis at {mask_url(settings.redis_url.get_secret_value())} {verb}: {cause}") from error
