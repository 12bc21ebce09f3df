"""The task in a real simulator: what is seen, heard, paid and measured in a house of two rooms."""

import importlib.util
import logging
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from dynalang_py import envs
from dynalang_py.contract import StepSpec
from dynalang_py.envs import VLNConfig
from dynalang_py.envs.vln.episodes import FORWARD, LEFT, RIGHT, STOP, Goal, read_episodes, write_episodes
from dynalang_py.errors import UserError
from dynalang_py.tokenizers.closed import Vocabulary

LOGS = ("log_success", "log_spl", "log_ne", "log_osr", "log_tl", "log_ndtw", "log_sdtw")


@pytest.fixture
def config(world: Any) -> VLNConfig:
    return VLNConfig(data=world.data)


def after_reading(env: gymnasium.Env, seed: int) -> dict[str, Any]:
    obs, _ = env.reset(seed=seed)
    while obs["is_read_step"]:
        obs = env.step(STOP)[0]
    return obs


def play(env: gymnasium.Env, seed: int, actions: list[int]) -> list[tuple[Any, ...]]:
    """The steps that these actions make, once the instruction was read."""
    after_reading(env, seed)
    return [env.step(action) for action in actions]


def follow(env: gymnasium.Env, seed: int) -> list[tuple[Any, ...]]:
    """The steps of an episode in which the expert acts, once the instruction was read."""
    obs = after_reading(env, seed)
    steps: list[tuple[Any, ...]] = []
    while not steps or not (steps[-1][2] or steps[-1][3]):
        steps.append(env.step(obs["expert"]))
        obs = steps[-1][0]
    return steps


def test_gymnasium_finds_no_fault(config: VLNConfig) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*(seed|deterministic|obs|reward|info).*")
        warnings.filterwarnings("ignore", message=".*(infinity|Box|unwrapped).*")
        check_env(envs.make(replace(config, expert=True)), skip_render_check=True)


@pytest.mark.parametrize(
    ("changes", "spec"),
    [
        ({}, {"image": (64, 64, 3), "depth": (64, 64, 1)}),
        ({"depth_channels": 0}, {"image": (64, 64, 3)}),
        ({"depth_channels": 3, "image_size": 32}, {"image": (32, 32, 3), "depth": (32, 32, 3)}),
        ({"panorama": True, "image_size": 16}, {"image": (16, 64, 3), "depth": (16, 64, 1)}),
        ({"render_size": 128}, {"image": (64, 64, 3), "depth": (64, 64, 1)}),
    ],
)
def test_observations_are_as_the_settings_say(config: VLNConfig, changes: Any, spec: dict[str, Any]) -> None:
    config = replace(config, **changes, expert=True)
    env = envs.make(config)
    assert config.spaces() == (env.observation_space, env.action_space)
    assert StepSpec.from_spaces(*config.spaces()).images == spec
    for obs, *_ in play(env, 0, [FORWARD, LEFT, RIGHT, STOP]):
        assert env.observation_space.contains(obs)


def test_spaces_need_no_data_and_no_simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("trimesh", "embreex", "scipy", "transformers"):
        monkeypatch.setitem(sys.modules, module, None)
    observation, actions = VLNConfig(data=Path("nowhere"), tokens="embed", simulator="habitat").spaces()
    assert StepSpec.from_spaces(observation, actions).token_embed == 512
    assert StepSpec.from_spaces(*VLNConfig(data=Path("nowhere")).spaces()).actions == (4,)


def test_the_world_stands_still_until_the_instruction_was_read(config: VLNConfig) -> None:
    env = envs.make(config)
    vocabulary = env.get_wrapper_attr("vocabulary")
    obs, _ = env.reset(seed=0)
    first, heard = obs, []
    while obs["is_read_step"]:
        heard.append(obs["token"])
        obs, reward, terminated, truncated, _ = env.step(FORWARD)
        assert (reward, terminated, truncated) == (0, False, False)
        np.testing.assert_array_equal(obs["image"], first["image"])
    heard.append(obs["token"])  # at the last word one may act
    assert [vocabulary[i] for i in heard] == ["leave", "the", "room", "and", "turn", "right", "."]
    again = [env.step(LEFT)[0]["token"] for _ in range(9)]
    assert again == [0, *heard, 0]
    assert first["log_text"] == "Leave the room and turn right."


