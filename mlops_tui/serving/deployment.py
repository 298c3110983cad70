"""The folder of a deployment: what it is, who answers, how it fares.

The deploy room writes ``deployment.json`` and ``routes.json``, always by renaming a whole file into place; the
supervisor writes ``state.json`` the same way. A route set is known by (epoch, generation): the data plane never goes
back to a lower one. ``toggles.json``, when there is one, is read by the workers themselves.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

import msgspec

from mlops_tui import __version__
from mlops_tui.core.errors import BadInput, Conflict, MlopsError, NotFound
from mlops_tui.serving.tls import Tls

DEPLOYMENT, ROUTES, STATE = "deployment.json", "routes.json", "state.json"
TOGGLES = "toggles.json"
LONGEST_MS = 1000.0
"""The longest that requests may be made to wait for others."""
SHORTEST_S = 0.001
"""The shortest time limit of a run: what takes less runs in the event loop and cannot be cut short."""
TOKENS, OWN_TOKEN, OWN_CERTIFICATE = "tokens.json", "own.token", "own.pem"
COUNTERS, CONTROL, LOCK, DOORS = "counters.bin", "control.sock", "supervisor.lock", "engines"
FEATURES = "features"
"""The engine of a file that is no model, but a table of online features."""
Generation = tuple[int, int]


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment's fixed facts.

    ``spool`` is the folder of its inference log; ``max_body`` is in bytes, also after decompression; without a
    ``token`` nobody is asked for one until one is given, unless ``ask_token`` shuts everybody out until then; runs over
    a millisecond go to ``slow_threads``, before which ``slow_queue`` may wait; requests wait ``gather_ms`` for others
    to run with (0, nearly always best: only for a turn of the loop); ``allowed_hosts`` are Host names served besides
    loopback's and ``host``; times are in seconds. Workers of one that is ``alone`` leave when their supervisor dies:
    nobody would start another.
    ``provider``, ``provider_policy`` and ``gpu_memory_mb`` are those of :class:`mlops_tui.serving.models.session.Wish`.
    ``python`` runs models in processes of their own (empty: ours), ``engines`` of each model, which all workers share,
    with ``memory_mb`` megabytes each (0: four fifths of the machine's); a model must be loaded within ``load_s``, and
    there a request answered within ``timeout_s``.
    ``log_sample`` is the share of requests in the inference log, by their id; columns named in ``redact`` are written
    there as missing. With a ``grpc_port`` the protocol is served there over gRPC too. ``traces`` is the
    address of an OpenTelemetry collector.
    """

    deployment: str
    name: str
    spool: str
    host: str = "127.0.0.1"
    port: int = 0
    workers: int = 1
    engines: int = 1
    max_body: int = 16_777_216
    log_predictions: bool = True
    token: str | None = None
    ask_token: bool = False
    allowed_hosts: tuple[str, ...] = ()
    threads: int = 1
    gather_ms: float = 0.0
    slow_threads: int = 2
    slow_queue: int = 64
    header_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    idle_timeout_s: float = 75.0
    grace_s: float = 10.0
    alone: bool = False
    provider: str = "cpu"
    provider_policy: str = "prefer"
    gpu_memory_mb: int = 0
    python: str = ""
    memory_mb: int = 0
    load_s: float = 120.0
    timeout_s: float = 30.0
    tls: Tls | None = None
    log_sample: float = 1.0
    redact: tuple[str, ...] = ()
    grpc_port: int = 0
    traces: str = ""

    def digest(self) -> str:
        """Return what tells these facts from others; the port is not among them, as 0 becomes another number."""
        return hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(self, port=0))).hexdigest()


class Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file of a model that is a folder: its path in it, where it lies, and its digest if that is to be checked."""

    path: str
    file: str
    digest: str = ""


class Model(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a revision's model lies, and what runs it.

    Attributes:
        file: a sealed artifact of the blob store, or a plain file; of a folder, what it is called.
        digest: BLAKE3 of the file's content, or what tells the folder from others.
        engine: ``onnx`` runs in the worker; ``torch`` and ``pyfunc`` in a process of their own.
        parts: the files, when the model is a folder.
        signature: what it takes and gives, where the file does not say: ``inputs`` and ``outputs``, each with name,
            dtype and shape.
    """

    file: str
    digest: str = ""
    engine: str = "onnx"
    parts: tuple[Part, ...] = ()
    signature: Any = None

    @property
    def key(self) -> str:
        """What tells one model from another: its digest, else its file."""
        return self.digest or self.file


