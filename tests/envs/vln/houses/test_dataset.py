"""Data sets: valid episodes, honest splits, all or nothing."""

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("embreex")
pytest.importorskip("trimesh")

from dynalang_py.envs.language import UNKNOWN, Vocabulary
from dynalang_py.envs.vln.episodes import Episode, read_episodes, read_ground_truth
from dynalang_py.envs.vln.houses import dataset
from dynalang_py.envs.vln.houses.catalogue import COLOURS, KINDS, RECIPES
from dynalang_py.envs.vln.houses.dataset import HIDDEN, SPLITS, HousesConfig, make_dataset
from dynalang_py.envs.vln.houses.grammar import GRAMMAR
from dynalang_py.envs.vln.houses.plan import LEVELS
from dynalang_py.envs.vln.houses.words import WORDS
from dynalang_py.envs.vln.simulator import Body, Camera, make_simulator
from dynalang_py.errors import UserError

SMALL = HousesConfig(train=2, val_unseen=2, paths=5, val_seen_paths=1, furniture="builtin", processes=1)


@pytest.fixture(scope="module", params=LEVELS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> HousesConfig:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        config = replace(SMALL, level=request.param, out=tmp_path_factory.mktemp("data") / request.param)
        make_dataset(config)
    return config


def episodes(config: HousesConfig, split: str) -> tuple[Episode, ...]:
    return read_episodes(config.out / split / f"{split}.json.gz").episodes


def objects(config: HousesConfig, episode: Episode) -> dict[str, dict[str, str]]:
    path = config.out / "scenes" / episode.scene / f"{episode.scene}.json"
    return {thing["name"]: thing for thing in json.loads(path.read_text())["objects"]}


def pairs(text: str) -> set[tuple[str, str]]:
    """Kinds and colours that a sentence names."""
    words = text.lower().replace(".", " ").replace(",", " ").split()
    return {(kind, colour) for colour, kind in pairwise(words)}


def test_there_are_as_many_episodes_as_asked_for(made: HousesConfig) -> None:
    assert [len(episodes(made, split)) for split in SPLITS] == [2 * 5 * 3, 2 * 1 * 3, 2 * 5 * 3]
    told = json.loads((made.out / "dataset.json").read_text())["splits"]
    assert [told[split]["episodes"] for split in SPLITS] == [30, 6, 30]


def test_episodes_can_be_walked_and_are_as_long_as_they_say(made: HousesConfig) -> None:
    simulator = make_simulator("embree", Camera(depth=False), Body())
    for split in SPLITS:
        for episode in episodes(made, split)[::3]:
            simulator.load(made.out / "scenes" / episode.scene_id)
            assert episode.goals
            assert episode.info
            goal = episode.goals[0].position
            for place in (episode.start_position, goal):
                near = simulator.snap(place)
                assert near is not None
                assert np.linalg.norm(near - place) < 0.05
            told = episode.info["geodesic_distance"]
            assert simulator.geodesic(episode.start_position, goal) == pytest.approx(told, rel=0.05)
            assert episode.reference_path
            steps = np.linalg.norm(np.diff(np.array(episode.reference_path), axis=0), axis=1)
            assert steps.sum() == pytest.approx(told, rel=0.05)


def test_the_expert_ends_within_the_goals_radius(made: HousesConfig) -> None:
    for split in SPLITS:
        truth = read_ground_truth(made.out / split / f"{split}_gt.json.gz")
        told = episodes(made, split)
        assert {*truth} == {str(episode.episode_id) for episode in told}
        for episode in told:
            assert episode.goals
            assert episode.goals[0].radius == dataset.RADIUS[made.level]
            walked = truth[str(episode.episode_id)]
            assert walked.actions[-1] == 0
            assert walked.locations[0] == pytest.approx(episode.start_position, abs=1e-4)
            end = np.subtract(walked.locations[-1], episode.goals[0].position)
            assert np.linalg.norm(end) < episode.goals[0].radius


def test_houses_have_several_things_to_walk_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "TARGETS", 1000)
    with pytest.raises(UserError, match="has room for 6 paths"):
        make_dataset(replace(SMALL, out=tmp_path / "data"))
    assert list(tmp_path.iterdir()) == []


def test_a_start_is_outside_of_success(made: HousesConfig) -> None:
    for split in SPLITS:
        for episode in episodes(made, split):
            assert episode.info
            assert episode.info["geodesic_distance"] > dataset.RADIUS[made.level] + 0.5


def test_the_target_is_there_and_only_once(made: HousesConfig) -> None:
    for split in SPLITS:
        for episode in episodes(made, split):
            assert episode.info
            assert episode.goals
            things = objects(made, episode)
            target = things[episode.info["target"]]
            words = f"{target['colour']} {target['category']}"
            assert words in episode.instruction.text
            twins = [
                t for t in things.values() if (t["category"], t["colour"]) == (target["category"], target["colour"])
            ]
            assert len([twin for twin in twins if twin["room"] == target["room"]]) == 1
            x0, _, z0, x1, _, z1 = map(float, target["box"])
            x, _, z = episode.goals[0].position
            assert np.hypot(max(x0 - x, 0, x - x1), max(z0 - z, 0, z - z1)) < 0.6


