"""``python -m mlops_tui.agent [--stay]``: run the agent in the foreground; clients start it in the background."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys

from mlops_tui.client.start import START_FD, refused
from mlops_tui.core.errors import MlopsError, StoreLocked
from mlops_tui.core.launch import give_way
from mlops_tui.core.paths import home

SWITCH_S = 0.0002
"""How long a thread may hold the interpreter while another waits: a screen's question has a dozen turns, each after
one of the ingestion's. Of Python's own 5 ms a reader feels 70, at the same rate of ingestion."""


def main() -> int:
    """Run the agent and return its exit code."""
    parser = argparse.ArgumentParser(prog="mlops agent start")
    parser.add_argument("--stay", action="store_true", help="do not leave when idle")
    stay = parser.parse_args().stay
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    give_way(5)  # a good neighbour of training
    sys.setswitchinterval(SWITCH_S)
    # The database asks at every object that it is given whether it is pandas', and imports that: 0.4 s and 70 MB where
    # it is installed, a search each time where it is not. Nothing here has a frame; a no that is remembered is quick.
    sys.modules.setdefault("pandas", None)  # type: ignore[arg-type]
    try:
        from mlops_tui.agent.process import Agent

        agent = Agent(home(), stay=stay)
    except MlopsError as error:
        return _refuse(error)
    except OSError as error:
        what = f"the agent cannot use {error.filename or home().data}"
        return _refuse(MlopsError(what, str(error.strerror), "set MLOPS_HOME to a folder that you may write"))
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        _tell({"error": MlopsError("the agent cannot start", why, f"look at {home().logs / 'agent.log'}").record()})
        raise
    refused(home()).unlink(missing_ok=True)
    agent.run(ready=lambda: _tell({"notice": agent.notice}))
    return 0


def _refuse(error: MlopsError) -> int:
    _tell({"error": error.record()})
    if not isinstance(error, StoreLocked):  # the other one runs
        with contextlib.suppress(OSError):  # nobody can be told later of a disk that takes nothing
            refused(home()).write_text(json.dumps(error.record()))
    print(error, file=sys.stderr)
    return int(error.exit_code)


def _tell(word: dict[str, object]) -> None:
    """Tell whoever started us how it went, once, and the service manager if there is one."""
    if descriptor := os.environ.pop(START_FD, ""):
        with os.fdopen(int(descriptor), "wb") as pipe:
            pipe.write(json.dumps(word).encode())
    if (address := os.environ.get("NOTIFY_SOCKET")) and "error" not in word:
        import socket

        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.connect("\0" + address[1:] if address.startswith("@") else address)
            manager.send(b"READY=1")


if __name__ == "__main__":
    sys.exit(main())