class Revision(msgspec.Struct, frozen=True):
    """One model in a route set. ``no`` is what the inference log records; ``weight`` is its share of the traffic."""

    id: str
    no: int
    label: str
    model: Model
    weight: float = 0.0
    role: str = "stable"


CAUSES = ("error", "timeout", "toggle")
"""Why somebody else may have to answer."""


class Rescue(msgspec.Struct, frozen=True):
    """When and how the fallback of the routes answers in place of another revision.

    Attributes:
        on: what has to happen: the model fails, takes too long, or a toggle says so.
        timeout_s: what is too long; None: nothing is. Holds for runs outside the event loop, see ``serving.rescue``.
        last_resort: a constant for every output by its name, given when no revision answers.
    """

    on: tuple[str, ...] = CAUSES
    timeout_s: float | None = None
    last_resort: dict[str, Any] | None = None


class Routes(msgspec.Struct, frozen=True):
    """Who answers. With a lease, ``lease_revert`` takes over by itself at ``lease_until`` (µs UTC) unless renewed.

    ``lease_s`` is how long a lease lasts that was just given: none lasts longer, whatever a clock says.
    ``features`` is the online table in which the features of an id are looked up; ``missing`` says what an unknown one
    gets (:mod:`mlops_tui.serving.models.lookup`). ``others`` are further models by the name that clients use; ``shelf``
    names those that could be loaded (:mod:`mlops_tui.serving.protocol.repository`). With ``away``, the revisions are
    kept and answer nobody: the server's own model was unloaded.
    """

    epoch: int
    generation: int
    revisions: tuple[Revision, ...]
    sticky: str | None = None
    fallback: str | None = None
    lease_until: int | None = None
    lease_revert: tuple[Revision, ...] | None = None
    lease_s: float | None = None
    rescue: Rescue = Rescue()
    features: Model | None = None
    missing: str = "refuse"
    others: dict[str, tuple[Revision, ...]] = {}
    shelf: tuple[str, ...] = ()
    away: bool = False

    @property
    def at(self) -> Generation:
        """What orders route sets."""
        return (self.epoch, self.generation)

    def left_s(self, now_us: int) -> float:
        """Return the seconds that the lease has left at a moment; infinite without one."""
        if self.lease_until is None:
            return math.inf
        left = (self.lease_until - now_us) / 1e6
        return left if self.lease_s is None else min(left, self.lease_s)

    @property
    def models(self) -> dict[str, Model]:
        """Every model that may have to answer, by its key, and the table of features."""
        found = {r.model.key: r.model for r in self.everyone}
        return found if self.features is None else {**found, self.features.key: self.features}

    @property
    def everyone(self) -> tuple[Revision, ...]:
        """Every revision that may have to answer, those of the lease's end and of other models included."""
        further = (one for revisions in self.others.values() for one in revisions)
        return (*self.revisions, *(self.lease_revert or ()), *further)


def read_deployment(folder: Path) -> Deployment:
    """Read ``deployment.json``.

    Raises:
        NotFound: it is not there.
        BadInput: it is not what the server understands.
    """
    try:
        found = msgspec.json.decode((folder / DEPLOYMENT).read_bytes(), type=Deployment)
    except FileNotFoundError as error:
        raise NotFound(f"there is no deployment in {folder}", f"{DEPLOYMENT} is missing") from error
    except (OSError, msgspec.DecodeError) as error:
        raise BadInput(f"cannot read {folder / DEPLOYMENT}", str(error)) from error
    if not (
        0 <= found.port <= 65535
        and 1 <= found.workers <= 64
        and 1 <= found.engines <= 64
        and found.max_body > 0
        and found.threads > 0
        and 0 <= found.gather_ms <= LONGEST_MS
        and found.slow_threads > 0
    ):
        raise BadInput(
            f"{folder / DEPLOYMENT} asks for what cannot be", "port 0-65535, workers and engines 1-64, max_body above 0"
        )
    return found


def door_of(deployment: Deployment, key: str, number: int) -> Path:
    """Return where an engine of a model is found, from the folder: other facts or another program have other doors."""
    told = f"{__version__} {deployment.digest()} {key}"
    return Path(DOORS, f"{hashlib.sha256(told.encode()).hexdigest()[:16]}-{number}")


def write_port(folder: Path, port: int) -> None:
    """Note the port that was picked in ``deployment.json``; whatever else is in it stays."""
    record = json.loads((folder / DEPLOYMENT).read_bytes())
    write_json(folder / DEPLOYMENT, {**record, "port": port}, durable=True)