def test_without_reading_the_first_action_counts(config: VLNConfig) -> None:
    env = envs.make(replace(config, read=False))
    obs, _ = env.reset(seed=0)
    assert obs["is_read_step"] == 0
    assert env.step(STOP)[2]


def test_actions_do_what_they_say(config: VLNConfig) -> None:
    env = envs.make(config)
    after_reading(env, 1)  # at (-2, 1), looking along -z
    pose = env.unwrapped._simulator.pose  # type: ignore[attr-defined]
    for action, position, yaw in (
        (FORWARD, (-2, 0, 0.75), 0),
        (LEFT, (-2, 0, 0.75), 15),
        (RIGHT, (-2, 0, 0.75), 0),
        (RIGHT, (-2, 0, 0.75), -15),
    ):
        env.step(action)
        pose = env.unwrapped._simulator.pose  # type: ignore[attr-defined]
        assert pose.position[[0, 2]] == pytest.approx([position[0], position[2]], abs=0.01)
        assert pose.yaw == pytest.approx(yaw, abs=1e-6)


def test_what_lies_ahead_is_seen_in_colour_and_depth(config: VLNConfig) -> None:
    """Episode 2 begins 3 m before a wall: 3 m of 10 are 76 of 255."""
    env = envs.make(config)
    obs = after_reading(env, 1)
    assert obs["depth"][32, 32, 0] == pytest.approx(255 * 2.95 / 10, abs=2)
    closer = env.step(FORWARD)[0]
    assert closer["depth"][32, 32, 0] == pytest.approx(255 * 2.7 / 10, abs=2)
    assert np.ptp(obs["image"][60, 32].astype(int)) > 30  # a brown floor
    assert np.ptp(obs["image"][32, 32].astype(int)) < 20  # a grey wall


def test_averaging_keeps_the_picture(config: VLNConfig) -> None:
    sharp, smooth = (after_reading(envs.make(replace(config, render_size=size)), 2)["image"] for size in (64, 256))
    assert 0 < np.abs(sharp.astype(int) - smooth).mean() < 6


def test_a_panorama_shows_left_ahead_right_and_behind(config: VLNConfig) -> None:
    single, panorama = envs.make(config), envs.make(replace(config, panorama=True))
    whole = after_reading(panorama, 1)
    ahead = after_reading(single, 1)
    for name in ("image", "depth"):
        views = np.split(whole[name], 4, 1)
        np.testing.assert_array_equal(views[1], ahead[name])
        for turns, view in ((6, 0), (12, 3), (18, 2)):
            seen = play(single, 1, [LEFT] * turns)[-1][0][name]
            assert np.abs(seen.astype(int) - views[view]).mean() < 1
    pose = panorama.unwrapped._simulator.pose  # type: ignore[attr-defined]
    assert pose.yaw == pytest.approx(0)


def test_the_blind_see_nothing(config: VLNConfig) -> None:
    env = envs.make(replace(config, blind=True))
    for obs, *_ in play(env, 0, [FORWARD, LEFT]):
        assert not obs["image"].any()
        assert not obs["depth"].any()


def test_each_step_pays_the_metres_it_came_nearer(config: VLNConfig) -> None:
    env = envs.make(config)
    steps = play(env, 1, [FORWARD, FORWARD, LEFT])  # the goal is 2 m straight ahead
    assert [reward for _, reward, *_ in steps] == pytest.approx([0.25, 0.25, 0], abs=0.03)
    away = play(env, 1, [LEFT] * 12 + [FORWARD])
    assert away[-1][1] == pytest.approx(-0.25, abs=0.03)


def test_a_stop_at_the_goal_is_paid_and_elsewhere_costs(config: VLNConfig) -> None:
    env = envs.make(config)
    *_, (obs, reward, terminated, truncated, _) = play(env, 1, [FORWARD] * 5 + [STOP])
    assert (reward, terminated, truncated) == (1000, True, False)
    assert obs["log_success"] == 1
    *_, (obs, reward, terminated, truncated, _) = play(env, 1, [FORWARD] * 3 + [STOP])  # 1.25 m before it; radius 1
    assert (reward, terminated, truncated) == (-10, True, False)
    assert obs["log_success"] == 0
    other = envs.make(replace(config, stop_reward=5.0, stop_penalty=0.0, radius=1.5))
    assert play(other, 1, [FORWARD] * 3 + [STOP])[-1][1] == 5
    assert play(other, 1, [STOP])[-1][1] == 0


