"""Materials of a glTF scene, as far as they show without lights: one colour, and perhaps a texture that it multiplies.

So does habitat-sim's flat shading: what shines, glows, mirrors or lets light through (emission, transmission, alpha and
the rest of KHR_materials_...) changes nothing there. Where a material has a model beside metal and roughness, the one
with a texture shows, the other only if that one has no colour.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynalang_py.envs.vln.gltf_file import GltfFile, Item, Numbers, called
from dynalang_py.envs.vln.parts import CLAMP, MIRROR, REPEAT, WHITE, Picture

WRAPS = {10497: REPEAT, 33071: CLAMP, 33648: MIRROR}
READABLE = ("EXT_texture_webp", "EXT_texture_avif", "MSFT_texture_dds")
"""Extensions whose pictures Pillow reads."""
KTX = (b"\xabKTX 20\xbb\r\n\x1a\n", b"\xabKTX 11\xbb\r\n\x1a\n")
GLOSSINESS = "KHR_materials_pbrSpecularGlossiness"
TRANSFORM = "KHR_texture_transform"


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a material shows. The fields of `Part` have the same names."""

    factor: tuple[int, ...] = WHITE
    picture: Picture | None = None
    wrap: tuple[int, int] = (REPEAT, REPEAT)
    coordinates: int = 0
    """Which set of texture coordinates lays the picture."""
    transform: NDArray[np.float64] | None = None
    """(2, 3) what to multiply coordinates by, and what to add then."""

    def laid(self, uv: Numbers) -> Numbers:
        return uv if self.transform is None else uv @ self.transform[:, :2].T + self.transform[:, 2]


class Looks:
    """The materials of a file, each read once."""

    def __init__(self, file: GltfFile) -> None:
        self._file = file
        self._looks: dict[int, Look] = {}
        self._pictures: dict[int, Picture] = {}

    def of(self, primitive: Item) -> Look:
        """The material of a primitive; white if it has none."""
        if "material" not in primitive:
            return Look()
        index = primitive.integer("material")
        if index not in self._looks:
            self._looks[index] = self._look(primitive.other("materials", "material"))
        return self._looks[index]

    def _look(self, material: Item) -> Look:
        models = [
            (material.child("pbrMetallicRoughness"), "baseColorFactor", "baseColorTexture"),
            (material.extension(GLOSSINESS), "diffuseFactor", "diffuseTexture"),
        ]
        there = [(model, factor, texture) for model, factor, texture in models if model]
        for model, factor, texture in there:
            if texture in model:
                return self._model(model, factor, texture)
        for model, factor, texture in there:
            if factor in model:
                return self._model(model, factor, texture)
        return Look()

    def _model(self, model: Item, factor: str, texture: str) -> Look:
        color = model.numbers(factor, 4, [1.0, 1.0, 1.0, 1.0])[:3]
        look: dict[str, Any] = {"factor": tuple(np.rint(color.clip(0, 255) * 255).astype(int).tolist())}
        if info := model.child(texture):
            texture_ = info.other("textures", "index")
            look |= {"coordinates": info.integer("texCoord", 0), "wrap": _wrap(texture_)}
            if transform := info.extension(TRANSFORM):
                look["coordinates"] = transform.integer("texCoord", look["coordinates"])
                look["transform"] = _matrix(transform)
            look["picture"] = self._picture(_image(texture_))
        return Look(**look)

    def _picture(self, image: Item) -> Picture:
        index = int(image.name.split()[-1])
        if index not in self._pictures:
            if "uri" in image:
                content = self._file.content(image)
            else:
                content = bytes(self._file.view(image.other("bufferViews", "bufferView")))
            if content.startswith(KTX):
                raise image.wrong("is a KTX texture, which is not read")
            self._pictures[index] = Picture(content, f"Scene {self._file.path}: {image.name}")
        return self._pictures[index]


def _image(texture: Item) -> Item:
    """The image that shows: the plain one, which everybody reads, or that of an extension."""
    if "source" in texture:
        return texture.other("images", "source")
    extensions = texture.child("extensions")
    names = list(extensions.values) if extensions else []
    for name in READABLE:
        if extension := texture.extension(name):
            return extension.other("images", "source")
    raise texture.wrong(f"needs {called(names)}, which is not read" if names else "has no source")


def _wrap(texture: Item) -> tuple[int, int]:
    if "sampler" not in texture:
        return REPEAT, REPEAT
    sampler = texture.other("samplers", "sampler")
    found = [sampler.integer(key, 10497) for key in ("wrapS", "wrapT")]
    for value in found:
        if value not in WRAPS:
            raise sampler.wrong(f"wraps by {value}; there are {', '.join(map(str, WRAPS))}")
    return WRAPS[found[0]], WRAPS[found[1]]


def _matrix(transform: Item) -> NDArray[np.float64]:
    scale, offset = transform.numbers("scale", 2, [1.0, 1.0]), transform.numbers("offset", 2, [0.0, 0.0])
    angle = transform.number("rotation", 0.0)  # counter-clockwise, and v counts downwards
    cos, sin = np.cos(angle), np.sin(angle)
    return np.column_stack([np.array([[cos, sin], [-sin, cos]]) * scale, offset])
