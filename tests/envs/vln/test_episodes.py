"""Episode files: the real ones of R2R-CE keep every bit, and what is wrong is named with file, episode and field."""

import gzip
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynalang_py.envs.vln.episodes import (
    Episode,
    EpisodeFile,
    Goal,
    GroundTruth,
    Instruction,
    read_episodes,
    read_ground_truth,
    write_episodes,
    write_ground_truth,
)
from dynalang_py.envs.vln.layout import episode_path, ground_truth_path, scene_path, splits
from dynalang_py.errors import UserError
from dynalang_py.reading import is_inside

REAL = Path(__file__).parents[4] / "shared" / "data" / "vlnce"
real = pytest.mark.skipif(not REAL.is_dir(), reason="the files of R2R-CE are not here")

R2R: dict[str, Any] = {
    "episode_id": 7,
    "trajectory_id": 4,
    "scene_id": "mp3d/S/S.glb",
    "start_position": [1.5, 0.25, -3.0],
    "start_rotation": [-0.0, 0.7071067811865476, -0.0, -0.7071067811865475],
    "info": {"geodesic_distance": 6.4, "difficulty": "easy"},
    "goals": [{"position": [0.0, 0.25, 1.0], "radius": 3.0}],
    "instruction": {"instruction_text": "Go to the bed. ", "instruction_tokens": [2, 3, 0, 0]},
    "reference_path": [[1.5, 0.25, -3.0], [0.0, 0.25, 1.0]],
}
RXR: dict[str, Any] = {
    "episode_id": "120",
    "trajectory_id": "11",
    "scene_id": "mp3d/S/S.glb",
    "start_position": [1, 0, -3],
    "start_rotation": [0.0, 0.6, 0.0, 0.8],
    "info": {"role": "guide"},
    "goals": None,
    "instruction": {
        "instruction_id": "361",
        "instruction_text": "आप एक कमरे में हैं",
        "language": "hi-IN",
        "annotator_id": "17",
        "edit_distance": 0.13,
        "timed_instruction": [{"end_time": 1.5, "word": "आप", "start_time": 0.9}],
        "instruction_tokens": None,
    },
    "reference_path": [[1, 0, -3]],
}
TEST: dict[str, Any] = {name: value for name, value in R2R.items() if name not in ("goals", "reference_path", "info")}
VOCABULARY = {"word_list": ["<pad>", "<unk>", "go", "bed"], "num_vocab": 4, "UNK_INDEX": 1, "PAD_INDEX": 0}
TRUTH = {"actions": [2, 1, 0], "locations": [[0, 0, 0], [0, 0, -0.25]], "forward_steps": 1, "note": "kept"}


def plain(path: Path) -> Any:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return json.load(file)


def put(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    return path


def changed(raw: dict[str, Any], dotted: str, value: Any) -> dict[str, Any]:
    """A copy with one field replaced, or taken away where value is ... ."""
    copy = json.loads(json.dumps(raw))
    *path, last = dotted.split(".")
    inner = copy
    for part in path:
        inner = inner[int(part) if part.isdigit() else part]
    if value is ...:
        del inner[last]
    else:
        inner[int(last) if last.isdigit() else last] = value
    return copy


@real
@pytest.mark.parametrize(("split", "episodes", "scenes"), [("train", 10_819, 61), ("val_seen", 778, 53)])
def test_real_episodes_are_written_as_they_were_read(tmp_path: Path, split: str, episodes: int, scenes: int) -> None:
    path = episode_path(REAL, split)
    file = read_episodes(path)
    assert len(file.episodes) == episodes
    assert len({episode.scene for episode in file.episodes}) == scenes
    assert len(file.words) == 2504
    write_episodes(file, tmp_path / "again.json.gz")
    # repr tells -0.0 from 0.0 and 1 from 1.0, which == does not
    assert repr(ordered(plain(tmp_path / "again.json.gz"))) == repr(ordered(plain(path)))


def ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: ordered(value[name]) for name in sorted(value)}
    return [ordered(item) for item in value] if isinstance(value, list) else value


