"""Data sets of houses and instructions, in the format of R2R-CE, so that any VLN-CE code reads them.

```
OUT/dataset.json                            the settings, and how much of everything there is
OUT/scenes/house_0001/house_0001.glb        and .stage_config.json, .json (rooms, objects), .png (floor plan)
OUT/train/train.json.gz                     episodes; train_gt.json.gz: what an expert does
OUT/val_seen/...                            new paths in the training houses
OUT/val_unseen/...                          new houses, new wordings, new pairs of colour and kind
```
"""

import json
import os
import shutil
import statistics
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

from dynalang_py.bounds import Seed, check
from dynalang_py.envs.contract import check_choice, check_range
from dynalang_py.envs.language import PAD, UNKNOWN, Vocabulary
from dynalang_py.envs.vln.episodes import (
    Episode,
    EpisodeFile,
    Goal,
    GroundTruth,
    Instruction,
    write_episodes,
    write_ground_truth,
)
from dynalang_py.envs.vln.expert import demonstrate
from dynalang_py.envs.vln.houses import paths
from dynalang_py.envs.vln.houses.catalogue import KINDS, hidden
from dynalang_py.envs.vln.houses.furnish import Supplier
from dynalang_py.envs.vln.houses.grammar import Sentence, Wording, instruct
from dynalang_py.envs.vln.houses.house import House, make_house, write_scene
from dynalang_py.envs.vln.houses.plan import LEVELS, Level
from dynalang_py.envs.vln.houses.suppliers import find_supplier
from dynalang_py.envs.vln.houses.words import WORDS
from dynalang_py.envs.vln.simulator import Body, Camera, Pose, Simulator, make_simulator
from dynalang_py.errors import UserError

VOCABULARY = Vocabulary(WORDS)
RADIUS: dict[Level, float] = {"goto": 1.0, "rooms": 1.5, "houses": 2.0}
"""Metres around the goal in which to stop counts as success."""
TOKENS = 200
"""Length to which R2R-CE pads the ids of an instruction."""
HIDDEN = frozenset((kind, colour) for kind, entry in KINDS.items() for colour in entry.colours if hidden(kind, colour))
"""Pairs of kind and colour that no training house holds."""
TARGETS = 4
"""Things to walk to that a house has at least, so that guessing which one is meant does not pay."""
ATTEMPTS = 20
"""Houses that are drawn until one has enough targets, and room for its paths."""
SPLITS = ("train", "val_seen", "val_unseen")


@dataclass(frozen=True, kw_only=True)
class HousesConfig:
    out: Path = Path("data/houses")
    """Folder of the data set; it must not exist yet, or be empty."""
    train: int = 60
    """Houses to train in."""
    val_unseen: int = 10
    """Further houses, with new wordings and new pairs of colour and kind (split val_unseen)."""
    level: Level = "goto"
    """goto: one room, walk to a thing. rooms: paths through two or three rooms. houses: six to eight rooms."""
    paths: int = 20
    """Paths per house, in train and in val_unseen."""
    val_seen_paths: int = 2
    """Further paths per training house (split val_seen)."""
    instructions: int = 3
    """Wordings per path."""
    furniture: str = "auto"
    """builtin: simple shapes. auto: Sweet Home 3D's models if they are on this machine, else builtin. download: fetch
    them first (Debian's package sweethome3d-furniture, 120 MB). Else a folder of *.sh3f files, or one of them."""
    seed: Seed = 0
    """The same seed and settings give the same data set, byte by byte."""
    processes: int = 0
    """Houses made at once; 0: as many as there are processor cores."""

    def __post_init__(self) -> None:
        check(self)
        check_range("houses", "train", self.train, 1, 9000)
        check_range("houses", "val_unseen", self.val_unseen, 0, 999)
        check_choice("houses", "level", self.level, LEVELS)
        check_range("houses", "paths", self.paths, 1, 1000)
        check_range("houses", "val_seen_paths", self.val_seen_paths, 0, 1000)
        check_range("houses", "instructions", self.instructions, 1, 10)
        check_range("houses", "processes", self.processes, 0, 256)


@dataclass(frozen=True)
class Told:
    """A path with its instructions and what the expert did on it."""

    path: paths.Path
    sentences: tuple[tuple[Wording, Sentence], ...]
    truth: GroundTruth


Progress = Callable[[int, int], None]
"""Called with the houses that are done, and how many there will be."""


def make_dataset(config: HousesConfig, progress: Progress = lambda done, total: None) -> dict[str, Any]:
    """Make all houses, paths and instructions; they appear in `config.out` at once, when everything is there.

    → what dataset.json says.

    Raises:
        UserError: The folder isn't empty, or the furniture can't be had.
    """
    out = config.out.expanduser()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already and not empty; name another folder with --out, or remove it")
    supplier = find_supplier(config.furniture)
    total = config.train + config.val_unseen
    partial_out = out.absolute().with_name(f".{out.absolute().name}.{os.getpid()}.partial")
    try:
        partial_out.mkdir(parents=True)
        told: dict[str, list[tuple[str, Told]]] = {split: [] for split in SPLITS}
        job = partial(_make_one, config, partial_out / "scenes", supplier)
        for number, (name, ways) in enumerate(_map(job, total, config.processes)):
            unseen = number >= config.train
            cut = len(ways) if unseen else config.paths
            told["val_unseen" if unseen else "train"] += [(name, way) for way in ways[:cut]]
            told["val_seen"] += [(name, way) for way in ways[cut:]]
            progress(number + 1, total)
        summary = _summary(config, supplier, told)
        for split in SPLITS:
            if told[split]:
                write_split(partial_out / split, split, config, told[split])
        (partial_out / "dataset.json").write_text(json.dumps(summary, indent=2) + "\n", "utf-8")
        partial_out.rename(out.absolute())
    finally:
        shutil.rmtree(partial_out, ignore_errors=True)
    return summary


