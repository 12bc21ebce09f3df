"""The files of VLN-CE: episodes and ground truth of R2R-CE and RxR-CE, read, checked and written.

An episode file is `{split}.json.gz` (RxR-CE: `{split}_guide.json.gz`), its ground truth `{split}_gt.json.gz`. Positions
are metres, y up; rotations quaternions (x, y, z, w). Format: VLN-CE (arXiv 2004.02857) and habitat-lab's episodes.

What these classes have no field for is kept in `extra` and written back as it came, so that a file that was read and
written holds the same JSON.
"""

import gzip
import json
import math
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from dynalang_py.errors import UserError

Point: TypeAlias = tuple[float, float, float]
Extra: TypeAlias = Mapping[str, Any]
T = TypeVar("T")


STOP, FORWARD, LEFT, RIGHT = range(4)
"""The actions of VLN-CE; RxR-CE adds 4 and 5, to look up and down."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    position: Point
    """Where to stop."""
    radius: float | None = None
    """How near counts as there, in metres."""
    extra: Extra = field(default_factory=dict)
    """Fields of the file that stand nowhere else."""


@dataclass(frozen=True, kw_only=True)
class Instruction:
    text: str
    """The sentence or sentences."""
    tokens: tuple[int, ...] | None = None
    """Ids of its words in the file's own list, padded with 0; RxR-CE has none."""
    extra: Extra = field(default_factory=dict)
    """Fields of the file that stand nowhere else; in RxR-CE language, annotator, when each word was said."""


@dataclass(frozen=True, kw_only=True)
class Episode:
    episode_id: int | str
    """Its name in this file."""
    scene_id: str
    """The scene's file, from where scenes lie: "mp3d/S/S.glb"."""
    start_position: Point
    """Where the agent stands first."""
    start_rotation: tuple[float, float, float, float]
    """How it is turned then: quaternion (x, y, z, w)."""
    instruction: Instruction
    """What it is told."""
    trajectory_id: int | str | None = None
    """The path; several instructions may describe one."""
    goals: tuple[Goal, ...] | None = None
    """Where it shall stop; test splits don't say."""
    reference_path: tuple[Point, ...] | None = None
    """Points of the path that the instruction describes; test splits don't say."""
    info: Extra | None = None
    """`geodesic_distance` from start to goal in metres, and whatever else."""
    extra: Extra = field(default_factory=dict)
    """Fields of the file that stand nowhere else."""

    @property
    def scene(self) -> str:
        """The scene's name: "S" for "mp3d/S/S.glb"."""
        return Path(self.scene_id).stem


@dataclass(frozen=True, kw_only=True)
class EpisodeFile:
    episodes: tuple[Episode, ...]
    """In the file's order."""
    vocabulary: Extra | None = None
    """`instruction_vocab` as it stands in the file; RxR-CE has none."""
    extra: Extra = field(default_factory=dict)
    """Fields of the file that stand nowhere else."""

    @property
    def words(self) -> tuple[str, ...]:
        """What the ids of `Instruction.tokens` stand for; empty where the file doesn't say."""
        return tuple(self.vocabulary["word_list"]) if self.vocabulary else ()


@dataclass(frozen=True, kw_only=True)
class GroundTruth:
    actions: tuple[int, ...]
    """What an expert did, the stop at the end included."""
    locations: tuple[Point, ...]
    """Where it stood: at the start and after each step forward."""
    forward_steps: int
    """How often it went forward."""
    extra: Extra = field(default_factory=dict)
    """Fields of the file that stand nowhere else."""


# -- reading and writing ----------------------------------------------------------------------------------------------


def read_episodes(path: Path) -> EpisodeFile:
    """Read an episode file. Raises UserError that names the file, and the episode and the field that are wrong."""
    plain = _load(path)
    if not isinstance(plain.get("episodes"), list):
        raise UserError(f"{path} is no episode file: it has no list 'episodes'")
    vocabulary = plain.get("instruction_vocab")
    if vocabulary is not None and not _is_word_list(vocabulary):
        raise UserError(f"{path}: instruction_vocab.word_list must be a list of words")
    size = len(vocabulary["word_list"]) if vocabulary is not None else None
    episodes: dict[str, Episode] = {}
    for i, raw in enumerate(plain["episodes"]):
        name = raw.get("episode_id", f"number {i}") if isinstance(raw, dict) else f"number {i}"
        try:
            episode = _episode(_mapping(raw, "it"), size)
        except _WrongError as wrong:
            raise UserError(f"{path}, episode {name}: {wrong}") from None
        if str(name) in episodes:
            raise UserError(f"{path}, episode {name}: episode_id must be unique, but another episode has it")
        episodes[str(name)] = episode
    extra = {key: value for key, value in plain.items() if key not in ("episodes", "instruction_vocab")}
    return EpisodeFile(episodes=tuple(episodes.values()), vocabulary=vocabulary, extra=extra)


