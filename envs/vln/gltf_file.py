"""The container of a glTF 2.0 scene: JSON that is checked as it is asked for, and numbers in buffers.

Khronos Group, glTF 2.0 Specification, sections 3.2 to 3.6 and 4. Whatever is wrong, one UserError names the file, the
object in it, and the value.
"""

import base64
import binascii
import os
import struct
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from dynalang_py.errors import UserError, shown
from dynalang_py.reading import MOST_BYTES, is_finite, open_file, parse_json, read_bytes

MOST_VALUES = 1 << 23
"""In the JSON: each takes some hundred bytes of memory."""
MOST_ROWS = 3 << 23
"""Of one accessor."""
MOST_ZEROS = 1 << 20
"""Rows of an accessor without a buffer: no file has to hold them."""
KINDS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
"""Component types."""
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
SINGULAR = {"meshes": "mesh"}
COMPRESSED = ("EXT_meshopt_compression", "KHR_meshopt_compression")

Numbers: TypeAlias = NDArray[Any]


def called(names: Iterable[object]) -> str:
    """Names that a file gives, as they stand in a sentence."""
    return " or ".join(name if isinstance(name, str) and name.isidentifier() else shown(name) for name in names)


class Item:
    """An object of the JSON; `name` is what sentences call it."""

    def __init__(self, file: "GltfFile", name: str, values: object) -> None:
        self.file = file
        self.name = name
        if not isinstance(values, dict):
            raise self.wrong(f"is {shown(values)}; it must be an object")
        self.values: dict[str, Any] = values

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def wrong(self, what: str) -> UserError:
        return self.file.wrong(f"{self.name} {what}")

    def integer(self, key: str, default: int | None = None, *, least: int = 0) -> int:
        value = self._value(key, default)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is not int or not least <= value < 1 << 53:
            raise self.wrong(f"has {key} {shown(value)}; it must be a whole number, {least} or more")
        return value

    def numbers(self, key: str, count: int, default: list[float] | None = None) -> NDArray[np.float64]:
        value = self._value(key, default)
        if not isinstance(value, list) or len(value) != count or not all(map(is_finite, value)):
            raise self.wrong(f"has {key} {shown(value)}; it must be {count} finite numbers")
        return np.array(value, np.float64)

    def number(self, key: str, default: float) -> float:
        value = self._value(key, default)
        if not is_finite(value):
            raise self.wrong(f"has {key} {shown(value)}; it must be a finite number")
        return float(value)

    def text(self, key: str, default: str | None = None) -> str:
        value = self._value(key, default)
        if not isinstance(value, str):
            raise self.wrong(f"has {key} {shown(value)}; it must be a text")
        return value

    def list(self, key: str) -> list[Any]:
        """Empty if it isn't there."""
        value = self.values.get(key, [])
        if not isinstance(value, list):
            raise self.wrong(f"has {key} {shown(value)}; it must be a list")
        return value

    def child(self, key: str) -> "Item | None":
        """The object under a key; None if it isn't there."""
        return Item(self.file, f"{self.name}'s {key}", self.values[key]) if key in self else None

    def extension(self, name: str) -> "Item | None":
        extensions = self.child("extensions")
        return extensions.child(name) if extensions else None

    def other(self, kind: str, key: str) -> "Item":
        """The object of the file that an index points to, such as ("accessors", "indices")."""
        return self.file.item(kind, self.integer(key), self)

    def _value(self, key: str, default: Any) -> Any:
        if key not in self and default is None:
            raise self.wrong(f"lacks {key}")
        return self.values.get(key, default)


