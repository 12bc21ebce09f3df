"""LangRoom: questions, answers, and what they are worth."""

import numpy as np
import pytest

from dynalang_py.envs import langroom
from dynalang_py.envs.langroom import LangRoom, LangRoomConfig

pytest.importorskip("langroom")

COLORS = {"red", "green", "blue", "yellow"}


def words_of(env: LangRoom, seed: int) -> list[int]:
    """What the voice says at each step; it doesn't depend on what the agent does."""
    tokens = [env.reset(seed=seed)[0]["token"]]
    while True:
        obs, _, _, truncated, _ = env.step(np.array([0, 0]))
        tokens.append(obs["token"])
        if truncated:
            return tokens


def test_right_answers_are_worth_one_each() -> None:
    env = LangRoom(LangRoomConfig())
    voice = words_of(env, 0)
    env.reset(seed=0)
    rewards = []
    for token in voice[1:]:
        answer = token if env.vocabulary[token] in COLORS else 0
        obs, reward, terminated, truncated, _ = env.step(np.array([0, answer]))
        rewards.append(reward)
        assert not terminated
        assert obs["token"] == token
    questions = sum(env.vocabulary[token] in COLORS for token in voice)
    assert len(rewards) == 200
    assert truncated
    assert questions >= 4
    assert sum(rewards) == questions == obs["log_questions"]
    assert obs["log_success"] == 1


def test_wrong_answers_and_chatter_cost() -> None:
    env = LangRoom(LangRoomConfig())
    voice = words_of(env, 1)
    env.reset(seed=1)
    for token in voice[1:]:
        answer = env.vocabulary.index("red" if env.vocabulary[token] != "red" else "blue")
        obs, reward, *_ = env.step(np.array([0, answer]))
        assert reward == pytest.approx(-0.1 if env.vocabulary[token] in COLORS else -0.01)
    assert obs["log_success"] == 0


def test_an_episode_without_a_question_has_no_success() -> None:
    env = LangRoom(LangRoomConfig(max_steps=5))
    words_of(env, 0)
    env.reset(seed=0)
    for _ in range(5):
        obs, *_ = env.step(np.array([0, 0]))
    assert np.isnan(obs["log_success"])
    assert obs["log_questions"] == 0


def test_the_sentence_grows_word_by_word_and_stays_while_silent() -> None:
    env = LangRoom(LangRoomConfig())
    obs, _ = env.reset(seed=0)
    sentences = [obs["log_text"]]
    for _ in range(60):
        obs, *_ = env.step(np.array([0, 0]))
        if obs["log_text"] != sentences[-1]:
            sentences.append(obs["log_text"])
            assert sentences[-1].split()[-1] == env.vocabulary[obs["token"]]
    assert sentences[:4] == ["", "what", "what color", "what color is"]
    assert sentences[6].startswith("what color is the ")
    assert sentences[7:9] == ["it", "it is"]


def test_walking_changes_the_view() -> None:
    env = LangRoom(LangRoomConfig(image_size=70, view=3))
    still, _ = env.reset(seed=0)
    assert still["image"].shape == (70, 70, 3)
    views = {still["image"].tobytes()}
    for move in (1, 1, 3, 3):
        views.add(env.step(np.array([move, 0]))[0]["image"].tobytes())
    assert len(views) == 5


def test_shuffling_changes_the_words_and_nothing_else() -> None:
    env, shuffled = LangRoom(LangRoomConfig()), LangRoom(LangRoomConfig(language="shuffled"))
    random = np.random.default_rng(0)
    for seed in range(3):
        one, other = env.reset(seed=seed)[0], shuffled.reset(seed=seed)[0]
        heard = []
        for _ in range(100):
            np.testing.assert_array_equal(one["image"], other["image"])
            assert one["log_text"] == other["log_text"]
            heard.append((one["token"], other["token"]))
            action = random.integers([5, 15])
            one, reward, *_ = env.step(action)
            other, other_reward, *_ = shuffled.step(action)
            assert reward == other_reward
        assert any(a != b for a, b in heard)
        assert {env.vocabulary[b] for _, b in heard} > {"what", "color", "is", "the", "?"}


@pytest.mark.parametrize(("task", "worth"), [("answer-and-echo", 10.0), ("echo", 1.0)])
def test_other_tasks_reward_the_echo(task: str, worth: float) -> None:
    env = LangRoom(LangRoomConfig(task=task))
    voice = words_of(env, 0)
    env.reset(seed=0)
    best = max(env.step(np.array([0, token]))[1] for token in voice[1:])
    assert best == worth


def test_words_of_one_step_stand_in_one_line() -> None:
    """Whatever was silent at the steps before: three columns, of which each has a line for every step."""
    page = [("what", "", ""), ("", "rug", "-0.01"), ("is", "ball", "1")]
    picture = langroom._draw(np.zeros((64, 64, 3), np.uint8), page).astype(int)
    height = langroom.SIDE // (langroom.ROWS + 1)
    for line, row in enumerate(page, 1):
        for column, word in enumerate(row):
            left = langroom.SIDE + column * langroom.WIDTH
            cell = picture[line * height : (line + 1) * height, left : left + langroom.WIDTH]
            assert (cell.max() > 150) == bool(word)


def test_an_episode_is_drawn_page_by_page() -> None:
    env = LangRoom(LangRoomConfig(), "rgb_array")
    env.reset(seed=0)
    pages = [len(env._page)]
    for _ in range(2 * langroom.ROWS):
        env.step(np.array([0, 0]))
        pages.append(len(env._page))
    assert pages == [*range(1, langroom.ROWS + 1)] * 2 + [1]
