"""Content-addressed artifacts, sealed at rest, and the seal that archives and backups use too."""

from __future__ import annotations

from mlops_tui.blobs.seal import Damaged, open_sealed, seal_file, seal_stream, unseal_file
from mlops_tui.blobs.store import Blob, Blobs, BlobWriter

__all__ = ["Blob", "BlobWriter", "Blobs", "Damaged", "open_sealed", "seal_file", "seal_stream", "unseal_file"]
