"""MurmurHash3, 32 bits, x86 (Austin Appleby, public domain), with the seed 0: what decides a key's bucket."""

from __future__ import annotations

from struct import unpack_from

_MASK = 0xFFFFFFFF
_C1, _C2 = 0xCC9E2D51, 0x1B873593


def murmur3(data: bytes) -> int:
    """Return the hash of some bytes, 0 to 2³² − 1."""
    size = len(data)
    blocks, tail = divmod(size, 4)
    h = 0
    for k in unpack_from(f"<{blocks}I", data):
        k = k * _C1 & _MASK
        h ^= (k << 15 | k >> 17) * _C2 & _MASK
        h = ((h << 13 & _MASK | h >> 19) * 5 + 0xE6546B64) & _MASK
    if tail:
        k = int.from_bytes(data[-tail:], "little") * _C1 & _MASK
        h ^= (k << 15 | k >> 17) * _C2 & _MASK
    h ^= size
    h = (h ^ h >> 16) * 0x85EBCA6B & _MASK
    h = (h ^ h >> 13) * 0xC2B2AE35 & _MASK
    return h ^ h >> 16
