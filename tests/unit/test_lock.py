"""The lock files hold all that pyproject.toml asks for, with hashes, and name no place it came from."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXTRAS = {
    "dev.txt": {"web", "flower", "history", "demo", "tools"},
    "demo.txt": {"web", "flower", "history", "demo"},
    "runtime.txt": {"web", "flower", "history"},
    "bench.txt": {"bench"},
}
LOCKS = [*sorted(EXTRAS), "build.txt"]


def asked_for(name):
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = pyproject["project"]
    if name in EXTRAS:
        wanted = [*project["dependencies"], *(entry for extra in EXTRAS[name] for entry in project["optional-dependencies"][extra])]
    else:
        wanted = pyproject["build-system"]["requires"]
    return {re.split(r"[^A-Za-z0-9-]", entry)[0].lower() for entry in wanted}


def locked(name):
    """Package → its entry, version and hashes."""
    text = "\n".join(line for line in (ROOT / "requirements" / name).read_text().splitlines() if not line.lstrip().startswith("#"))
    entries = re.split(r"\n(?=[a-z0-9])", text.strip(), flags=re.IGNORECASE)
    return {entry.split("==")[0].lower(): entry for entry in entries}


@pytest.mark.parametrize("name", LOCKS)
def test_whatever_is_asked_for_is_locked(name):
    assert asked_for(name) <= locked(name).keys(), "run: make lock"


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_is_pinned_with_hashes(name):
    for package, entry in locked(name).items():
        assert re.match(r"\S+==\S+ (; .* )?\\\n    --hash=sha256:[0-9a-f]{64}", entry), package


@pytest.mark.parametrize("name", LOCKS)
def test_no_index_no_path_and_no_address_is_named(name):
    assert not re.search(r"://|--index|--find-links|--trusted-host| @ |/home/", (ROOT / "requirements" / name).read_text())


@pytest.mark.parametrize("name", ["build.txt", "demo.txt", "runtime.txt"])
def test_what_runs_in_production_and_builds_it_is_the_version_that_was_tested(name):
    versions = {package: entry.split()[0] for package, entry in locked("dev.txt").items()}
    assert {package: entry.split()[0] for package, entry in locked(name).items()}.items() <= versions.items()


def test_the_oldest_supported_python_gets_what_only_it_needs():
    """redis needs async-timeout below Python 3.11.3; a lock made by a newer Python lacks it, and Debian 12 then cannot install."""
    assert "async-timeout" in locked("runtime.txt")
