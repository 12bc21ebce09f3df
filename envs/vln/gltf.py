"""glTF 2.0 scenes, .glb and .gltf, drawn as habitat-sim's flat shading draws them, or refused by what they hold.

What is read: Khronos Group, glTF 2.0 Specification; the extensions below. Skins, morph targets and animations stay at
rest, as they do in habitat-sim's stages.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dynalang_py.envs.contract import require
from dynalang_py.envs.vln.gltf_file import COMPRESSED, GltfFile, Item, Numbers, called
from dynalang_py.envs.vln.gltf_look import GLOSSINESS, READABLE, TRANSFORM, Looks
from dynalang_py.envs.vln.parts import Part
from dynalang_py.errors import UserError, shown

DRACO = "KHR_draco_mesh_compression"
INSTANCES = "EXT_mesh_gpu_instancing"
VISIBILITY = "KHR_node_visibility"
QUANTIZED = "KHR_mesh_quantization"
SHINE = (
    *("anisotropy", "clearcoat", "diffuse_transmission", "dispersion", "emissive_strength", "ior", "iridescence"),
    *("sheen", "specular", "transmission", "unlit", "variants", "volume", "volume_scatter"),
)
FLAT = (
    *(f"KHR_materials_{name}" for name in SHINE),
    *("KHR_lights_punctual", "EXT_lights_ies", "EXT_lights_image_based"),
    *("KHR_animation_pointer", "KHR_node_hoverability", "KHR_node_selectability", "KHR_xmp", "KHR_xmp_json_ld"),
)
"""Extensions of what shows only with lights, only when something moves, or never."""
SPARED = ("KHR_texture_basisu", "GOOGLE_texture_basis", "EXT_texture_astc", *COMPRESSED)
"""Extensions that are not read, but may have a fallback: whoever meets one without refuses it."""
READ = (GLOSSINESS, TRANSFORM, DRACO, INSTANCES, VISIBILITY, QUANTIZED, *READABLE, *FLAT, *SPARED)
"""Extensions that a file may require."""
MODES = ("points", "lines", "line loops", "line strips", "triangles", "triangle strips", "triangle fans")
TRIANGLES, STRIP, FAN = 4, 5, 6
SMALL = ("int8", "uint8", "int16", "uint16", "float32")
UNSIGNED = ("uint8", "uint16", "float32")
ATTRIBUTES = {"POSITION": ((3,), SMALL), "TEXCOORD": ((2,), SMALL), "COLOR": ((3, 4), UNSIGNED)}
"""Numbers in a row, and their kinds."""
FARTHEST = 1e6
"""Largest texture coordinate: beyond it, 32 bits can't tell texels apart."""
MOST_PLACES = 1 << 17
"""Where meshes stand, all together."""


def read_gltf(path: Path) -> list[Part]:
    """The parts of the file's scene.

    Raises:
        UserError: It can't be read, or holds what isn't drawn here; the sentence names the file and the feature.
    """
    return list(_parts(GltfFile(path)))


def linked_files(path: Path) -> list[Path]:
    """The files beside the scene's own in which its buffers and pictures lie. Raises UserError as `read_gltf` does."""
    return GltfFile(path).links


def _parts(file: GltfFile) -> Iterator[Part]:
    unknown = [name for name in file.root.list("extensionsRequired") if name not in READ]
    if unknown:
        raise file.wrong(f"it requires {called(unknown)}, which is not read")
    looks = Looks(file)
    drawn: dict[int, list[Part]] = {}
    places = 0
    for node, matrix in _placed(file):
        mesh, index = node.other("meshes", "mesh"), node.integer("mesh")
        primitives, standing = mesh.list("primitives"), _instances(node, matrix)
        places += len(standing) * len(primitives)
        if places > MOST_PLACES:
            raise file.wrong(f"its meshes stand in more than {MOST_PLACES:,} places")
        if index not in drawn:
            named = [Item(file, f"{mesh.name}'s primitive {i}", primitive) for i, primitive in enumerate(primitives)]
            drawn[index] = [_part(primitive, looks) for primitive in named]
        for part in drawn[index]:
            for place in standing:
                yield replace(part, matrix=place[:3])


