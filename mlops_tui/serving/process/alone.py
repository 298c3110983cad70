"""One server in the foreground, without a deployment: ``mlops serve``; ``python -m mlops_tui.serving.process.alone``.

The same supervisor as that of a deployment, in a folder that lives as long as the process. Ctrl-C drains: whoever is
being answered gets the answer.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from mlops_tui.core.errors import BadInput, MlopsError
from mlops_tui.core.printable import clean
from mlops_tui.serving import exposure
from mlops_tui.serving.deployment import (
    DEPLOYMENT,
    ROUTES,
    TOGGLES,
    Deployment,
    Model,
    Revision,
    Routes,
    write_json,
)
from mlops_tui.serving.models.bundle import Facts
from mlops_tui.serving.models.session import POLICIES, PROVIDERS
from mlops_tui.serving.models.sources import Source, find_source
from mlops_tui.serving.process.alone_words import ask, told
from mlops_tui.serving.process.shelf import Shelf, is_shelf
from mlops_tui.serving.process.supervisor import Supervisor
from mlops_tui.serving.tls import tls_of
from mlops_tui.toggles import read_file

_MOST_TOKEN = 4096
_FACTS = (
    "workers", "threads", "provider", "provider_policy", "python", "engines", "memory_mb", "load_s", "timeout_s",
)  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Serve until Ctrl-C; returns the exit code."""
    wishes = _parser().parse_args(argv)
    level = logging.INFO if wishes.verbose else logging.ERROR
    logging.basicConfig(format="%(asctime)s supervisor %(levelname)s %(message)s", level=level)
    folder = Path(tempfile.mkdtemp(prefix="mlops-serve-"))
    try:
        return _serve(folder, wishes)
    except MlopsError as error:
        print("✖ " + clean(f"{error} · {error.code}"), file=sys.stderr)
        if wishes.json:
            print(json.dumps({"schema": "error/1", "error": error.record()}), file=sys.stderr)
        return int(error.exit_code)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mlops serve")
    parser.add_argument("source", nargs="?", default="", help="model file or bundle")
    parser.add_argument("--registered", default="", help="what the agent said of a registered model, as JSON")
    parser.add_argument("--name", default="", help="the name that clients use")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--token-file", default="")
    parser.add_argument("--toggles", default="", help="flagd file whose toggles name this model as their deployment")
    parser.add_argument("--log", default="", help="folder of the inference log; default, none is kept")
    parser.add_argument("--sample", type=float, default=None, help="share of the requests in the log")
    parser.add_argument("--redact", default=None, help="columns that the log leaves out, separated by commas")
    parser.add_argument("--tls-cert", default="", help="certificate chain in PEM")
    parser.add_argument("--tls-key", default="", help="its key")
    parser.add_argument("--tls-client-ca", default="", help="authority whose certificate clients must have")
    parser.add_argument("--insecure", action="store_true", help="beyond loopback without TLS and a token")
    parser.add_argument("--grpc-port", type=int, default=0, help="serve the protocol over gRPC too")
    parser.add_argument("--traces", default="", help="address of an OpenTelemetry collector")
    parser.add_argument("--signed-by", default="", help="public key whose signature a bundle must have")
    parser.add_argument("--provider", default="", choices=("", *PROVIDERS))
    parser.add_argument("--provider-policy", default="", choices=("", *POLICIES))
    parser.add_argument("--python", default="", help="the Python of an environment that has what the model needs")
    parser.add_argument("--engines", type=int, default=0, help="processes of a model, shared by the workers")
    parser.add_argument("--memory-mb", type=int, default=0, help="what the process of a model may have")
    parser.add_argument("--load-s", type=float, default=0.0, help="seconds until a model must be loaded")
    parser.add_argument("--timeout-s", type=float, default=0.0, help="seconds until a model must answer")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    return parser