def write_episodes(file: EpisodeFile, path: Path) -> None:
    """Write an episode file, in one step; the same episodes give the same bytes."""
    vocabulary = {} if file.vocabulary is None else {"instruction_vocab": dict(file.vocabulary)}
    _dump({"episodes": [_plain_episode(episode) for episode in file.episodes], **vocabulary, **file.extra}, path)


def read_ground_truth(path: Path) -> dict[str, GroundTruth]:
    """Ground truth by episode id (text). Raises UserError that names the file, the episode and the field."""
    name = ""
    found = {}
    try:
        for name, raw in _load(path).items():
            found[name] = _ground_truth(_mapping(raw, "it"))
    except _WrongError as wrong:
        raise UserError(f"{path}, episode {name}: {wrong}") from None
    return found


def write_ground_truth(truth: Mapping[str, GroundTruth], path: Path) -> None:
    """Write ground truth, in one step; the same truth gives the same bytes."""
    plain = {
        name: {
            "locations": item.locations,
            "actions": item.actions,
            "forward_steps": item.forward_steps,
            **item.extra,
        }
        for name, item in truth.items()
    }
    _dump(plain, path)


# -- from JSON and back -----------------------------------------------------------------------------------------------


class _WrongError(Exception):
    """A field, and what it must be."""

    def __init__(self, name: str, allowed: str, value: Any) -> None:
        shown = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:57]}..."
        super().__init__(f"{name} must be {allowed}, got {shown}")


def _episode(raw: Mapping[str, Any], vocabulary: int | None) -> Episode:
    """vocabulary: the number of words in the file's list, if it has one."""
    goals, path, info = raw.get("goals"), raw.get("reference_path"), raw.get("info")
    scene = _take(raw, "scene_id", _text)
    if not scene.strip():
        raise _WrongError("scene_id", "the path of a scene", scene)
    trajectory = raw.get("trajectory_id")
    return Episode(
        episode_id=_take(raw, "episode_id", _name),
        trajectory_id=None if trajectory is None else _name(trajectory, "trajectory_id"),
        scene_id=scene,
        start_position=_take(raw, "start_position", _point),
        start_rotation=_take(raw, "start_rotation", _rotation),
        instruction=_instruction(_take(raw, "instruction", _mapping), vocabulary),
        goals=None if goals is None else _many(goals, "goals", _goal),
        reference_path=None if path is None else _many(path, "reference_path", _point),
        info=None if info is None else _info(info),
        extra=_rest(raw, _EPISODE),
    )


def _instruction(raw: Mapping[str, Any], vocabulary: int | None) -> Instruction:
    tokens, name = raw.get("instruction_tokens"), "instruction.instruction_tokens"
    if tokens is not None:
        allowed = f"ids from 0 to {vocabulary - 1}" if vocabulary else "ids from 0 on"
        if not isinstance(tokens, list) or not {*map(type, tokens)} <= {int}:
            raise _WrongError(name, allowed, tokens)
        if tokens and (min(tokens) < 0 or (vocabulary and max(tokens) >= vocabulary)):
            raise _WrongError(name, allowed, min(tokens) if min(tokens) < 0 else max(tokens))
    return Instruction(
        text=_take(raw, "instruction_text", _text, "instruction."),
        tokens=None if tokens is None else tuple(tokens),
        extra=_rest(raw, _INSTRUCTION),
    )


def _goal(raw: Any, name: str) -> Goal:
    raw = _mapping(raw, name)
    radius = raw.get("radius")
    if radius is not None and not (_is_number(radius) and radius > 0):
        raise _WrongError(f"{name}.radius", "a length in metres", radius)
    return Goal(position=_take(raw, "position", _point, f"{name}."), radius=radius, extra=_rest(raw, _GOAL))


