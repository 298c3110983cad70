"""The short-lived child process that talks to the operating system's keyring. Run by path, never imported.

A keyring may hang (a prompt nobody sees, a dead D-Bus), and its libraries cost 0.1 s to import: so it gets a
process of its own, which the parent kills after its time. One JSON request on stdin, one JSON answer on stdout;
secrets travel over these pipes only, never in arguments or the environment.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

# Only stores that the operating system itself guards. A backend is made by its name from here, so neither
# PYTHON_KEYRING_BACKEND nor keyringrc.cfg can slip in keyrings.alt, null, fail or another plain-text file.
ALLOWED = {
    "SecretService": "keyring.backends.SecretService:Keyring",
    "KWallet": "keyring.backends.kwallet:DBusKeyring",
    "macOS": "keyring.backends.macOS:Keyring",
    "Windows": "keyring.backends.Windows:WinVaultKeyring",
}


def main() -> None:
    """Answer one request: ``{"do": "get"|"set", "backend", "user", "secret"}``."""
    request = json.load(sys.stdin)
    answer = {"why": "no keyring service of the operating system answers"}
    for name in [request["backend"]] if request["backend"] else ALLOWED:
        found = _backend(ALLOWED.get(name, ""))
        if found is not None:
            answer = _do(found, request) | {"backend": name}
            break
    json.dump(answer, sys.stdout)


def _backend(spec: str) -> Any:
    """Return a usable backend object, or None."""
    module, _, kind = spec.partition(":")
    try:
        found = getattr(importlib.import_module(module), kind)
        return found() if found.viable else None
    except Exception:
        return None


def _do(backend: Any, request: dict[str, str]) -> dict[str, str]:
    try:
        if request["do"] == "set":
            backend.set_password("mlops", request["user"], request["secret"])
        secret = backend.get_password("mlops", request["user"])
    except Exception as error:
        return {"why": f"{type(error).__name__}: {error}"}
    return {"secret": secret} if secret else {"why": f"it has no entry mlops/{request['user']}"}


if __name__ == "__main__":
    main()
