"""The files of VLN-CE: episodes and ground truth of R2R-CE and RxR-CE, read, checked and written.

An episode file is `{split}.json.gz` (RxR-CE: `{split}_guide.json.gz`), its ground truth `{split}_gt.json.gz`. Positions
are metres, y up; rotations quaternions (x, y, z, w). Format: VLN-CE (arXiv 2004.02857) and habitat-lab's episodes.

What these classes have no field for is kept in `extra` and written back as it came, so that a file that was read and
written holds the same JSON. So is a value that is wrong where nothing needs it, and `notes` tell of it.
"""

import gzip
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from dynalang_py.envs.vln import fields
from dynalang_py.envs.vln.fields import Fields, Point, Rotation, WrongError
from dynalang_py.errors import UserError, shown
from dynalang_py.reading import is_finite, read_json

Extra: TypeAlias = Mapping[str, Any]


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
    start_rotation: Rotation
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
    notes: tuple[str, ...] = field(default=(), compare=False)
    """What is wrong in the file where nothing needs it, each with its episode."""

    @property
    def words(self) -> tuple[str, ...]:
        """What the ids of `Instruction.tokens` stand for; empty where the file doesn't say."""
        return tuple(self.vocabulary["word_list"]) if self.vocabulary else ()


@dataclass(frozen=True, kw_only=True)
class GroundTruth:
    locations: tuple[Point, ...]
    """Where an expert stood: at the start and after each step forward."""
    actions: tuple[int, ...] = ()
    """What it did, the stop at the end included; scores need only the locations."""
    forward_steps: int | None = None
    """How often it went forward."""
    extra: Extra = field(default_factory=dict)
    """Fields of the file that stand nowhere else."""


# -- reading and writing ----------------------------------------------------------------------------------------------


def read_episodes(path: Path) -> EpisodeFile:
    """Read an episode file. Raises UserError that names the file, and the episode and the field that are wrong."""
    plain, notes = _load(path), list[str]()
    if not isinstance(plain.get("episodes"), list):
        raise UserError(f"{path} is no episode file: it has no list 'episodes'")
    whole = Fields(plain, notes)
    vocabulary = whole.spare("instruction_vocab", _vocabulary)
    size = len(vocabulary["word_list"]) if vocabulary is not None else None
    episodes: dict[str, Episode] = {}
    for i, raw in enumerate(whole.take("episodes", lambda value, _: value)):
        name, noted = _name(raw, i), list[str]()
        try:
            episode = _episode(Fields(fields.mapping(raw, "it"), noted), size)
        except WrongError as wrong:
            raise UserError(f"{path}, episode {name}: {wrong}") from None
        if str(episode.episode_id) in episodes:
            raise UserError(f"{path}, episode {name}: episode_id must be unique, but another episode has it")
        episodes[str(episode.episode_id)] = episode
        notes += [f"episode {name}: {note}" for note in noted]
    return EpisodeFile(episodes=tuple(episodes.values()), vocabulary=vocabulary, extra=whole.rest(), notes=tuple(notes))


def write_episodes(file: EpisodeFile, path: Path) -> None:
    """Write an episode file, in one step; the same episodes give the same bytes."""
    vocabulary = {} if file.vocabulary is None else {"instruction_vocab": dict(file.vocabulary)}
    _dump({"episodes": [_plain_episode(episode) for episode in file.episodes], **vocabulary, **file.extra}, path)


def read_ground_truth(path: Path) -> dict[str, GroundTruth]:
    """Ground truth by episode id (text). Raises UserError that names the file, the episode and the field."""
    found, name = {}, ""
    try:
        for name, raw in _load(path).items():
            found[name] = _ground_truth(Fields(fields.mapping(raw, "it"), []))
    except WrongError as wrong:
        raise UserError(f"{path}, episode {shown(name)}: {wrong}") from None
    return found