@real
def test_real_ground_truth_is_written_as_it_was_read(tmp_path: Path) -> None:
    path = ground_truth_path(episode_path(REAL, "val_seen"))
    truth = read_ground_truth(path)
    assert {str(episode.episode_id) for episode in read_episodes(episode_path(REAL, "val_seen")).episodes} == {*truth}
    write_ground_truth(truth, tmp_path / "again.json.gz")
    assert repr(ordered(plain(tmp_path / "again.json.gz"))) == repr(ordered(plain(path)))


@pytest.mark.parametrize(
    "content",
    [
        {"episodes": [R2R], "instruction_vocab": VOCABULARY},
        {"episodes": [RXR, changed(RXR, "episode_id", "121")]},
        {"episodes": [TEST], "instruction_vocab": VOCABULARY, "made_by": "somebody"},
        {"episodes": []},
    ],
    ids=["R2R-CE", "RxR-CE", "test split", "none"],
)
def test_every_field_survives_known_or_not(tmp_path: Path, content: dict[str, Any]) -> None:
    file = read_episodes(put(tmp_path / "a.json.gz", content))
    write_episodes(file, tmp_path / "b.json.gz")
    assert plain(tmp_path / "b.json.gz") == content
    assert read_episodes(tmp_path / "b.json.gz") == file


def test_fields_are_typed(tmp_path: Path) -> None:
    (episode,) = read_episodes(
        put(tmp_path / "a.json.gz", {"episodes": [R2R], "instruction_vocab": VOCABULARY})
    ).episodes
    assert episode.scene == "S"
    assert episode.goals == (Goal(position=(0.0, 0.25, 1.0), radius=3.0),)
    assert episode.instruction == Instruction(text="Go to the bed. ", tokens=(2, 3, 0, 0))
    assert episode.reference_path == ((1.5, 0.25, -3.0), (0.0, 0.25, 1.0))
    (told,) = read_episodes(put(tmp_path / "b.json.gz", {"episodes": [RXR]})).episodes
    assert told.goals is None
    assert told.instruction.extra["language"] == "hi-IN"


def test_the_same_episodes_are_the_same_bytes(tmp_path: Path) -> None:
    file = read_episodes(put(tmp_path / "a.json.gz", {"episodes": [R2R]}))
    for name in ("b", "c"):
        write_episodes(file, tmp_path / f"{name}.json.gz")
    assert (tmp_path / "b.json.gz").read_bytes() == (tmp_path / "c.json.gz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json.gz", "b.json.gz", "c.json.gz"]


numbers = st.floats(-1e6, 1e6) | st.integers(-(10**6), 10**6)
points = st.tuples(numbers, numbers, numbers)