class GltfFile:
    """A .glb or .gltf, opened. Its buffers are read when they are asked for.

    Raises:
        UserError: It can't be read, or is no glTF 2.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._buffers: dict[int, memoryview] = {}
        self._bytes_left = MOST_BYTES
        self._chunk: tuple[int, int] | None = None  # of a .glb: where the binary one begins, and its bytes
        text = self._glb() if path.suffix.lower() == ".glb" else read_bytes(path, "Scene")
        values = sum(map(text.count, (b",", b"[", b"{")))
        if values > MOST_VALUES:
            raise self.wrong(f"its JSON holds {values:,} values; {MOST_VALUES:,} are allowed")
        self.root = Item(self, "the JSON", parse_json(text, f"Scene {path}"))
        asset = self.root.child("asset")
        version = asset.text("version") if asset else "?"
        if version.split(".")[0] != "2" or (asset and asset.text("minVersion", "2.0") not in ("2.0", "2")):
            raise self.wrong(f"it is glTF of version {shown(version)}; version 2.0 is read")

    def wrong(self, what: str) -> UserError:
        return UserError(f"Scene {self.path} can't be read: {what}.")

    def items(self, kind: str) -> Iterator[Item]:
        """All objects of a kind, such as "images"."""
        for index in range(len(self.root.list(kind))):
            yield self.item(kind, index, self.root)

    def item(self, kind: str, index: int, asker: Item) -> Item:
        all_ = self.root.list(kind)
        if not 0 <= index < len(all_):
            raise asker.wrong(f"points to {kind} {shown(index)}, and there are {len(all_)}")
        return Item(self, f"{SINGULAR.get(kind, kind[:-1])} {index}", all_[index])

    @cached_property
    def links(self) -> list[Path]:
        """The files that buffers and images lie in."""
        linked = [item for kind in ("buffers", "images") for item in self.items(kind) if "uri" in item]
        return [self._neighbour(item) for item in linked if not item.text("uri").startswith("data:")]

    def content(self, item: Item) -> bytes:
        """What a buffer's or image's URI leads to: base64 in the URI itself, or a file beside the scene or below."""
        uri = item.text("uri")
        if uri.startswith("data:"):
            head, comma, data = uri.partition(",")
            if not comma or not head.endswith(";base64"):
                raise item.wrong("has a data URI that is not in base64")
            try:
                found = base64.b64decode(unquote(data), validate=True)
            except (binascii.Error, ValueError) as error:
                raise item.wrong(f"has a damaged data URI: {error}") from error
        else:
            found = read_bytes(self._neighbour(item), f"Scene {self.path}: the file of {item.name},", self._bytes_left)
        self._bytes_left -= len(found)
        if self._bytes_left < 0:
            raise self.wrong(f"its buffers and images hold more than {MOST_BYTES:,} bytes")
        return found

    def view(self, view: Item) -> memoryview:
        """The bytes of a buffer view."""
        buffer = self._buffer(view.other("buffers", "buffer"), view.integer("buffer"), view)
        start, length = view.integer("byteOffset", 0), view.integer("byteLength")
        if start + length > len(buffer):
            raise view.wrong(f"ends at byte {start + length:,} of a buffer of {len(buffer):,}")
        return buffer[start : start + length]

    def accessor(self, accessor: Item) -> tuple[Numbers, bool]:
        """(N, width) the numbers, and whether whole ones stand for fractions."""
        kind, width, rows = self.shape(accessor)
        if "bufferView" in accessor:
            offset = accessor.integer("byteOffset", 0)
            found = self._rows(accessor.other("bufferViews", "bufferView"), offset, kind, width, rows, accessor)
        else:
            if rows > MOST_ZEROS:
                raise accessor.wrong(f"promises {rows:,} rows without a bufferView; {MOST_ZEROS:,} are allowed")
            found = np.zeros((rows, width), kind)
        if sparse := accessor.child("sparse"):
            found = self._patched(found, sparse)
        return found, accessor.values.get("normalized") is True

    def shape(self, accessor: Item) -> tuple[str, int, int]:
        """Kind of component, components in a row, rows."""
        kind, width = accessor.integer("componentType"), accessor.text("type")
        if kind not in KINDS:
            raise accessor.wrong(f"has componentType {kind}; there are {', '.join(map(str, KINDS))}")
        if width not in WIDTHS:
            raise accessor.wrong(f"has type {shown(width)}; here it must be one of {', '.join(WIDTHS)}")
        rows = accessor.integer("count")
        if rows > MOST_ROWS:
            raise accessor.wrong(f"promises {rows:,} rows; {MOST_ROWS:,} are allowed")
        return KINDS[kind], WIDTHS[width], rows

    def _rows(self, view: Item, offset: int, kind: str, width: int, rows: int, asker: Item) -> Numbers:
        size = np.dtype(kind).itemsize
        stride = view.integer("byteStride", width * size)
        if stride < width * size:
            raise view.wrong(f"has byteStride {stride}, less than the {width * size} bytes of a row of {asker.name}")
        content = self.view(view)
        end = offset + (rows - 1) * stride + width * size if rows else 0
        if end > len(content):
            raise asker.wrong(f"ends at byte {end:,} of {view.name}, which has {len(content):,}")
        return np.ndarray((rows, width), kind, content, offset if rows else 0, (stride, size))

    def _patched(self, rows: Numbers, sparse: Item) -> Numbers:
        where, what = sparse.child("indices"), sparse.child("values")
        if where is None or what is None:
            raise sparse.wrong("lacks indices or values")
        kind, count = KINDS.get(where.integer("componentType"), ""), sparse.integer("count")
        if kind not in ("<u1", "<u2", "<u4"):
            raise where.wrong("has a componentType other than 5121, 5123 or 5125")
        view = where.other("bufferViews", "bufferView")
        places = self._rows(view, where.integer("byteOffset", 0), kind, 1, count, where)[:, 0]
        if count and int(places.max()) >= len(rows):
            raise sparse.wrong(f"replaces row {places.max()} of {len(rows)}")
        view = what.other("bufferViews", "bufferView")
        rows = rows.copy()
        rows[places] = self._rows(view, what.integer("byteOffset", 0), rows.dtype.str, rows.shape[1], count, what)
        return rows

    def _buffer(self, buffer: Item, index: int, view: Item) -> memoryview:
        for name in COMPRESSED:
            # Its fallback need not hold anything: a buffer with nothing in it is marked, or has no bytes.
            if view.extension(name) and (buffer.extension(name) or ("uri" not in buffer and index)):
                raise view.wrong(f"is compressed by {name}, which is not read")
        if index not in self._buffers:
            promised = buffer.integer("byteLength")
            if "uri" in buffer:
                content = memoryview(self.content(buffer))
            elif index == 0 and self._chunk is not None:
                content = memoryview(self._stretch(*self._chunk))
            else:
                raise buffer.wrong("has no uri, and nothing else says where its bytes are")
            if len(content) < promised:
                raise buffer.wrong(f"promises {promised:,} bytes and holds {len(content):,}")
            self._buffers[index] = content[:promised]
        return self._buffers[index]

    def _neighbour(self, item: Item) -> Path:
        uri = item.text("uri")
        relative = os.path.normpath(unquote(uri))
        outside = os.path.isabs(relative) or relative.split(os.sep)[0] == os.pardir
        if ":" in uri.split("/")[0] or outside or not relative.isprintable() or len(relative) > 1024:
            raise item.wrong(f"lies at {shown(uri)}; it must be a file beside the scene or in a folder there")
        return self.path.parent / relative

    def _glb(self) -> bytes:
        """The JSON of a .glb; notes where its binary chunk lies, if it has one."""
        head = self._stretch(0, 20)
        if len(head) < 20 or head[:4] != b"glTF":
            raise self.wrong("it does not begin as a GLB file does")
        version, length, size, kind = struct.unpack("<II I4s", head[4:])
        if version != 2:
            raise self.wrong(f"it is GLB of version {version}; version 2 is read")
        there = self.path.stat().st_size
        if length > there or 20 + size > length or kind != b"JSON":
            raise self.wrong(f"it promises {length:,} bytes, {size:,} of them JSON, and holds {there:,}")
        start = 20 + size
        if start + 8 <= length:
            more, kind = struct.unpack("<I4s", self._stretch(start, 8))
            if start + 8 + more > length:
                raise self.wrong(f"a chunk of {more:,} bytes begins {length - start - 8:,} bytes before its end")
            if kind == b"BIN\0":
                self._chunk = start + 8, more
        return self._stretch(20, size)

    def _stretch(self, start: int, size: int) -> bytes:
        """Bytes of the file itself, fewer where it ends."""
        if size > MOST_BYTES:
            raise self.wrong(f"it has a chunk of {size:,} bytes; {MOST_BYTES:,} are allowed")
        with open_file(self.path, "Scene") as file:
            try:
                file.seek(start)
                return file.read(size)
            except OSError as error:
                raise self.wrong(str(error)) from error