def _placed(file: GltfFile) -> Iterator[tuple[Item, NDArray[np.float64]]]:
    """The nodes of the scene that have a mesh and are shown, in the order of the file, and where they stand: (4, 4)."""
    if "scenes" not in file.root:
        raise file.wrong("it has no scene")
    scene = file.item("scenes", file.root.integer("scene", 0), file.root)
    waiting = [(index, np.eye(4), scene) for index in reversed(scene.list("nodes"))]
    seen = set()
    while waiting:
        index, above, asker = waiting.pop()
        if type(index) is not int:
            raise asker.wrong(f"points to nodes {shown(index)}")
        node = file.item("nodes", index, asker)
        if index in seen:
            raise node.wrong("hangs below itself, or below two others")
        seen.add(index)
        visible = node.extension(VISIBILITY)
        if visible and visible.values.get("visible") is False:
            continue
        matrix = _times(above, _matrix(node), node)
        if "mesh" in node:
            yield node, matrix
        waiting += [(child, matrix, node) for child in reversed(node.list("children"))]


def _matrix(node: Item) -> NDArray[np.float64]:
    if "matrix" in node:
        return node.numbers("matrix", 16).reshape(4, 4).T
    translation, scale = node.numbers("translation", 3, [0.0] * 3), node.numbers("scale", 3, [1.0] * 3)
    return _placing(translation[None], node.numbers("rotation", 4, [0.0, 0.0, 0.0, 1.0])[None], scale[None], node)[0]


def _placing(translation: Numbers, rotation: Numbers, scale: Numbers, asker: Item) -> NDArray[np.float64]:
    """(N, 4, 4) of (N, 3) translations, (N, 4) quaternions x, y, z, w, and (N, 3) scales."""
    with np.errstate(over="ignore"):
        length = np.linalg.norm(rotation, axis=1, keepdims=True)
    if not ((length > 1e-6) & (length < 1e6)).all():
        raise asker.wrong("has a rotation whose length is not near 1")
    x, y, z, w = (rotation / length).T
    matrix = np.zeros((len(x), 4, 4))
    matrix[:, :3, :3] = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    ).transpose(2, 0, 1)
    matrix[:, :3, :3] *= scale[:, None]
    matrix[:, :3, 3] = translation
    matrix[:, 3, 3] = 1
    return matrix