@given(
    st.lists(
        st.builds(
            Episode,
            episode_id=st.uuids().map(str),
            trajectory_id=st.none() | st.integers() | st.text(),
            scene_id=st.text(min_size=1).map(lambda name: f"s{name}/a.glb").filter(is_inside),
            start_position=points,
            start_rotation=st.just((0.0, 0.6, 0.0, 0.8)),
            goals=st.none() | st.lists(st.builds(Goal, position=points, radius=st.none() | st.just(1.5))).map(tuple),
            reference_path=st.none() | st.lists(points).map(tuple),
            info=st.none() | st.fixed_dictionaries({"geodesic_distance": st.floats(0, 99)}),
            instruction=st.builds(
                Instruction, text=st.text(), tokens=st.none() | st.lists(st.integers(0, 9)).map(tuple)
            ),
        ),
        unique_by=lambda episode: episode.episode_id,
        max_size=3,
    )
)
def test_whatever_is_written_is_read_again(episodes: list[Episode]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = EpisodeFile(episodes=tuple(episodes))
        write_episodes(file, Path(folder, "a.json.gz"))
        assert read_episodes(Path(folder, "a.json.gz")) == file


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("scene_id", ..., "scene_id must be there"),
        ("scene_id", " ", "scene_id must be the path of a scene, got ' '"),
        ("start_position", [1, 2], r"start_position must be three finite numbers, got \[1, 2\]"),
        ("start_position", [1, 2, float("nan")], "start_position must be three finite numbers"),
        ("start_position", [1, 2, True], "start_position must be three finite numbers"),
        ("start_rotation", [0, 0, 0, 0], r"start_rotation must be a quaternion \(x, y, z, w\) of length 1"),
        ("goals", {}, "goals must be a list"),
        ("goals.0", 3, r"goals\[0\] must be an object, got 3"),
        ("goals.0.position", ..., r"goals\[0\].position must be there"),
        ("goals.0.radius", -1, r"goals\[0\].radius must be a length in metres, got -1"),
        ("instruction", "go", "instruction must be an object, got 'go'"),
        ("instruction.instruction_text", 3, "instruction.instruction_text must be text, got 3"),
        ("reference_path", [[0, 0, 0]] * 100_001, "reference_path must be at most 100,000 values, got 100001"),
        ("start_position", [0] * 10**6, r"start_position must be three finite numbers, got \[0, 0, 0, 0, 0, .*\.\.\.$"),
        ("reference_path.1", [0], r"reference_path\[1\] must be three finite numbers, got \[0\]"),
        ("goals.0.radius", 10**400, r"goals\[0\].radius must be a length in metres, got 1000"),
        ("start_position", [1, 2, 10**400], "start_position must be three finite numbers"),
        ("start_position", [1, 2, 1e300], r"start_position must be three numbers within ±1,000,000 metres"),
        ("episode_id", [7], r"episode_id must be a whole number or text, got \[7\]"),
        ("scene_id", "../../etc/S.glb", "scene_id must be a path below the folder of scenes, relative and without"),
        ("scene_id", "mp3d/../../S.glb", "scene_id must be a path below"),
        ("scene_id", "/etc/S.glb", "scene_id must be a path below"),
        ("scene_id", "..\\S.glb", "scene_id must be a path below"),
        ("scene_id", "mp3d/S\0.glb", "scene_id must be a path below"),
        ("scene_id", "a" * 300, "scene_id must be a path below"),
    ],
)
def test_a_wrong_field_is_named_with_its_episode_and_file(
    tmp_path: Path, field: str, value: Any, sentence: str
) -> None:
    path = put(tmp_path / "x.json.gz", {"episodes": [changed(R2R, field, value)], "instruction_vocab": VOCABULARY})
    name = r"\[7\]" if field == "episode_id" else "7"
    with pytest.raises(UserError, match=rf"x\.json\.gz, episode {name}: {sentence}"):
        read_episodes(path)


@pytest.mark.parametrize(
    ("field", "value", "note"),
    [
        ("instruction.instruction_tokens", [0, 4], "instruction.instruction_tokens must be ids from 0 to 3, got 4"),
        ("instruction.instruction_tokens", [0, "a"], "instruction.instruction_tokens must be ids from 0 to 3, got"),
        ("info.geodesic_distance", "far", "info.geodesic_distance must be a length in metres, got 'far'"),
        ("info.geodesic_distance", 10**400, "info.geodesic_distance must be a length in metres, got 1000"),
        ("info", [1], "info must be an object, got [1]"),
        ("trajectory_id", 1.5, "trajectory_id must be a whole number or text, got 1.5"),
        ("scan", float("nan"), ""),
        ("reference_path", ..., ""),
    ],
)
def test_what_is_wrong_and_not_needed_closes_no_split(tmp_path: Path, field: str, value: Any, note: str) -> None:
    content = {"episodes": [changed(R2R, field, value)], "instruction_vocab": VOCABULARY}
    file = read_episodes(put(tmp_path / "x.json.gz", content))
    assert len(file.episodes) == 1
    assert [said.startswith(f"episode 7: {note}") for said in file.notes] == [True] * bool(note)
    if value == value:  # else it is no JSON that one may write
        write_episodes(file, tmp_path / "y.json.gz")
        assert plain(tmp_path / "y.json.gz") == content


def test_a_vocabulary_that_nothing_needs_is_let_go_likewise(tmp_path: Path) -> None:
    content = {"episodes": [R2R], "instruction_vocab": {"word_list": 3}}
    file = read_episodes(put(tmp_path / "x.json.gz", content))
    assert (file.words, file.notes) == ((), ("instruction_vocab.word_list must be a list of words, got 3",))
    write_episodes(file, tmp_path / "y.json.gz")
    assert plain(tmp_path / "y.json.gz") == content