def _map(job: Callable[[int], Any], total: int, processes: int) -> Iterator[Any]:
    processes = min(processes or os.cpu_count() or 1, total)
    if processes == 1:
        yield from map(job, range(total))
        return
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        yield from pool.map(job, range(total))


def _make_one(config: HousesConfig, scenes: Path, supplier: Supplier, number: int) -> tuple[str, list[Told]]:
    """One house with its scene on disk, its paths and their instructions."""
    unseen = number >= config.train
    name = f"house_{number + 1:04}"
    count = config.paths if unseen else config.paths + config.val_seen_paths
    simulator = make_simulator("embree", Camera(width=1, height=1, depth=False), Body())
    ways: list[Told] = []
    for attempt in range(ATTEMPTS):
        seed = f"{config.seed}/{config.level}/{'unseen' if unseen else 'train'}/{number}/{attempt}"
        house = make_house(name, config.level, seed, supplier, () if unseen else HIDDEN)
        if len(list(paths.targets_of(house))) < TARGETS:
            continue
        write_scene(house, supplier, scenes / name)
        simulator.load(scenes / name / f"{name}.glb")
        ways = list(_tell(house, simulator, count, config.instructions, unseen, Random(f"{seed}/paths")))
        if len(ways) == count:
            return name, ways
        shutil.rmtree(scenes / name)
    raise UserError(f"no {config.level} house has room for {count} paths that differ; ask for fewer with --paths")


def _tell(
    house: House, simulator: Simulator, count: int, instructions: int, unseen: bool, random: Random
) -> Iterator[Told]:
    """Paths with their sentences and the expert's walk. In unseen houses every second path leads to a hidden pair, if
    there is one, and all wordings but the first of each path are held-out ones."""
    for path in paths.sample_paths(house, simulator, count, random, HIDDEN if unseen else frozenset()):
        sentences: list[tuple[Wording, Sentence]] = []
        for i in range(instructions):
            wording: Wording = "held_out" if unseen and i > 0 else "train"
            sentence = instruct(path.route, wording, random)
            for _ in range(20):  # three times the same would be a waste
                if all(sentence.text != other.text for _, other in sentences):
                    break
                sentence = instruct(path.route, wording, random)
            sentences.append((wording, sentence))
        try:
            truth = demonstrate(simulator, _episode(house.name, house.level, path, 1, 1, "", {}))
        except UserError:  # the expert got stuck: nobody shall learn from that
            continue
        yield Told(path, tuple(sentences), truth)


def write_split(folder: Path, split: str, config: HousesConfig, told: list[tuple[str, Told]]) -> None:
    """Write the episodes of one split, and their ground truth."""
    episodes: list[Episode] = []
    truth: dict[str, GroundTruth] = {}
    for trajectory, (name, way) in enumerate(told, start=1):
        for wording, sentence in way.sentences:
            number = len(episodes) + 1
            info = {"wording": wording}
            episodes.append(_episode(name, config.level, way.path, number, trajectory, sentence.text, info))
            truth[str(number)] = way.truth
    folder.mkdir(parents=True)
    write_episodes(EpisodeFile(episodes=tuple(episodes), vocabulary=word_list()), folder / f"{split}.json.gz")
    write_ground_truth(truth, folder / f"{split}_gt.json.gz")


def _episode(
    name: str, level: Level, path: paths.Path, number: int, trajectory: int, text: str, info: dict[str, Any]
) -> Episode:
    tokens = VOCABULARY.encode(text)
    x, y, z, w = (round(float(value), 9) for value in Pose.at(path.start, path.yaw).rotation)
    pair = (path.target.kind, path.target.colour)
    return Episode(
        episode_id=number,
        trajectory_id=trajectory,
        scene_id=f"{name}/{name}.glb",
        start_position=path.start,
        start_rotation=(x, y, z, w),
        info={
            "geodesic_distance": path.distance,
            "target": path.target.name,
            "landmark": "held_out" if pair in HIDDEN else "train",
            **info,
        },
        goals=(Goal(position=path.goal, radius=RADIUS[level]),),
        instruction=Instruction(text=text, tokens=(*tokens, *[PAD] * (TOKENS - len(tokens)))),
        reference_path=path.corners,
    )


def word_list() -> dict[str, Any]:
    """The vocabulary as R2R-CE's files write it."""
    pieces = list(VOCABULARY.pieces)
    ids = {piece: i for i, piece in enumerate(pieces)}
    return {
        "word_list": pieces,
        "word2idx_dict": ids,
        "stoi": ids,
        "itos": pieces,
        "num_vocab": len(pieces),
        "UNK_INDEX": UNKNOWN,
        "PAD_INDEX": PAD,
    }


def _summary(config: HousesConfig, supplier: Supplier, told: dict[str, list[tuple[str, Told]]]) -> dict[str, Any]:
    settings = asdict(replace(config, out=Path(), processes=0))
    del settings["out"], settings["processes"]
    return {
        "settings": settings,
        "furniture": str(supplier),
        "words": len(VOCABULARY),
        "splits": {
            split: {
                "houses": len({name for name, _ in ways}),
                "paths": len(ways),
                "episodes": sum(len(way.sentences) for _, way in ways),
                "median_path_m": round(statistics.median(way.path.distance for _, way in ways), 2),
                "median_expert_actions": statistics.median(len(way.truth.actions) for _, way in ways),
            }
            for split, ways in told.items()
            if ways
        },
    }