def test_time_runs_out_without_success(config: VLNConfig) -> None:
    env = envs.make(replace(config, max_steps=8))
    steps = play(env, 1, [FORWARD] * 8)
    assert [step[2:4] for step in steps] == [(False, False)] * 7 + [(False, True)]
    assert steps[-1][0]["log_success"] == 0  # at the goal, but it never said so
    assert steps[-1][0]["log_osr"] == 1


def test_the_metrics_speak_at_the_end(config: VLNConfig) -> None:
    env = envs.make(config)
    steps = play(env, 1, [LEFT, RIGHT, *[FORWARD] * 7, STOP])
    for obs, *_ in steps[:-1]:
        assert not any(obs[name] for name in LOGS)
    found = {name.removeprefix("log_"): float(steps[-1][0][name]) for name in LOGS}
    assert found["tl"] == pytest.approx(1.75, abs=0.01)
    assert found["ne"] == pytest.approx(0.25, abs=0.03)
    assert (found["success"], found["osr"], found["spl"]) == (1, 1, 1)
    # 0.25 m short of a straight reference of nine points, radius 1.
    assert found["ndtw"] == found["sdtw"] == pytest.approx(np.exp(-0.25 / 9), abs=0.01)


def test_ground_truth_is_the_reference_where_there_is_some(world: Any, tmp_path: Path) -> None:
    from dynalang_py.envs.vln.episodes import GroundTruth, write_ground_truth

    file = read_episodes(world.data / "train" / "train.json.gz")
    write_episodes(file, tmp_path / "train.json.gz")
    far = GroundTruth(actions=(STOP,), locations=((3.0, 0.0, 1.0), (3.0, 0.0, 0.0)), forward_steps=1)
    write_ground_truth({"2": far}, tmp_path / "train_gt.json.gz")
    env = envs.make(VLNConfig(data=tmp_path, scenes=world.scene.parents[1]))
    ndtw = play(env, 1, [STOP])[-1][0]["log_ndtw"]
    apart = np.hypot(5, 0) + np.hypot(5, 1)  # from (-2, 1), where it stopped
    assert ndtw == pytest.approx(np.exp(-apart / 2), rel=1e-3)


def test_the_expert_arrives(config: VLNConfig) -> None:
    env = envs.make(replace(config, expert=True))
    for seed in range(3):
        obs, reward, terminated, *_ = follow(env, seed)[-1]
        assert terminated
        assert reward == 1000
        assert obs["log_ne"] < 0.5
        assert obs["log_spl"] > 0.9
        assert obs["log_ndtw"] > 0.7


def with_goals(world: Any, data: Path, number: int, *goals: Goal) -> VLNConfig:
    """One episode of the world, with these goals."""
    file = read_episodes(world.data / "train" / "train.json.gz")
    write_episodes(replace(file, episodes=(replace(file.episodes[number], goals=goals),)), data / "train.json.gz")
    return VLNConfig(data=data, scenes=world.data / "scenes", expert=True, language="none", pause=0)


def everything(config: VLNConfig, actions: list[int]) -> list[Any]:
    """What an episode pays and tells, exactly."""
    env = envs.make(config)
    rows = play(env, 0, actions)
    return [(reward, over, obs["expert"], *(float(obs[name]) for name in LOGS)) for obs, reward, over, *_ in rows]


def test_of_several_goals_the_nearest_counts_wherever_it_stands(world: Any, tmp_path: Path) -> None:
    """From (-2, 1) to (-2, -1). The other goals lie behind the wall: nearer in a straight line, and not on foot."""
    goal = Goal(position=(-2.0, 0.0, -1.0), radius=0.5)
    others = [Goal(position=place, radius=9.0) for place in ((0.5, 0.0, 1.5), (0.5, 0.0, -1.5), (3.0, 9.0, 0.0))]
    told = []
    for i, goals in enumerate([(goal,), (others[0], goal), (others[2], *others, goal)]):
        config = with_goals(world, tmp_path / str(i), 1, *goals)
        told.append([everything(config, [FORWARD] * 8 + [STOP]), everything(config, [LEFT, STOP])])
    assert told[0] == told[1] == told[2]
    arrived, stayed = told[0]
    assert arrived[-1][0] == 1000
    assert stayed[-1][0] == -10
    assert arrived[-1][LOGS.index("log_success") + 3] == stayed[-1][LOGS.index("log_success") + 3] + 1 == 1


