"""`python -m bench.scale [--measure [--quick]] [--write]`."""

from __future__ import annotations

import argparse
import os
import pathlib
import platform
import sys
import warnings

from bench.plan import FULL, QUICK
from bench.scale import units
from bench.scale.measure import measure
from bench.scale.model import Limits
from bench.scale.tables import everything

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "scale.md"
BEGIN, END = "<!-- tables -->\n", "<!-- end of tables -->\n"


def main() -> int:
    options = _options()
    warnings.filterwarnings("ignore", module="platformdirs")
    if options.measure:
        print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
        units.save(measure(QUICK if options.quick else FULL, options.directory))
    found = everything(units.load(), Limits())
    print(found)
    if options.write:
        PAGE.write_text(with_tables(PAGE.read_text(), found))
    return 0


def with_tables(page: str, tables: str) -> str:
    """The page with those tables in the place of its own."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{tables}\n{END}{rest.partition(END)[2]}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description="prints the tables of docs/scale.md")
    parser.add_argument("--measure", action="store_true", help="measure the unit costs first, and keep them")
    parser.add_argument("--quick", action="store_true", help="with --measure: for a look, not for the page")
    parser.add_argument("--directory", help="with --measure: where the database lies; not a RAM disk")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/scale.md")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
