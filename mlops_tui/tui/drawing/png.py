"""Reading PNG files with numpy alone, so that a picture can be looked at wherever the TUI runs."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mlops_tui.core.errors import BadInput

Pixels = NDArray[np.uint8]
"""A picture: height, width, and red, green, blue."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_MOST = 40_000_000
"""Pixels of the largest picture that is read."""


def read(content: bytes, paper: int = 255) -> Pixels:
    """Return the pixels of a PNG (Portable Network Graphics, third edition, W3C 2025); what is clear shows ``paper``.

    Raises:
        BadInput: it is no PNG, is damaged, or is of a kind that is not read here.
    """
    try:
        return _read(content, paper)
    except (struct.error, zlib.error, IndexError, KeyError, ValueError) as error:
        raise BadInput("this picture is damaged", f"{type(error).__name__}: {error}") from error


def _read(content: bytes, paper: int) -> Pixels:
    if not content.startswith(_SIGNATURE):
        raise BadInput("this is no PNG file")
    parts = dict[bytes, bytes]()
    for kind, data in _parts(content):
        parts[kind] = parts.get(kind, b"") + data
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", parts[b"IHDR"])
    if interlaced or (depth not in (8, 16) and colour not in (0, 3)):
        raise BadInput("this kind of PNG is not shown here", f"interlaced: {bool(interlaced)}, {depth} bits")
    if not 0 < width * height <= _MOST:
        raise BadInput("this picture is too large to be shown", f"it has {width:,} × {height:,} pixels")
    channels = _CHANNELS[colour]
    bits, step = depth * channels, max(1, depth * channels // 8)
    line = (width * bits + 7) // 8
    raw = np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8)[: height * (line + 1)].reshape(height, line + 1)
    lines = _unfiltered(raw[:, 0], raw[:, 1:].reshape(height, line // step, step))
    values = lines.reshape(height, line)
    if depth < 8:
        places = np.arange(8 // depth)[::-1] * depth
        values = ((values[:, :, None] >> places) & (2**depth - 1)).reshape(height, -1)[:, :width]
    elif depth == 16:
        values = values[:, ::2]
    samples = values.reshape(height, width, channels)
    return _rgb(samples, colour, depth, parts, paper)


def _parts(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_SIGNATURE)
    while at + 8 <= len(content):
        (length,), kind = struct.unpack(">I", content[at : at + 4]), content[at + 4 : at + 8]
        yield kind, content[at + 8 : at + 8 + length]
        at += length + 12


def _unfiltered(kinds: NDArray[np.uint8], lines: Pixels) -> Pixels:
    """Undo the filters. A pixel needs its left, upper and upper left neighbours: one diagonal at a time is known."""
    height, width, step = lines.shape
    if not kinds.any():
        return lines
    out = np.zeros((height + 1, width + 1, step), np.int16)
    kind = kinds.astype(np.int8)[:, None]
    for diagonal in range(height + width - 1):
        y = np.arange(max(0, diagonal - width + 1), min(height, diagonal + 1))
        x = diagonal - y
        left, up, corner = out[y + 1, x], out[y, x + 1], out[y, x]
        guess = left + up - corner
        to_left, to_up, to_corner = abs(guess - left), abs(guess - up), abs(guess - corner)
        nearest = np.where((to_left <= to_up) & (to_left <= to_corner), left, np.where(to_up <= to_corner, up, corner))
        here = kind[y]
        before = np.select([here == 1, here == 2, here == 3, here == 4], [left, up, (left + up) // 2, nearest], 0)
        out[y + 1, x + 1] = (lines[y, x] + before) & 255
    return out[1:, 1:].astype(np.uint8)


def _rgb(samples: Pixels, colour: int, depth: int, parts: dict[bytes, bytes], paper: int) -> Pixels:
    if colour == 3:
        palette = np.frombuffer(parts[b"PLTE"], np.uint8).reshape(-1, 3)
        return palette[samples[:, :, 0]]
    if colour == 0 and depth < 8:
        samples = (samples * (255 // (2**depth - 1))).astype(np.uint8)
    if colour in (4, 6):
        solid = samples[:, :, -1:].astype(np.float32) / 255
        samples = (samples[:, :, :-1] * solid + paper * (1 - solid)).astype(np.uint8)
    return np.repeat(samples, 3, axis=2) if samples.shape[2] == 1 else samples
