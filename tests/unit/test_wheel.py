"""What is installed: the package holds all that it needs to run, and nothing of the sandbox or the tests."""

import zipfile
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]

NEEDED = ("tracker/scripts/*.lua", "tracker/web/templates/*.html", "tracker/web/static/*")


def test_the_wheel_holds_scripts_templates_and_static_files(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    names = set(zipfile.ZipFile(wheel).namelist())
    for pattern in NEEDED:
        wanted = {str(path.relative_to(ROOT)) for path in ROOT.glob(pattern)}
        assert wanted, pattern
        assert wanted <= names, pattern
    assert not {name for name in names if name.startswith(("sandbox", "tests"))}
