"""TLS for a server's connections: its certificate and the authority of its clients, read again when renewed."""

from __future__ import annotations

import logging
import os
import ssl
from pathlib import Path

import msgspec

from mlops_tui.core.errors import BadInput

_log = logging.getLogger("mlops.serving")
HANDSHAKE_S = 10.0


class Tls(msgspec.Struct, frozen=True):
    """Files in PEM. With ``client_ca``, only clients with a certificate of that authority are served."""

    cert: str
    key: str
    client_ca: str | None = None


def tls_of(cert: str, key: str, client_ca: str) -> Tls | None:
    """Return TLS files by their absolute paths, once they have been tried; None when none is named.

    Raises:
        BadInput: one is missing or cannot be used.
    """
    if not (cert or key or client_ca):
        return None
    if not (cert and key):
        raise BadInput("TLS needs a certificate and its key", "", "--tls-cert FILE --tls-key FILE")
    authority = str(Path(client_ca).absolute()) if client_ca else None
    found = Tls(str(Path(cert).absolute()), str(Path(key).absolute()), authority)
    Context(found)
    return found


class Context:
    """What connections are made with.

    Args:
        tls: the files.
        own: where the certificate of this installation's own requests is, or will be; trusted like an authority's.

    Attributes:
        files: the files.
        ssl: for connections that begin now.

    Raises:
        BadInput: one of them cannot be used.
    """

    def __init__(self, tls: Tls, own: Path | None = None) -> None:
        self.files, self._own = tls, own
        self._seen = _signature(tls, own)
        self.ssl = _made(tls, own)

    def look(self) -> bool:
        """Take in renewed files, if there are any; connections that are open keep theirs."""
        seen = _signature(self.files, self._own)
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            self.ssl = _made(self.files, self._own)
        except BadInput as error:
            # Certificate and key are two files: between two renames they do not fit.
            _log.warning("the new TLS files cannot be used yet: %s", error.why)
            return False
        _log.info("the TLS files were renewed")
        return True


def _made(tls: Tls, own: Path | None) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["http/1.1"])
    try:
        made.load_cert_chain(tls.cert, tls.key)
        if tls.client_ca is not None:
            made.load_verify_locations(tls.client_ca)
            if own is not None and own.exists():
                made.load_verify_locations(own)
            made.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise BadInput("the TLS files cannot be used", str(error), "PEM: certificate chain, key, client CA") from error
    return made


def _signature(tls: Tls, own: Path | None) -> tuple[int, ...]:
    found: list[int] = []
    for name in (tls.cert, tls.key, tls.client_ca, own if own and own.exists() else None):
        if name is None:
            continue
        try:
            there = os.stat(name)
        except OSError:
            return ()
        found += [there.st_mtime_ns, there.st_ino, there.st_size]
    return tuple(found)