def test_the_nearest_goal_may_change_on_the_way(world: Any, tmp_path: Path) -> None:
    """From (-2, 1) looking along -z: 0.5 m behind is a goal, 2 m ahead another one; each has its own radius."""
    behind, ahead = Goal(position=(-2.0, 0.0, 1.5), radius=0.3), Goal(position=(-2.0, 0.0, -1.0), radius=1.0)
    config = with_goals(world, tmp_path, 1, behind, ahead)
    rows = everything(config, [FORWARD] * 8)
    paid = np.cumsum([row[0] for row in rows])
    straight = [min(0.5 + 0.25 * k, 2 - 0.25 * k) for k in range(1, 9)]
    assert 0.5 - paid == pytest.approx(straight, abs=0.06)
    for steps, success in ((0, 0), (3, 0), (4, 0), (5, 1), (8, 1)):
        assert everything(config, [FORWARD] * steps + [STOP])[-1][3] == success
    # The expert makes for what is nearest from where it stands.
    assert [envs.make(config).reset(seed=0)[0]["expert"], rows[1][2], rows[3][2]] == [LEFT, LEFT, FORWARD]


def test_agents_do_not_see_the_expert(config: VLNConfig) -> None:
    assert StepSpec.from_spaces(*replace(config, expert=True).spaces()) == StepSpec.from_spaces(*config.spaces())
    assert "expert" not in envs.make(config).reset(seed=0)[0]


def test_as_many_seeds_as_episodes_play_each_once(config: VLNConfig) -> None:
    env = envs.make(config)
    assert env.get_wrapper_attr("episodes") == 3
    told = [env.reset(seed=1_000_000 + k)[0]["log_text"] for k in range(3)]
    assert len(set(told)) == 3
    assert told == [env.reset(seed=1_000_003 + k)[0]["log_text"] for k in range(3)]
    assert {env.reset()[0]["log_text"] for _ in range(30)} == {*told}


def test_the_seed_alone_decides(config: VLNConfig) -> None:
    env, twin = envs.make(replace(config, language="shuffled")), envs.make(replace(config, language="shuffled"))

    def log(world: gymnasium.Env) -> list[Any]:
        rng = np.random.default_rng(0)
        steps = [world.reset(seed=5)[0]]
        for _ in range(60):
            obs, _, terminated, truncated, _ = world.step(rng.integers(0, 4))
            steps.append(world.reset()[0] if terminated or truncated else obs)
        return steps

    first = log(env)
    twin.reset(seed=9)
    for again in (log(env), log(twin)):
        for one, other in zip(first, again, strict=True):
            for name in one:
                np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_no_observation_changes_after_it_was_given(config: VLNConfig) -> None:
    given = [obs for obs, *_ in play(envs.make(config), 0, [LEFT, FORWARD, LEFT, FORWARD, STOP])]
    kept = [{name: np.copy(value) for name, value in obs.items()} for obs in given]
    env = envs.make(config)
    for obs, copy in zip(given, kept, strict=True):
        env.reset(seed=0)
        for name in obs:
            np.testing.assert_array_equal(obs[name], copy[name])


def test_shuffled_tells_another_episode_and_none_nothing(config: VLNConfig) -> None:
    shuffled, silent = envs.make(replace(config, language="shuffled")), envs.make(replace(config, language="none"))
    heard = set()
    for k in range(12):
        obs, _ = shuffled.reset(seed=3 * k)
        assert obs["log_text"] == "Leave the room and turn right."  # what would have been true
        heard.add(obs["token"])
        said = " ".join(shuffled.get_wrapper_attr("told").split()).lower()
        assert shuffled.get_wrapper_attr("vocabulary")[obs["token"]].strip("▁") in ("<pad>", *said.split())
    assert len(heard) == 3
    assert silent.reset(seed=0)[0]["log_text"]
    assert not silent.get_wrapper_attr("told")
    assert {obs["token"] for obs, *_ in play(silent, 0, [LEFT] * 20)} == {0}


