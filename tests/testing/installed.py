"""An environment in which LightMoon is installed as `setup.cfg` says, whatever the tests' own has."""

from __future__ import annotations

import configparser
import os
from pathlib import Path

NOT_FOR_OTHERS = ("DJANGO_SETTINGS_MODULE", "PYTEST_ADDOPTS")
ROOT = Path(__file__).resolve().parent.parent.parent


def environment(folder: Path) -> dict[str, str]:
    """For a subprocess. The distribution's metadata is put into `folder`."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    metadata = folder / "installed" / "lightmoon_django-0.dist-info"
    metadata.mkdir(parents=True, exist_ok=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: lightmoon-django\nVersion: 0\n")
    points = "\n".join(f"[{group}]\n{lines}" for group, lines in config["options.entry_points"].items())
    (metadata / "entry_points.txt").write_text(points)
    kept = {name: value for name, value in os.environ.items() if name not in NOT_FOR_OTHERS}
    return {**kept, "PYTHONPATH": os.pathsep.join([str(ROOT), str(metadata.parent)])}
