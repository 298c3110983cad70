"""What this installation shows its own servers when it asks them: a token, and a certificate where clients need one.

Both lie in the deployment's folder, for whoever may read it. The certificate signs itself and nothing else: servers
trust it beside the authority of their clients, whose key nobody here has.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mlops_tui.serving.deployment import OWN_CERTIFICATE, OWN_TOKEN, write_whole

_YEARS = 20


def token(folder: Path) -> str:
    """Return the token of replays and warm-ups; it is made when it is not there."""
    path = folder / OWN_TOKEN
    if not path.exists():
        write_whole(path, secrets.token_urlsafe(32).encode("ascii"))
    return path.read_text(encoding="ascii")


def have_certificate(folder: Path) -> None:
    """Make the certificate of replays and warm-ups, with its key, when it is not there."""
    path = folder / OWN_CERTIFICATE
    if not path.exists():
        write_whole(path, _signed_by_itself())


def _signed_by_itself() -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    # A name that no other has: of two with one name, OpenSSL looks at the first alone.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"mlops {secrets.token_hex(8)}")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks differ
        .not_valid_after(now + timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    return key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + made.public_bytes(pem)
