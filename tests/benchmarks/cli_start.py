"""How long the command line takes to start, beside a bare interpreter: ``python cli_start.py [rounds]``.

The commands take turns, so that a busy moment of the machine hits all of them; medians of wall and of processor time.
The list is asked of a real agent in a home of its own, which is stopped at the end.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

PROGRAM = [sys.executable, "-c", "import sys; from mlops_tui.__main__ import main; sys.exit(main())"]
COMMANDS = {
    "bare python": [sys.executable, "-c", "pass"],
    "mlops --version": [*PROGRAM, "--version"],
    "mlops --help": [*PROGRAM, "--help"],
    "mlops run --help": [*PROGRAM, "run", "--help"],
    "mlops run list --json": [*PROGRAM, "run", "list", "--json"],
    "mlops run list": [*PROGRAM, "run", "list"],
    "completion of a run": [*PROGRAM],
}


def once(name: str, environment: dict[str, str]) -> tuple[float, float]:
    """Run one command and return wall and processor seconds."""
    if name.startswith("completion"):
        environment = {
            **environment,
            "_MLOPS_COMPLETE": "bash_complete",
            "COMP_WORDS": "mlops run show ",
            "COMP_CWORD": "3",
        }
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(COMMANDS[name], env=environment, stdout=subprocess.DEVNULL, check=True, timeout=60)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime


def main(rounds: int) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="mlops-bench-") as folder:
        environment = {**os.environ, "MLOPS_HOME": f"{folder}/home", "XDG_RUNTIME_DIR": folder}
        subprocess.run([*PROGRAM, "agent", "start", "-q"], env=environment, stdout=subprocess.DEVNULL, check=True)
        try:
            taken: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
            for _ in range(rounds):
                for name in COMMANDS:
                    taken[name].append(once(name, environment))
        finally:
            subprocess.run([*PROGRAM, "agent", "stop", "-q"], env=environment, stdout=subprocess.DEVNULL, check=False)
    bare = statistics.median(wall for wall, _ in taken["bare python"])
    print(f"{'command':<24}{'wall ms':>9}{'over bare':>11}{'cpu ms':>9}   median of {rounds}, {os.cpu_count()} cores")
    for name, figures in taken.items():
        wall, cpu = (statistics.median(column) for column in zip(*figures, strict=True))
        print(f"{name:<24}{1e3 * wall:>9.1f}{1e3 * (wall - bare):>11.1f}{1e3 * cpu:>9.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