def _info(raw: Any) -> Extra:
    info = _mapping(raw, "info")
    distance = info.get("geodesic_distance", 0)
    if not (_is_number(distance) and distance >= 0):
        raise _WrongError("info.geodesic_distance", "a length in metres", distance)
    return info


def _ground_truth(raw: Mapping[str, Any]) -> GroundTruth:
    actions = _take(raw, "actions", _many_of(_action))
    return GroundTruth(
        actions=actions,
        locations=_take(raw, "locations", _many_of(_point)),
        forward_steps=_take(raw, "forward_steps", _count),
        extra=_rest(raw, _TRUTH),
    )


_EPISODE = {
    *("episode_id", "trajectory_id", "scene_id", "start_position", "start_rotation", "instruction"),
    *("goals", "reference_path", "info"),
}
_INSTRUCTION = {"instruction_text", "instruction_tokens"}
_GOAL = {"position", "radius"}
_TRUTH = {"actions", "locations", "forward_steps"}


def _plain_episode(episode: Episode) -> dict[str, Any]:
    told = episode.instruction
    instruction = _present(instruction_text=told.text, instruction_tokens=told.tokens)
    goals = None
    if episode.goals is not None:
        goals = [{**_present(position=goal.position, radius=goal.radius), **goal.extra} for goal in episode.goals]
    plain = _present(
        episode_id=episode.episode_id,
        trajectory_id=episode.trajectory_id,
        scene_id=episode.scene_id,
        start_position=episode.start_position,
        start_rotation=episode.start_rotation,
        info=episode.info,
        goals=goals,
        instruction={**instruction, **told.extra},
        reference_path=episode.reference_path,
    )
    return {**plain, **episode.extra}


def _present(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _rest(raw: Mapping[str, Any], known: set[str]) -> Extra:
    """What no field holds. A null where a field may be absent is kept too, or it would be lost in writing."""
    return {name: value for name, value in raw.items() if name not in known or value is None}


def _take(raw: Mapping[str, Any], name: str, read: Callable[[Any, str], T], prefix: str = "") -> T:
    if name not in raw:
        raise _WrongError(prefix + name, "there", None)
    return read(raw[name], prefix + name)


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _WrongError(name, "an object", value)
    return value


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise _WrongError(name, "text", value)
    return value


def _name(value: Any, name: str) -> int | str:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise _WrongError(name, "a whole number or text", value)
    return value


def _count(value: Any, name: str) -> int:
    if type(value) is not int or value < 0:
        raise _WrongError(name, "a whole number from 0 on", value)
    return value


def _action(value: Any, name: str) -> int:
    if type(value) is not int or not 0 <= value <= 5:
        raise _WrongError(name, "an action from 0 to 5", value)
    return value


def _point(value: Any, name: str) -> Point:
    if not (isinstance(value, list) and len(value) == 3 and all(map(_is_number, value))):
        raise _WrongError(name, "three finite numbers", value)
    return (value[0], value[1], value[2])


def _rotation(value: Any, name: str) -> tuple[float, float, float, float]:
    allowed = "a quaternion (x, y, z, w) of length 1"
    if not (isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))):
        raise _WrongError(name, allowed, value)
    if abs(math.hypot(*value) - 1) > 0.01:
        raise _WrongError(name, allowed, value)
    return (value[0], value[1], value[2], value[3])


def _many(value: Any, name: str, read: Callable[[Any, str], T]) -> tuple[T, ...]:
    if not isinstance(value, list):
        raise _WrongError(name, "a list", value)
    return tuple(read(item, f"{name}[{i}]") for i, item in enumerate(value))


def _many_of(read: Callable[[Any, str], T]) -> Callable[[Any, str], tuple[T, ...]]:
    return lambda value, name: _many(value, name, read)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_word_list(vocabulary: Any) -> bool:
    words = vocabulary.get("word_list") if isinstance(vocabulary, dict) else None
    return isinstance(words, list) and bool(words) and all(isinstance(word, str) for word in words)


def _load(path: Path) -> dict[str, Any]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            plain = json.load(file)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise UserError(f"{path} can't be read as gzipped JSON: {error}") from error
    if not isinstance(plain, dict):
        raise UserError(f"{path} must hold a JSON object, got a {type(plain).__name__}")
    return plain


def _dump(plain: Mapping[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    text = json.dumps(plain, ensure_ascii=False, allow_nan=False)
    new.write_bytes(gzip.compress(text.encode(), mtime=0))  # no time in it, so that the same is the same
    new.replace(path)