def quaternion(yaw: float, pitch: float = 0.0) -> list[float]:
    """(x, y, z, w): turned to the left, then tilted backwards, in degrees."""
    turned, tilted = np.radians(yaw) / 2, np.radians(pitch) / 2
    (s, c), (t, d) = (np.sin(turned), np.cos(turned)), (np.sin(tilted), np.cos(tilted))
    return [float(c * t), float(s * d), float(-s * t), float(c * d)]


@pytest.mark.parametrize("yaw", [0, 15, 90, 180, -120])
def test_a_rotation_that_stands_the_agent_on_its_head_is_refused(tmp_path: Path, yaw: float) -> None:
    x, y, z, w = quaternion(yaw)
    for fits in ([x, y, z, w], [-x, -y, -z, -w], quaternion(yaw, 30)):
        read_episodes(put(tmp_path / "x.json.gz", {"episodes": [changed(R2R, "start_rotation", fits)]}))
    sentence = (
        r"x\.json\.gz, episode 7: start_rotation must be a quaternion \(x, y, z, w\) by which .* upright.*w given"
    )
    for wrong in ([w, x, y, z], quaternion(yaw, 100)):
        with pytest.raises(UserError, match=sentence):
            read_episodes(put(tmp_path / "x.json.gz", {"episodes": [changed(R2R, "start_rotation", wrong)]}))


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("locations.0", None, r"locations\[0\] must be three finite numbers, got None"),
        ("locations", [], "locations must be one point at least"),
        ("locations", ..., "locations must be there"),
    ],
)
def test_a_wrong_ground_truth_is_named_likewise(tmp_path: Path, field: str, value: Any, sentence: str) -> None:
    path = put(tmp_path / "x_gt.json.gz", {"12": changed(TRUTH, field, value)})
    with pytest.raises(UserError, match=rf"x_gt\.json\.gz, episode '12': {sentence}"):
        read_ground_truth(path)


@pytest.mark.parametrize(
    ("field", "value"), [("actions.1", 9), ("forward_steps", -1), ("forward_steps", ...), ("actions", ...)]
)
def test_of_ground_truth_only_the_locations_are_needed(tmp_path: Path, field: str, value: Any) -> None:
    content = {"12": changed(TRUTH, field, value)}
    truth = read_ground_truth(put(tmp_path / "x_gt.json.gz", content))
    assert [list(place) for place in truth["12"].locations] == TRUTH["locations"]
    write_ground_truth(truth, tmp_path / "y_gt.json.gz")
    assert plain(tmp_path / "y_gt.json.gz") == content


def test_ground_truth_keeps_what_it_does_not_know(tmp_path: Path) -> None:
    truth = read_ground_truth(put(tmp_path / "a.json.gz", {"12": TRUTH}))
    assert truth["12"] == GroundTruth(
        actions=(2, 1, 0), locations=((0, 0, 0), (0, 0, -0.25)), forward_steps=1, extra={"note": "kept"}
    )
    write_ground_truth(truth, tmp_path / "b.json.gz")
    assert plain(tmp_path / "b.json.gz") == {"12": TRUTH}


def no_gzip(path: Path) -> None:
    path.write_text("{}")


def cut_off(path: Path) -> None:
    put(path, {"episodes": [R2R]})
    path.write_bytes(path.read_bytes()[:-20])


def no_json(path: Path) -> None:
    path.write_bytes(gzip.compress(b"{"))


