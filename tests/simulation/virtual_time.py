"""An event loop whose time passes only when nothing else is to be done, and then at once."""

import asyncio
import selectors
from collections.abc import Mapping
from typing import Any

EPOCH_S = 1_700_000_000.0
"""What the virtual wall clock says when a run starts."""


class _Selector(selectors.BaseSelector):
    """Waits for nothing: it moves the clock instead."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = selectors.SelectorKey(fileobj, fileobj if isinstance(fileobj, int) else fileobj.fileno(), events, data)
        self._keys[fileobj] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("every task waits for another: nothing can happen any more")
        self.now_s += max(0.0, timeout)
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs coroutines on virtual time; `wall()` is what `time.time` is to be replaced with."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Seconds since the run began."""
        return self._virtual.now_s

    def wall(self) -> float:
        """The same as a time of day."""
        return EPOCH_S + self._virtual.now_s