def test_words_may_be_those_of_an_episode_file(world: Any, tmp_path: Path) -> None:
    file = read_episodes(world.data / "train" / "train.json.gz")
    words = Vocabulary(["leave", "room", "the"]).pieces
    write_episodes(replace(file, vocabulary={"word_list": list(words)}), tmp_path / "train.json.gz")
    env = envs.make(VLNConfig(data=world.data, tokenizer=str(tmp_path / "train.json.gz")))
    assert [env.reset(seed=0)[0]["token"], *[env.step(0)[0]["token"] for _ in range(3)]] == [2, 4, 3, 1]
    assert env.get_wrapper_attr("vocabulary") == words


def test_words_may_be_vectors(config: VLNConfig) -> None:
    if importlib.util.find_spec("homegrid") is None:
        pytest.skip("homegrid, which brings vectors, is not installed")
    env = envs.make(replace(config, tokens="embed", encoder="homegrid", language="none"))
    obs, _ = env.reset(seed=0)
    assert obs["token_embed"].shape == (512,)
    assert env.observation_space.contains(obs)
    with pytest.raises(UserError, match=r"vln\.embedding must be 512, .* got 300"):
        envs.make(replace(config, tokens="embed", encoder="homegrid", embedding=300))


def test_people_see_the_view_beside_a_map(config: VLNConfig) -> None:
    env = envs.make(config, render_mode="rgb_array")
    env.reset(seed=1)
    before = env.render()
    assert isinstance(before, np.ndarray)
    assert before.shape == (240, 480, 3)
    assert before.dtype == np.uint8
    play(env, 1, [FORWARD] * 4)
    after = env.render()
    assert isinstance(after, np.ndarray)
    blue = np.array([0x2F, 0x6F, 0xDE])
    walked = [int((frame[:, 240:] == blue).all(-1).sum()) for frame in (before, after)]
    assert walked[1] > walked[0] > 0
    assert (before[:, :240] != after[:, :240]).any()
    assert envs.make(config).render() is None


def test_a_goal_that_no_way_leads_to_is_told_and_measured_straight(
    world: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = read_episodes(world.data / "train" / "train.json.gz")
    walled = replace(file.episodes[0], goals=(replace(file.episodes[0].goals[0], position=(-3.0, 20.0, -1.0)),))  # type: ignore[index]
    write_episodes(replace(file, episodes=(walled,)), tmp_path / "train.json.gz")
    env = envs.make(VLNConfig(data=tmp_path, scenes=world.data / "scenes"))
    with caplog.at_level(logging.WARNING, "dynalang.envs"):
        obs = play(env, 0, [LEFT, STOP])[-1][0]
    assert obs["log_ne"] == pytest.approx(20, abs=0.1)
    assert [record.getMessage() for record in caplog.records] == [
        "in episode 1 no way leads to the goal; distances are straight"
    ]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"split": "val_unsen"}, "no split 'val_unsen'"),
        ({"split": "test"}, "the split 'test' of .* tells no goals"),
        ({"data": Path("nowhere")}, "there is no folder nowhere with episodes; --env.data names one"),
        ({"scenes": Path("nowhere")}, "the scene house/house.glb is missing: there is no house/house.glb nor nowhere/"),
        ({"task": "vnl"}, "There is no VLN task 'vnl'"),
        ({"tokenizer": "hauses"}, "vln.tokenizer: .*Did you mean 'houses'"),
        ({"simulator": "habitat", "habitat_python": Path("nowhere")}, "Simulator 'habitat' finds no program nowhere"),
    ],
)
def test_what_is_missing_is_told_at_the_start(config: VLNConfig, changes: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        envs.make(replace(config, **changes))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("language", "loud"),
        ("tokens", "t5"),
        ("simulator", "embre"),
        ("image_size", 0),
        ("render_size", 32),
        ("render_size", 100),
        ("depth_channels", -1),
        ("hfov", 180),
        ("pause", -1),
        ("max_steps", 0),
        ("forward", 0),
        ("turn", 0),
        ("radius", -1),
        ("agent_radius", 0),
        ("forward", float("nan")),
    ],
)
def test_wrong_values_are_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"vln\.{field} must .*{value}"):
        VLNConfig(**{field: value})


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(UserError, match=r"vln\.split must be the name of a split"):
        VLNConfig(split=" ")
