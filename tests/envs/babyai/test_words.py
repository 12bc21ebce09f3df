"""Missions: every word is known, heard when it should be, by any tokenizer."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynalang_py.envs.babyai import VOCABULARY, BabyAI, BabyAIConfig, list_tasks
from dynalang_py.envs.language import UNKNOWN
from dynalang_py.errors import UserError

from .level import FORWARD, LEFT, make


def test_every_word_of_every_mission_is_known() -> None:
    words: set[int] = set()
    for task in list_tasks():
        env = make(task)
        space = env.level.observation_space["mission"]
        missions = set()
        if task.startswith("MiniGrid-"):
            missions = {space.mission_func(*words) for words in itertools.product(*(space.ordered_placeholders or []))}
        # BabyAI's levels tell their missions only by drawing them; the largest of them draw from the whole grammar.
        for seed in range(300 if "Boss" in task or task == "BabyAI-SynthLoc-v0" else 5):
            missions.add(env.reset(seed=seed)[0]["log_text"])
        for mission in missions:
            ids = VOCABULARY.encode(mission)
            assert ids, task
            assert UNKNOWN not in ids, (task, mission)
            words |= set(ids)
    # All are of use but one, of levels that minigrid's wheel can't build.
    assert [VOCABULARY.pieces[i] for i in range(2, len(VOCABULARY)) if i not in words] == ["maze"]


def test_the_grammar_of_the_verifier_is_covered() -> None:
    from minigrid.core.constants import COLOR_NAMES
    from minigrid.envs.babyai.core import verifier

    class Described(verifier.ObjDesc):
        count = 1

        def find_matching_objs(self, env: Any, use_location: bool = True) -> None:
            self.obj_set = [None] * self.count

    sentences: list[Any] = []
    for kind, color, place, count in itertools.product(
        [None, *verifier.OBJ_TYPES], [None, *COLOR_NAMES], [None, *verifier.LOC_NAMES], [1, 2]
    ):
        thing = Described(kind, color, place)
        thing.count = count
        go = verifier.GoToInstr(thing)
        if kind == "door":
            sentences += [verifier.OpenInstr(thing), verifier.AfterInstr(go, go)]
        else:
            sentences += [verifier.PickupInstr(thing), verifier.PutNextInstr(thing, thing), verifier.AndInstr(go, go)]
        sentences += [verifier.BeforeInstr(go, go)]
    assert len(sentences) > 900
    for sentence in sentences:
        assert UNKNOWN not in VOCABULARY.encode(sentence.surface(None)), sentence.surface(None)


def test_an_unknown_word_is_heard_as_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    env = make()
    draw = type(env.level).reset

    def reset(level: Any, **kwargs: Any) -> Any:
        answer = draw(level, **kwargs)
        level.mission = "go to the samovar"
        return answer

    monkeypatch.setattr(type(env.level), "reset", reset)
    obs, _ = env.reset(seed=0)
    heard = [obs["token"], *[env.step(LEFT)[0]["token"] for _ in range(3)]]
    assert [env.vocabulary[token] for token in heard] == ["go", "to", "the", "<unk>"]


@pytest.mark.parametrize("pause", [0, 1, 3])
def test_the_mission_is_repeated_while_acting(pause: int) -> None:
    env = make(pause=pause)
    obs, _ = env.reset(seed=0)
    heard = [obs["token"], *[env.step(LEFT)[0]["token"] for _ in range(16)]]
    sentence = [*VOCABULARY.encode(obs["log_text"]), *[0] * pause]
    assert heard == (sentence * 4)[:17]


def test_the_mission_is_read_before_anything_moves() -> None:
    env, level = make(read=True), make()
    obs, _ = env.reset(seed=3)
    plain, _ = level.reset(seed=3)
    words = len(VOCABULARY.encode(obs["log_text"]))
    heard = [obs["token"]]
    for _ in range(words - 1):
        assert obs["is_read_step"] == 1
        obs, reward, terminated, truncated, _ = env.step(FORWARD)
        heard.append(obs["token"])
        np.testing.assert_array_equal(obs["image"], plain["image"])
        assert (reward, terminated, truncated) == (0.0, False, False)
    assert VOCABULARY.decode(heard) == obs["log_text"]
    assert obs["is_read_step"] == 0
    assert env.level.step_count == 0
    random = np.random.default_rng(0)
    while True:  # from the last word on it is the same episode
        action = random.integers(3)
        obs, *rest, _ = env.step(action)
        plain, *expected, _ = level.step(action)
        assert rest == expected
        assert obs["is_read_step"] == 0
        np.testing.assert_array_equal(obs["image"], plain["image"])
        if rest[1] or rest[2]:
            break


def test_silence_takes_no_time_to_read() -> None:
    obs, _ = make(read=True, language="none").reset(seed=0)
    assert obs["is_read_step"] == 0


def test_shuffling_changes_the_words_and_nothing_else() -> None:
    env, shuffled = make(), make(language="shuffled")
    other = 0
    for seed in range(60):
        (obs, _), (obs_shuffled, _) = env.reset(seed=seed), shuffled.reset(seed=seed)
        heard = []
        for _ in range(6):
            np.testing.assert_array_equal(obs["image"], obs_shuffled["image"])
            assert obs["log_text"] == obs_shuffled["log_text"]
            heard.append(obs_shuffled["token"])
            obs, obs_shuffled = env.step(LEFT)[0], shuffled.step(LEFT)[0]
        other += heard[: len(VOCABULARY.encode(obs["log_text"]))] != VOCABULARY.encode(obs["log_text"])
        assert VOCABULARY.decode(heard).startswith("go to ")
    assert other > 45


def test_missions_are_said_by_any_tokenizer() -> None:
    from dynalang_py.tokenizers import load

    config = BabyAIConfig(task="BabyAI-GoToLocalS5N2-v0", tokenizer="english")
    env, english = BabyAI(config), load("english")
    assert env.vocabulary == english.pieces
    assert env.observation_space == config.spaces()[0]
    assert env.observation_space["token"].n == english.size  # type: ignore[index]
    seen, _ = env.reset(seed=0)
    heard = [seen["token"]]
    while seen["is_read_step"]:
        seen = env.step(0)[0]
        heard.append(seen["token"])
    assert english.decode(heard) == seen["log_text"]


def test_a_tokenizer_that_can_t_be_spoken_is_told_with_its_field(tmp_path: Path) -> None:
    import sentencepiece

    with pytest.raises(UserError, match=r"babyai\.tokenizer: there is no tokenizer 'englsh'"):
        BabyAIConfig(tokenizer="englsh").spaces()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["go to the red ball"] * 50),
        model_prefix=str(tmp_path / "a"),
        vocab_size=14,
        minloglevel=2,
    )
    with pytest.raises(UserError, match=r"babyai\.tokenizer is '.*a\.model', which has no id 0 for silence"):
        BabyAIConfig(tokenizer=str(tmp_path / "a.model")).spaces()