def read_routes(folder: Path) -> Routes:
    """Read and check ``routes.json``.

    Raises:
        NotFound: it is not there (yet).
        BadInput: it is not a route set that can be served.
    """
    try:
        routes = msgspec.json.decode((folder / ROUTES).read_bytes(), type=Routes)
    except FileNotFoundError as error:
        raise NotFound(f"there are no routes in {folder}") from error
    except (OSError, msgspec.DecodeError) as error:
        raise BadInput(f"cannot read {folder / ROUTES}", str(error)) from error
    _check(routes.revisions, routes.fallback)
    for others in filter(None, (routes.lease_revert, *routes.others.values())):
        _check(others, None)
    if routes.others:
        _check((*routes.revisions, *(one for some in routes.others.values() for one in some)), None)
    if (routes.lease_until is None) != (routes.lease_revert is None):
        raise BadInput("a lease needs both lease_until and lease_revert")
    _check_rescue(routes.rescue)
    return routes


def _check_rescue(rescue: Rescue) -> None:
    if unknown := set(rescue.on) - set(CAUSES):
        raise BadInput(f"the fallback cannot be for {sorted(unknown)[0]!r}", "", "one of: " + ", ".join(CAUSES))
    if rescue.timeout_s is not None and not SHORTEST_S <= rescue.timeout_s < math.inf:
        raise BadInput(f"{rescue.timeout_s} s is no time limit", "", f"at least {SHORTEST_S * 1000:g} ms")


def _check(revisions: tuple[Revision, ...], fallback: str | None) -> None:
    ids, numbers = {r.id for r in revisions}, {r.no for r in revisions}
    if len(ids) < len(revisions) or len(numbers) < len(revisions):
        raise BadInput("two revisions share an id or a number")
    if any(not 1 <= r.no <= 0xFFFF for r in revisions):
        raise BadInput("revision numbers go from 1 to 65535")
    if any(not (math.isfinite(r.weight) and r.weight >= 0) for r in revisions):
        raise BadInput("weights are finite and not negative")
    if not any(r.weight > 0 and r.role != "shadow" for r in revisions):
        raise BadInput("no revision would get any traffic")
    if fallback is not None and fallback not in ids:
        raise BadInput(f"the fallback {fallback!r} is not among the revisions")


def fence(new: Routes, current: Routes | None, floor: Generation, reverted: bool = False) -> bool:
    """Tell whether a route set is news; refuse one that would take the data plane back.

    The same (epoch, generation) may come again with a later ``lease_until``: that renews the lease and is news.

    Args:
        new: what lies in the file.
        current: what is served, or None.
        floor: the highest (epoch, generation) ever acknowledged here.
        reverted: the lease of what is served has run out; it cannot be renewed any more.

    Raises:
        Conflict: it is older than what is served, other content under the same number, or a renewal too late.
    """
    if new.at < floor:
        raise Conflict(
            f"routes {new.at} are older than {floor}", "another writer is ahead", "write a higher generation"
        )
    if current is None or new.at > current.at:
        return True
    renewed = msgspec.structs.replace(new, lease_until=current.lease_until)
    if renewed != current:
        raise Conflict(f"routes {new.at} changed under the same number", "", "write a higher generation")
    if reverted and new.lease_until != current.lease_until:
        raise Conflict(f"the lease of routes {new.at} ran out", "they were reverted", "write a higher generation")
    return new.lease_until != current.lease_until


def read_state(folder: Path) -> dict[str, Any]:
    """Return what the last supervisor said; nothing when it said nothing that can be read."""
    try:
        state = json.loads((folder / STATE).read_bytes())
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def own_headers(folder: Path) -> dict[str, str]:
    """Return what a request of this installation's own (a replay, a warm-up) sends where clients need tokens."""
    try:
        return {"authorization": f"Bearer {(folder / OWN_TOKEN).read_text(encoding='ascii')}"}
    except OSError:
        return {}


def own_certificate(folder: Path) -> Path | None:
    """Return the file of the certificate and key that such a request shows where clients need one, if there is one."""
    path = folder / OWN_CERTIFICATE
    return path if path.exists() else None


def write_json(path: Path, value: Any, *, durable: bool = False) -> None:
    """Put a JSON file in place whole, see :func:`write_whole`."""
    write_whole(path, json.dumps(value, indent=1).encode(), durable=durable)


def write_whole(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Put a file in place whole (0600): readers see the old one or the new one.

    Args:
        path: the file.
        content: what goes into it.
        durable: wait for the disk; not needed for what the next start finds out anyway.

    Raises:
        MlopsError: the folder cannot be written.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(fd)
        os.replace(new, path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise MlopsError(f"cannot write {path}", str(error.strerror or error), "is the disk full?") from error