def _instances(node: Item, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 4, 4) where the mesh of a node stands: once, or as often as its instances say."""
    extension = node.extension(INSTANCES)
    attributes = extension.child("attributes") if extension else None
    if attributes is None:
        return matrix[None]
    counts, rests = set(), {"TRANSLATION": [0.0] * 3, "ROTATION": [0.0, 0.0, 0.0, 1.0], "SCALE": [1.0] * 3}
    found: dict[str, Numbers] = {}
    for name in rests:
        if name in attributes:
            found[name] = _fractions(*node.file.accessor(attributes.other("accessors", name)))
            counts.add(len(found[name]))
            if found[name].shape[1] != len(rests[name]) or not np.isfinite(found[name]).all():
                raise attributes.wrong(f"has a {name} other than rows of {len(rests[name])} finite numbers")
    if len(counts) != 1:
        raise attributes.wrong(f"has {len(counts)} counts of instances")
    (count,) = counts
    if count > MOST_PLACES:
        raise attributes.wrong(f"stands in {count:,} places; {MOST_PLACES:,} are allowed")
    moves, turns, sizes = (found.get(name, np.tile(rest, (count, 1))) for name, rest in rests.items())
    return _times(matrix, _placing(moves, turns, sizes, attributes), attributes)


def _times(first: NDArray[np.float64], second: NDArray[np.float64], asker: Item) -> NDArray[np.float64]:
    with np.errstate(over="ignore", invalid="ignore"):
        product = first @ second
    if not np.isfinite(product).all():
        raise asker.wrong("stands or is scaled beyond all numbers")
    return product


def _part(primitive: Item, looks: Looks) -> Part:
    """A primitive, where its mesh stands."""
    mode = primitive.integer("mode", TRIANGLES)
    if mode >= len(MODES):
        raise primitive.wrong(f"has mode {mode}; there are 0 to {len(MODES) - 1}")
    if mode < TRIANGLES:
        raise primitive.wrong(f"draws {MODES[mode]} (mode {mode}), which no ray can hit; only triangles are drawn")
    attributes = primitive.child("attributes")
    if attributes is None or "POSITION" not in attributes:
        raise primitive.wrong("has no POSITION")
    unpacked = _unpacked(primitive, attributes)
    positions = _attribute(attributes, "POSITION", unpacked)
    triangles = unpacked["faces"] if "faces" in unpacked else _triangles(mode, _order(primitive, len(positions)))
    if len(triangles) and int(triangles.max()) >= len(positions):
        raise primitive.wrong(f"points to corner {triangles.max()} of {len(positions)}")
    look = looks.of(primitive)
    uv = colors = None
    if look.picture is not None:
        uv = look.laid(_attribute(attributes, f"TEXCOORD_{look.coordinates}", unpacked, len(positions)))
        if not (np.abs(uv) <= FARTHEST).all():
            raise attributes.wrong(f"has texture coordinates beyond {FARTHEST:,.0f}")
    if "COLOR_0" in attributes:
        bright = _attribute(attributes, "COLOR_0", unpacked, len(positions))[:, :3]
        colors = np.rint(bright.clip(0, 1) * 255).astype(np.uint8)[triangles]
    return Part(
        positions=positions,
        triangles=triangles,
        matrix=np.eye(4)[:3],
        uv=uv,
        picture=look.picture,
        factor=look.factor,
        colors=colors,
        wrap=look.wrap,
    )


def _order(primitive: Item, corners: int) -> Numbers:
    """(N,) the corners that a primitive names, one after the other."""
    if "indices" not in primitive:
        return np.arange(corners)
    accessor = primitive.other("accessors", "indices")
    rows, _ = primitive.file.accessor(accessor)
    if rows.dtype.kind != "u" or rows.shape[1] != 1:
        raise accessor.wrong(f"holds {rows.dtype} x {rows.shape[1]} for indices; it must be unsigned, one in a row")
    return rows[:, 0]


def _triangles(mode: int, order: Numbers) -> Numbers:
    """(F, 3) what a list, strip or fan of corners draws."""
    if mode == TRIANGLES:
        return order[: len(order) // 3 * 3].reshape(-1, 3)
    if len(order) < 3:
        return np.zeros((0, 3), np.intp)
    if mode == FAN:
        return np.stack([order[1:-1], order[2:], np.full(len(order) - 2, order[0])], 1)
    first = np.arange(len(order) - 2)
    odd = first & 1  # every other one turns the other way round
    return np.stack([order[first], order[first + 1 + odd], order[first + 2 - odd]], 1)


def _attribute(attributes: Item, name: str, unpacked: dict[str, Numbers], count: int | None = None) -> Numbers:
    """(N, width) of corners, finite; N must be `count` if that is given."""
    if name not in attributes:
        raise attributes.wrong(f"lacks {name}, by which the material's texture lies")
    accessor = attributes.other("accessors", name)
    if name in unpacked:
        rows, normalized = unpacked[name], accessor.values.get("normalized") is True
    else:
        rows, normalized = attributes.file.accessor(accessor)
    kind, width = rows.dtype.name, rows.shape[1]
    widths, kinds = ATTRIBUTES[name.split("_")[0]]
    if width not in widths or kind not in kinds:
        allowed = f"{' or '.join(kinds)}, {' or '.join(map(str, widths))} in a row"
        raise accessor.wrong(f"holds {kind} x {width} for {name}; it must be {allowed}")
    if name == "COLOR_0" and kind != "float32" and not normalized:
        raise accessor.wrong("holds whole numbers for COLOR_0 that are not normalized")
    if count is not None and len(rows) != count:
        raise accessor.wrong(f"has {len(rows)} rows for {name}, and there are {count} for POSITION")
    rows = _fractions(rows, normalized)
    if not np.isfinite(rows).all():
        raise accessor.wrong(f"holds numbers for {name} that are not finite")
    return rows


def _fractions(rows: Numbers, normalized: bool) -> Numbers:
    """Whole numbers that stand for fractions as those fractions; all else as it is."""
    if not normalized or rows.dtype.kind == "f":
        return rows
    return np.maximum(rows / np.float32(np.iinfo(rows.dtype).max), -1)


def _unpacked(primitive: Item, attributes: Item) -> dict[str, Numbers]:
    """What Draco compressed: attributes by name, and the "faces". Empty if the primitive can be read without."""
    draco = primitive.extension(DRACO)
    if draco is None or "bufferView" in attributes.other("accessors", "POSITION"):
        return {}
    packed, file = draco.child("attributes"), primitive.file
    if packed is None:
        raise draco.wrong("lacks attributes")
    decoder = require("DracoPy", extra="vln", task=f"Scene {file.path}: {DRACO}")
    try:
        mesh = decoder.decode(bytes(file.view(draco.other("bufferViews", "bufferView"))))
        by_id = {one["unique_id"]: one["data"] for one in mesh.attributes}
        faces = np.asarray(mesh.faces, np.int64).reshape(-1, 3)
    except UserError:
        raise
    except Exception as error:  # the decoder's own
        raise primitive.wrong(f"holds damaged Draco data: {str(error) or type(error).__name__}") from error
    found = {"faces": faces}
    for name in packed.values:
        if (rows := by_id.get(packed.integer(name))) is None:
            raise draco.wrong(f"names {called([name])}, which its data lack")
        found[name] = rows
    return found