def nested(path: Path) -> None:
    path.write_bytes(gzip.compress(b'{"episodes": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"))


@pytest.mark.parametrize("spoil", [no_gzip, cut_off, no_json, nested])
def test_a_damaged_file_is_named(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    spoil(tmp_path / "x.json.gz")
    for read in (read_episodes, read_ground_truth):
        with pytest.raises(UserError, match=r"x\.json\.gz (is a damaged gzip file|can't be read as JSON)"):
            read(tmp_path / "x.json.gz")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([], "must hold a JSON object, got a list"),
        ({"episode": []}, "is no episode file: it has no list 'episodes'"),
        ({"episodes": [3]}, "episode number 0: it must be an object, got 3"),
        ({"episodes": [R2R, R2R]}, "episode 7: episode_id must be unique"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, content: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=rf"x\.json\.gz.*{sentence}"):
        read_episodes(put(tmp_path / "x.json.gz", content))


def test_splits_are_found_in_folders_and_flat(tmp_path: Path) -> None:
    for name in ("val_seen/val_seen", "val_seen/val_seen_gt", "train", "train_gt", "rxr/rxr_guide", "other/thing"):
        put(tmp_path / f"{name}.json.gz", {})
    assert splits(tmp_path) == ("train", "val_seen", "rxr")
    assert episode_path(tmp_path, "val_seen") == tmp_path / "val_seen" / "val_seen.json.gz"
    assert episode_path(tmp_path, "train") == tmp_path / "train.json.gz"
    guide = episode_path(tmp_path, "rxr")
    assert ground_truth_path(guide) == tmp_path / "rxr" / "rxr_guide_gt.json.gz"


def test_what_holds_no_episodes_is_no_split(tmp_path: Path) -> None:
    """R2R-CE ships embeddings.json.gz beside its splits. What is damaged may be a split, and its reader says so."""
    put(tmp_path / "embeddings.json.gz", [[0.25, 0.5]] * 1000)
    put(tmp_path / "words" / "words.json.gz", {"word_list": ["a"] * 1000})
    put(tmp_path / "mine.json.gz", {"instruction_vocab": VOCABULARY, "episodes": [R2R]})
    put(tmp_path / "val_seen.json.gz", [])
    (tmp_path / "other.json.gz").write_bytes(b"no gzip")
    assert splits(tmp_path) == ("val_seen", "mine", "other")


def test_a_missing_split_is_told_with_those_that_are_there(tmp_path: Path) -> None:
    put(tmp_path / "val_unseen.json.gz", {})
    with pytest.raises(UserError, match=r"no split 'val_unsen' .*there are val_unseen\. Did you mean 'val_unseen'\?"):
        episode_path(tmp_path, "val_unsen")
    with pytest.raises(UserError, match=r"there is no folder .*nowhere with episodes"):
        episode_path(tmp_path / "nowhere", "train")


@pytest.mark.parametrize(
    ("scene_id", "file", "scenes"),
    [
        ("house_1/house_1.glb", "data/scenes/house_1/house_1.glb", None),
        ("mp3d/S/S.glb", "scene_datasets/mp3d/S/S.glb", "scene_datasets/mp3d"),
        ("mp3d/S/S.glb", "scene_datasets/mp3d/S/S.glb", "scene_datasets"),
        ("data/scene_datasets/mp3d/S/S.glb", "scene_datasets/mp3d/S/S.glb", "scene_datasets"),
        ("mp3d/S/S.glb", "elsewhere/S/S.glb", "elsewhere"),
    ],
)
def test_scenes_are_found(tmp_path: Path, scene_id: str, file: str, scenes: str | None) -> None:
    place = tmp_path / file
    place.parent.mkdir(parents=True)
    place.touch()
    assert scene_path(scene_id, tmp_path / "data", tmp_path / scenes if scenes else None) == place


def test_scenes_may_lie_behind_links_of_the_user(tmp_path: Path) -> None:
    """Another disk, say. Only what an episode file says must stay below the folder."""
    for name in ("disk/mp3d/S", "disk/T", "data"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("disk/mp3d/S/S.glb", "disk/T/T.glb"):
        (tmp_path / name).touch()
    (tmp_path / "data" / "scenes").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "mp3d" / "T").symlink_to(tmp_path / "disk" / "T")
    for scene_id in ("mp3d/S/S.glb", "mp3d/T/T.glb"):
        assert scene_path(scene_id, tmp_path / "data", None) == tmp_path / "data" / "scenes" / scene_id


def test_a_missing_scene_is_told_with_the_places(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"the scene mp3d/S/S\.glb is missing: .*data/scenes/mp3d/S/S\.glb; --env\.scenes"
    ):
        scene_path("mp3d/S/S.glb", tmp_path / "data", None)