def test_everything_named_is_in_the_house(made: HousesConfig) -> None:
    for split in SPLITS:
        for episode in episodes(made, split):
            there = {(thing["category"], thing["colour"]) for thing in objects(made, episode).values()}
            named = {(kind, c) for kind, c in pairs(episode.instruction.text) if kind in KINDS and c in COLOURS}
            assert named
            assert named <= there, episode.instruction.text


def test_ids_are_those_of_the_words(made: HousesConfig) -> None:
    vocabulary = Vocabulary(WORDS)
    for split in SPLITS:
        file = read_episodes(made.out / split / f"{split}.json.gz")
        assert file.words == vocabulary.pieces
        assert file.vocabulary is not None
        assert file.vocabulary["num_vocab"] == len(vocabulary)
        for episode in file.episodes:
            tokens = episode.instruction.tokens
            assert tokens is not None
            said = vocabulary.encode(episode.instruction.text)
            assert [token for token in tokens if token] == said
            assert UNKNOWN not in said
            assert len(tokens) == 200


def test_unseen_houses_are_new_and_seen_ones_are_not(made: HousesConfig) -> None:
    train, seen, unseen = ({episode.scene_id for episode in episodes(made, split)} for split in SPLITS)
    assert train == seen
    assert not train & unseen


def test_val_seen_has_new_paths(made: HousesConfig) -> None:
    train, seen = (
        {(episode.scene_id, episode.start_position) for episode in episodes(made, split)}
        for split in ("train", "val_seen")
    )
    assert not train & seen


def test_training_never_names_nor_shows_a_hidden_pair(made: HousesConfig) -> None:
    for split in ("train", "val_seen"):
        for episode in episodes(made, split):
            assert not pairs(episode.instruction.text) & HIDDEN
            things = objects(made, episode).values()
            assert not {(thing["category"], thing["colour"]) for thing in things} & HIDDEN


def test_val_unseen_leads_to_hidden_pairs_in_held_out_words(made: HousesConfig) -> None:
    told = episodes(made, "val_unseen")
    hidden = [episode for episode in told if episode.info and episode.info["landmark"] == "held_out"]
    assert hidden
    assert all(pairs(episode.instruction.text) & HIDDEN for episode in hidden)
    for i, episode in enumerate(told):
        assert episode.info
        assert episode.info["wording"] == ("train" if i % 3 == 0 else "held_out")
    for episode in episodes(made, "train"):
        assert episode.info
        assert episode.info["wording"] == "train"


def test_held_out_rules_are_never_heard_in_training(made: HousesConfig) -> None:
    rules = [re.sub(r"{\w+}", "X", rule).replace(" ,", ",") for role in WHOLE for rule in GRAMMAR[role].held_out]

    def count(split: str) -> int:
        """Sentences that are nothing but one held-out rule."""
        texts = [episode.instruction.text.removesuffix(".") for episode in episodes(made, split)]
        return sum(re.sub(FILLED, "X", part.lower()) in rules for text in texts for part in text.split(". "))

    assert count("train") == count("val_seen") == 0
    assert count("val_unseen") > 0


WHOLE = ("goto", "goto after a turn", "brief", "start", "stop")
FILLED = rf"\b(({'|'.join(COLOURS)}) ({'|'.join(KINDS)})|{'|'.join(RECIPES)}|left|right|around)\b"


def test_a_path_has_several_wordings(made: HousesConfig) -> None:
    told = episodes(made, "train")
    for i in range(0, len(told), 3):
        assert len({episode.instruction.text for episode in told[i : i + 3]}) == 3
        assert len({episode.trajectory_id for episode in told[i : i + 3]}) == 1


def test_processes_make_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tiny = replace(SMALL, train=2, val_unseen=0, paths=2)
    for processes in (1, 2):
        make_dataset(replace(tiny, out=tmp_path / str(processes), processes=processes))
    files = sorted(path.relative_to(tmp_path / "1") for path in (tmp_path / "1").rglob("*") if path.is_file())
    assert len(files) > 8
    for file in files:
        assert (tmp_path / "1" / file).read_bytes() == (tmp_path / "2" / file).read_bytes(), file


def test_progress_counts_the_houses(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    make_dataset(
        replace(SMALL, out=tmp_path / "data", train=1, val_unseen=1, paths=1, val_seen_paths=0),
        lambda *counts: seen.append(counts),
    )
    assert seen == [(1, 2), (2, 2)]


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(UserError, match="not empty"):
        make_dataset(replace(SMALL, out=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    make_dataset(replace(SMALL, out=tmp_path, train=1, val_unseen=0, paths=1, val_seen_paths=0))
    assert {path.name for path in tmp_path.iterdir()} == {"dataset.json", "scenes", "train"}


def test_what_was_interrupted_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_dataset(replace(SMALL, out=tmp_path / "data", paths=1), interrupt)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("train", 0), ("val_unseen", -1), ("paths", 0), ("instructions", 11), ("processes", -1), ("val_seen_paths", -2)],
)
def test_impossible_numbers_are_refused(field: str, value: int) -> None:
    wrong: dict[str, Any] = {field: value}
    with pytest.raises(UserError, match=rf"houses\.{field} must be .* got {value}"):
        replace(SMALL, **wrong)
