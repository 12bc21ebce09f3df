"""Where the files of VLN-CE lie: splits below a data folder, scenes below another."""

import gzip
import zlib
from pathlib import Path

from dynalang_py.errors import UserError, nearest
from dynalang_py.reading import open_file

SPLITS = ("train", "val_seen", "val_unseen", "test")
ENDING, GUIDE = ".json.gz", "_guide"
PEEK = 1 << 22
"""Bytes at the begin of a file in which its episodes are looked for; before them may stand the words of all."""
SCENE_PREFIX = "data/scene_datasets/"
"""Where VLN-CE's own tree keeps scenes; some files have it before their scene ids."""


def splits(data: Path) -> tuple[str, ...]:
    """Names of the splits whose episode files lie below `data`, the known ones first.

    Other files of such names, as R2R-CE's embeddings.json.gz, are no splits: theirs begins without any episodes.
    """
    files = [*Path(data).glob("*.json.gz"), *Path(data).glob("*/*.json.gz")]
    names = {path.name.removesuffix(ENDING).removesuffix(GUIDE) for path in files}
    found = [name for name in names if not name.endswith("_gt") and any(map(_is_split, _places(data, name)))]
    return tuple(sorted(found, key=lambda name: (SPLITS.index(name) if name in SPLITS else len(SPLITS), name)))


def episode_path(data: Path, split: str) -> Path:
    """The episode file of a split below `data`. Raises UserError that names what is there instead."""
    data = Path(data).expanduser()
    places = _places(data, split)
    for place in places:
        if place.is_file():
            return place
    if not data.is_dir():
        raise UserError(f"there is no folder {data} with episodes; --env.data names one, dynalang houses makes one")
    there = splits(data)
    known = f"there are {', '.join(there)}.{nearest(split, there)}" if there else "nor is there any other"
    raise UserError(f"{data} has no split {split!r} (no file {places[0]}); {known}")


def ground_truth_path(episodes: Path) -> Path:
    """Where the ground truth of an episode file lies, if it has any."""
    return episodes.with_name(episodes.name.removesuffix(ENDING) + "_gt" + ENDING)


def scene_path(scene_id: str, data: Path, scenes: Path | None) -> Path:
    """A scene's file. With `scenes` (say, ".../scene_datasets/mp3d") "mp3d/S/S.glb" may lie beside that folder's other
    parts, in it, or in it without the first part; else below `data`/scenes.

    Raises UserError that tells where it was looked for.
    """
    relative = Path(scene_id.removeprefix(SCENE_PREFIX))
    if scenes is None:
        places = [Path(data).expanduser() / "scenes" / relative]
    else:
        folder = Path(scenes).expanduser()
        places = [folder.parent / relative, folder / relative, folder / Path(*relative.parts[1:])]
    for place in places:
        if place.is_file():
            return place
    looked = " nor ".join(map(str, dict.fromkeys(places)))
    raise UserError(f"the scene {scene_id} is missing: there is no {looked}; --env.scenes names the folder of scenes")


def _is_split(path: Path) -> bool:
    """Whether a file that may hold a split's episodes does; where it can't be told, whoever reads it will tell why."""
    if not path.is_file():
        return False
    name = path.name.removesuffix(ENDING)
    if name in SPLITS or name.endswith(GUIDE):
        return True
    try:
        with gzip.open(open_file(path)) as file:
            begin = file.read(PEEK)
    except (OSError, EOFError, zlib.error, UserError):
        return True
    return begin.lstrip()[:1] == b"{" and b'"episodes"' in begin


def _places(data: Path, split: str) -> list[Path]:
    """Where a split's episode file may lie. RxR-CE has one of guides and one of followers, who merely repeat a path."""
    data = Path(data)
    return [data / split / f"{split}{ENDING}", data / f"{split}{ENDING}", data / split / f"{split}{GUIDE}{ENDING}"]