def write_ground_truth(truth: Mapping[str, GroundTruth], path: Path) -> None:
    """Write ground truth, in one step; the same truth gives the same bytes."""
    plain = {
        name: {
            **_present(locations=item.locations, actions=item.actions or None, forward_steps=item.forward_steps),
            **item.extra,
        }
        for name, item in truth.items()
    }
    _dump(plain, path)


# -- from JSON and back -----------------------------------------------------------------------------------------------


def _name(raw: Any, number: int) -> str:
    """What an episode is called in sentences."""
    name = raw.get("episode_id") if isinstance(raw, dict) else None
    return f"number {number}" if name is None else name if isinstance(name, str) and len(name) < 60 else shown(name)


def _episode(raw: Fields, vocabulary: int | None) -> Episode:
    """vocabulary: the number of words in the file's list, if it has one."""

    def told(value: Any, name: str) -> Instruction:
        return _instruction(Fields(fields.mapping(value, name), raw.notes, f"{name}."), vocabulary)

    return Episode(
        episode_id=raw.take("episode_id", fields.name_or_number),
        trajectory_id=raw.spare("trajectory_id", fields.name_or_number),
        scene_id=raw.take("scene_id", fields.scene),
        start_position=raw.take("start_position", fields.point),
        start_rotation=raw.take("start_rotation", fields.rotation),
        instruction=raw.take("instruction", told),
        goals=raw.find("goals", fields.many(_goal)),
        reference_path=raw.find("reference_path", fields.many(fields.point)),
        info=raw.spare("info", _info),
        extra=raw.rest(),
    )


def _instruction(raw: Fields, vocabulary: int | None) -> Instruction:
    def ids(value: Any, name: str) -> tuple[int, ...]:
        allowed = f"ids from 0 to {vocabulary - 1}" if vocabulary else "ids from 0 on"
        if not isinstance(value, list) or not {*map(type, value)} <= {int}:
            raise WrongError(name, allowed, value)
        if value and (min(value) < 0 or (vocabulary and max(value) >= vocabulary)):
            raise WrongError(name, allowed, min(value) if min(value) < 0 else max(value))
        return tuple(value)

    return Instruction(
        text=raw.take("instruction_text", fields.text),
        tokens=raw.spare("instruction_tokens", ids),
        extra=raw.rest(),
    )


def _goal(value: Any, name: str) -> Goal:
    raw = Fields(fields.mapping(value, name), [], f"{name}.")
    return Goal(position=raw.take("position", fields.point), radius=raw.find("radius", fields.length), extra=raw.rest())


def _info(value: Any, name: str) -> Extra:
    info = fields.mapping(value, name)
    distance = info.get("geodesic_distance", 0)
    if not (is_finite(distance) and distance >= 0):
        raise WrongError(f"{name}.geodesic_distance", "a length in metres", distance)
    return info


def _ground_truth(raw: Fields) -> GroundTruth:
    locations = raw.take("locations", fields.many(fields.point))
    if not locations:
        raise WrongError("locations", "one point at least", [])
    return GroundTruth(
        locations=locations,
        actions=raw.spare("actions", fields.many(fields.action)) or (),
        forward_steps=raw.spare("forward_steps", fields.count),
        extra=raw.rest(),
    )


def _vocabulary(value: Any, name: str) -> Extra:
    words = value.get("word_list") if isinstance(value, dict) else None
    if not (isinstance(words, list) and words and all(isinstance(word, str) for word in words)):
        raise WrongError(f"{name}.word_list", "a list of words", words)
    return value


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


def _load(path: Path) -> dict[str, Any]:
    plain = read_json(path, "the episode file")
    if not isinstance(plain, dict):
        raise UserError(f"{path} must hold a JSON object, got a {type(plain).__name__}")
    return plain


def _dump(plain: Mapping[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    text = json.dumps(plain, ensure_ascii=False, allow_nan=False)
    new.write_bytes(gzip.compress(text.encode(), mtime=0))  # no time in it, so that the same is the same
    new.replace(path)
