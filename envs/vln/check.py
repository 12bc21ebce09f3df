"""What is there to navigate: splits, scenes, ground truth and simulators, found before anything starts."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, get_args

from dynalang_py.envs.vln.episodes import read_episodes, read_ground_truth
from dynalang_py.envs.vln.layout import episode_path, ground_truth_path, scene_path, splits
from dynalang_py.envs.vln.scene import inspect as inspect_scene
from dynalang_py.envs.vln.simulator import Body, Camera, SimulatorName, make_simulator
from dynalang_py.errors import UserError
from dynalang_py.tokenizers import Tokenizer, load
from dynalang_py.tokenizers.coverage import Coverage, measure

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called after each scene with the split, how many of its scenes were looked at, and how many are there."""


@dataclass(frozen=True, kw_only=True)
class Split:
    name: str
    path: Path
    """The episode file."""
    episodes: int = 0
    scenes: int = 0
    missing: tuple[str, ...] = ()
    """Scene ids whose files aren't there."""
    unreadable: tuple[str, ...] = ()
    """What is wrong with scenes that the embree simulator can't draw, a sentence each."""
    has_goals: bool = False
    """Whether all episodes tell where to stop."""
    has_truth: bool = False
    """Whether there is ground truth for all episodes."""
    notes: int = 0
    """How many values are wrong where nothing needs them."""
    note: str = ""
    """The first of them."""
    words: Coverage = field(default_factory=Coverage)
    """How much of the instructions the tokenizer can say."""
    has_words: bool = False
    """Whether the file brings a word list, which is a tokenizer, too."""
    problem: str = ""
    """Why the files can't be read; empty if they can."""

    @property
    def usable(self) -> bool:
        """Whether its episodes can be walked and scored."""
        return bool(self.episodes) and self.has_goals and not (self.missing or self.unreadable or self.problem)


@dataclass(frozen=True, kw_only=True)
class Report:
    splits: tuple[Split, ...]
    simulators: dict[str, str]
    """Name → why it can't be used; empty if it can."""

    @property
    def obstacle(self) -> str:
        """Why no episode at all can be walked, in a sentence; empty if some can."""
        if not any(split.usable for split in self.splits):
            return f"no split can be walked: {'; '.join(f'{split.name} {trouble(split)}' for split in self.splits)}"
        if all(self.simulators.values()):
            return f"there is no simulator: {' '.join(self.simulators.values())}"
        return ""


def inspect(
    data: Path, scenes: Path | None, progress: Progress | None = None, tokenizer: Tokenizer | None = None
) -> Report:
    """Look at all that the task needs. tokenizer: through which instructions are heard; None: houses.

    Raises UserError if there are no episodes below `data`.
    """
    data = Path(data).expanduser()
    names = splits(data)
    if not names:
        episode_path(data, "train")  # tells what is missing
    seen: dict[Path, str] = {}  # splits share scenes
    found = tuple(_split(data, scenes, name, seen, progress, tokenizer) for name in names)
    return Report(splits=found, simulators={name: _without(name) for name in get_args(SimulatorName)})


def trouble(split: Split) -> str:
    """What keeps a split from being walked; empty if nothing does."""
    if split.problem:
        return f"can't be read ({split.problem})"
    if not split.episodes:
        return "holds no episode"
    if split.missing:
        return f"lacks {len(split.missing)} of {split.scenes} scenes, such as {split.missing[0]}"
    if split.unreadable:
        return f"has {len(split.unreadable)} of {split.scenes} scenes that can't be drawn ({split.unreadable[0]})"
    return "" if split.has_goals else "tells no goals"


def _split(
    data: Path,
    scenes: Path | None,
    name: str,
    seen: dict[Path, str] | None = None,
    progress: Progress | None = None,
    tokenizer: Tokenizer | None = None,
) -> Split:
    """seen: what is wrong with scenes that have been looked at, to be added to."""
    seen = {} if seen is None else seen
    path = episode_path(data, name)
    truth = ground_truth_path(path)
    try:
        file = read_episodes(path)
        known = read_ground_truth(truth) if truth.is_file() else {}
    except UserError as error:
        return Split(name=name, path=path, problem=str(error))
    episodes = file.episodes
    wanted = tuple(dict.fromkeys(episode.scene_id for episode in episodes))
    places = {scene: _place(scene, data, scenes) for scene in wanted}
    there = [place for place in places.values() if place is not None]
    for i, place in enumerate(there, 1):
        if place not in seen:
            seen[place] = _wrong(place)
            if progress is not None:
                progress(name, i, len(there))
    return Split(
        name=name,
        path=path,
        episodes=len(episodes),
        scenes=len(wanted),
        words=measure(tokenizer or load("houses"), (episode.instruction.text for episode in episodes)),
        has_words=file.vocabulary is not None,
        missing=tuple(scene for scene, place in places.items() if place is None),
        unreadable=tuple(seen[place] for place in there if seen[place]),
        has_goals=all(episode.goals for episode in episodes),
        has_truth=all(str(episode.episode_id) in known for episode in episodes),
        notes=len(file.notes),
        note=file.notes[0] if file.notes else "",
    )


def _place(scene: str, data: Path, scenes: Path | None) -> Path | None:
    try:
        return scene_path(scene, data, scenes)
    except UserError:
        return None


def _wrong(scene: Path) -> str:
    try:
        inspect_scene(scene)
    except UserError as error:
        return str(error)
    return ""


def _without(simulator: str) -> str:
    try:
        make_simulator(simulator, Camera(), Body()).close()
    except UserError as error:
        return str(error)
    return ""
