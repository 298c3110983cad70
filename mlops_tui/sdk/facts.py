"""What is known of a run without being asked: command, environment, seeds and hardware. Nothing here raises."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

T = TypeVar("T")
# Ends like the name of a secret; --max-tokens, --tokenizer and --pad-token are what a training is made of.
_SECRET = re.compile(
    r"(?i)(^|[-_.])(password|passwd|passphrase|secret|token|credentials?|(api|access|private)[-_]?key)$"
)
_NO_SECRET = re.compile(r"(?i)(pad|bos|eos|unk|sep|cls|mask)[-_]token$")
_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")
_COMMAND_CHARS = 4_000


def safely(ask: Callable[..., T], *given: Any, otherwise: Any) -> T:
    """Return what a question gives, or something else of its type when it fails."""
    try:
        return ask(*given)
    except Exception:  # a fact that cannot be had is not worth a training
        return cast(T, otherwise)


def word(value: object) -> str:
    """Return a value as text; empty for None and for what cannot be written."""
    return "" if value is None else safely(str, value, otherwise="")


def code_folder() -> Path:
    """Return the folder of the program that runs; of a program that is installed, or typed in, the working folder."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    script = Path(file).resolve() if file else None
    if script is None or script.is_relative_to(Path(sys.prefix).resolve()):
        return Path.cwd()
    return script.parent


def command() -> str:
    """Return the command line as it could be typed again, with what looks like a secret masked."""
    words, hide = [], False
    for word in sys.orig_argv:
        name, equals, _ = word.partition("=")
        looks = bool(_SECRET.search(name)) and not _NO_SECRET.search(name)
        if hide and not word.startswith("-"):
            word = "***"
        elif looks and equals:
            word = f"{name}=***"
        hide = looks and not equals and word.startswith("-")
        words.append(_USERINFO.sub("***@", word))
    return shlex.join(words)[:_COMMAND_CHARS]


def actor() -> str:
    """Return who runs: ``MLOPS_USER``, else the login name of the effective user."""
    import pwd

    return os.environ.get("MLOPS_USER") or safely(lambda: pwd.getpwuid(os.getuid()).pw_name, otherwise=str(os.getuid()))


def environment() -> dict[str, Any]:
    """Return interpreter, platform, host, user, working folder and seeds."""
    system = os.uname()
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "implementation": sys.implementation.name,
        "executable": sys.executable,
        "venv": sys.prefix if sys.prefix != sys.base_prefix else None,
        "platform": f"{system.sysname} {system.release} {system.machine}",
        "host": system.nodename,
        "user": actor(),
        "cwd": safely(os.getcwd, otherwise=""),
        "seeds": seeds(),
    }


def seeds() -> dict[str, str]:
    """Return the seeds that can be seen now, of modules that are imported already.

    Where a generator does not tell its seed, a digest of its state stands for it: equal digests, equal numbers.
    """
    found: dict[str, str] = {}
    if (seed := os.environ.get("PYTHONHASHSEED")) is not None:
        found["PYTHONHASHSEED"] = seed
    for name, ask in (("random", _random_seed), ("numpy.random", _numpy_seed), ("torch", _torch_seed)):
        module = sys.modules.get(name)
        if module is not None and (said := safely(ask, module, otherwise="")):
            found[name] = said
    return found


def _random_seed(module: Any) -> str:
    return _digest(repr(module.getstate()).encode())


def _numpy_seed(module: Any) -> str:
    state = module.get_state(legacy=False)["state"]
    # np.random.seed(n) leaves n in the first word until the first number is drawn.
    fresh = state["pos"] == 624 and int(state["key"][0]) != 0x8000_0000
    return str(int(state["key"][0])) if fresh else _digest(state["key"].tobytes() + str(state["pos"]).encode())


def _torch_seed(module: Any) -> str:
    return str(module.initial_seed())


def _digest(state: bytes) -> str:
    return "state:" + hashlib.sha256(state).hexdigest()[:16]


def hardware() -> dict[str, Any]:
    """Return processors and memory (bytes) of the machine, and what of them this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "machine": os.uname().machine,
        "cpu": safely(_cpu_model, otherwise=""),
        "cpus": os.cpu_count(),
        "cpus_usable": len(affinity(0)) if affinity else os.cpu_count(),
        "cpu_limit": safely(_limit, _cpu_quota, otherwise=None),
        "memory": safely(lambda: os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), otherwise=None),
        "memory_limit": safely(_limit, _memory_limit, otherwise=None),
    }


def _cpu_model() -> str:
    with open("/proc/cpuinfo") as file:
        head = file.read(4_000)
    found = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", head, re.MULTILINE)
    return found[1].strip() if found else ""


def _limit(read: Callable[[Path], float | None]) -> float | None:
    """Return the tightest limit of this process's control groups (v2, and v1 where it is still mounted)."""
    limits = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            base = Path("/sys/fs/cgroup")
        elif controllers in ("memory", "cpu", "cpu,cpuacct"):
            base = Path("/sys/fs/cgroup") / controllers
        else:
            continue
        here = base / path.lstrip("/")
        while here.is_relative_to(base):
            limits.append(safely(read, here, otherwise=None))
            here = here.parent
    return min((limit for limit in limits if limit is not None), default=None)


def _cpu_quota(group: Path) -> float | None:
    file = group / "cpu.max"
    if file.exists():
        quota, period = file.read_text().split()
    else:
        quota, period = ((group / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
    return None if quota in ("max", "-1") else int(quota) / int(period)


def _memory_limit(group: Path) -> float | None:
    file = group / "memory.max"
    text = (file if file.exists() else group / "memory.limit_in_bytes").read_text().strip()
    return None if text == "max" or int(text) >= 2**62 else int(text)


def packages() -> str:
    """Return a digest of the installed packages and their versions, in whatever order they are found.

    The names of the metadata folders tell both (``name-version.dist-info``): a millisecond instead of the half
    second that opening each of them takes, which a training would feel through the interpreter lock.
    """
    found = set()
    for folder in dict.fromkeys(sys.path):
        for entry in safely(os.listdir, folder or ".", otherwise=[]):
            stem, _, suffix = entry.rpartition(".")
            if suffix in ("dist-info", "egg-info"):
                found.add(stem.lower().replace("_", "-"))
    return "sha256:" + hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()


def gpus() -> list[str]:
    """Return the names of the NVIDIA devices; none when there is no driver."""
    import ctypes

    ctypes.CDLL("libnvidia-ml.so.1")  # fails at once without a driver, long before the module is imported
    import pynvml

    pynvml.nvmlInit()
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        return [str(pynvml.nvmlDeviceGetName(handle)) for handle in handles]
    finally:
        pynvml.nvmlShutdown()


def later() -> dict[str, str]:
    """Return the facts that take too long for the start of a run, as tags."""
    devices = safely(gpus, otherwise=[])
    return {
        "env.packages": safely(packages, otherwise=""),
        **({"hardware.gpus": str(len(devices)), "hardware.gpu": ", ".join(sorted(set(devices)))} if devices else {}),
    }
