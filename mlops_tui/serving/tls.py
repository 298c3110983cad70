"""TLS for a server's connections: its certificate, read again when it is renewed, and that of clients, if asked for."""

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

    Raises:
        BadInput: one of them cannot be used.
    """

    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        self.ssl = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
        self.ssl.set_alpn_protocols(["http/1.1"])
        try:
            self.ssl.load_cert_chain(tls.cert, tls.key)
            if tls.client_ca is not None:
                self.ssl.load_verify_locations(tls.client_ca)
                self.ssl.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError) as error:
            raise BadInput(
                "the TLS files cannot be used", str(error), "PEM: certificate chain, key, client CA"
            ) from error
        self._seen = self._signature()

    def look(self) -> None:
        """Take in a renewed certificate; connections that are open keep theirs."""
        seen = self._signature()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self.ssl.load_cert_chain(self._tls.cert, self._tls.key)
            _log.info("the certificate was renewed")
        except (OSError, ssl.SSLError) as error:
            # Certificate and key are two files: between two renames they do not fit.
            _log.warning("the new certificate cannot be used yet: %s", error)

    def _signature(self) -> tuple[int, ...]:
        found = []
        for name in (self._tls.cert, self._tls.key):
            try:
                there = os.stat(Path(name))
            except OSError:
                return ()
            found += [there.st_mtime_ns, there.st_ino, there.st_size]
        return tuple(found)