def _serve(folder: Path, wishes: argparse.Namespace) -> int:
    shelf = Shelf(Path(wishes.source).absolute(), folder) if wishes.source and is_shelf(Path(wishes.source)) else None
    source = shelf.source if shelf else _source(wishes, folder / "unpacked")
    deployment = _deployment(source, wishes)
    if left := exposure.check(deployment.host, deployment.tls, deployment.token is not None, wishes.insecure):
        print(f"! {left}", file=sys.stderr)
    write_json(folder / DEPLOYMENT, msgspec.to_builtins(deployment))
    own = Routes(
        1, 1, source.revisions, source.sticky, source.fallback, rescue=source.rescue, features=source.features,
        missing=source.missing,
    )  # fmt: skip
    routes = shelf.routes() if shelf else own
    write_json(folder / ROUTES, msgspec.to_builtins(routes))
    if wishes.toggles:
        _follow(Path(wishes.toggles).absolute(), folder / TOGGLES)
    os.chdir(folder)
    supervisor = Supervisor(folder)
    supervisor.loading.shelf = shelf
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, supervisor.stop)
    supervisor.begin()
    try:
        _run(supervisor, deployment, source, wishes.json)
    finally:
        supervisor.end()
    return 0


def _run(supervisor: Supervisor, deployment: Deployment, source: Source, as_json: bool) -> None:
    """Take turns until it is told to stop, and say so when it serves.

    Raises:
        BadInput: the model cannot be served.
    """
    announced = False
    # Asked aside: a worker that is still to be told its routes may be the one that gets the question.
    aside, answer = ThreadPoolExecutor(1, "mlops-ask"), None
    while not supervisor.stopping:
        supervisor.turn()
        if announced:
            continue
        state = supervisor.state
        if answer is not None:
            if announced := answer.done():
                said = answer.result()
                print(json.dumps(said) if as_json else told(said, source, deployment), flush=True)
        elif state.get("ready"):
            answer = aside.submit(ask, deployment, state["port"])
        elif state.get("refused"):
            raise BadInput(f"{source.name} cannot be served", state["refused"]["why"])
        elif supervisor.hopeless:
            raise BadInput(f"{source.name} cannot be served", "its workers die while they take it in", "run it with -v")


def _source(wishes: argparse.Namespace, scratch: Path) -> Source:
    if wishes.registered:
        said = json.loads(wishes.registered)
        model = msgspec.convert(said["model"], Model)
        facts = msgspec.convert(said.get("facts", {}), Facts)
        found = Source(said["name"], (Revision(said["id"], 1, said["label"], model, 100.0),), facts)
    else:
        found = find_source(Path(wishes.source).absolute(), scratch, wishes.signed_by)
    return found._replace(name=wishes.name) if wishes.name else found


def _deployment(source: Source, wishes: argparse.Namespace) -> Deployment:
    facts: dict[str, Any] = msgspec.to_builtins(source.facts)
    facts |= {key: given for key in _FACTS if (given := getattr(wishes, key))}
    if wishes.sample is not None:
        facts["log_sample"] = wishes.sample
    if wishes.redact is not None:
        facts["redact"] = tuple(name.strip() for name in wishes.redact.split(",") if name.strip())
    if (python := facts.get("python", "")) and not os.access(python, os.X_OK):
        raise BadInput(f"{source.name} wants {python}", "there is no such Python here", "--python PATH")
    return Deployment(
        deployment=source.name,
        name=source.name,
        spool=str(Path(wishes.log).absolute()) if wishes.log else "",
        host=wishes.host,
        port=wishes.port,
        log_predictions=bool(wishes.log),
        token=_token(Path(wishes.token_file)) if wishes.token_file else None,
        tls=tls_of(wishes.tls_cert, wishes.tls_key, wishes.tls_client_ca),
        grpc_port=wishes.grpc_port,
        traces=wishes.traces,
        alone=True,
        **facts,
    )


def _follow(file: Path, place: Path) -> None:
    """Let the workers read a toggle file where it lies: they see when it changes.

    Raises:
        NotFound: there is no such file.
        BadInput: it is no definition.
    """
    read_file(file)
    place.symlink_to(file)


def _token(path: Path) -> str:
    """Return the first line of a file.

    Raises:
        BadInput: it cannot be read, or nothing is in it.
    """
    try:
        with open(path, encoding="ascii") as file:
            token = file.read(_MOST_TOKEN).partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read the token in {path}", str(error)) from error
    if not token:
        raise BadInput(f"there is no token in {path}", "its first line is empty")
    return token


if __name__ == "__main__":
    sys.exit(main())
