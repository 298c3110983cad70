"""``python -m tests.benchmarks [NAME …]``: run the benchmarks by hand, one after the other."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Run every benchmark, or the named ones."""
    found = sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))
    for name in sys.argv[1:] or found:
        print(f"\n== {name}", flush=True)
        sys.argv = [name]
        runpy.run_path(str(HERE / f"{name}.py"), run_name="__main__")


if __name__ == "__main__":
    main()
