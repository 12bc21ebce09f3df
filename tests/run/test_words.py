"""Every verb that tells an agent text says how much of it the tokenizer can't say, and refuses above a share."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dynalang_py import cli, config, envs
from dynalang_py.envs import BabyAIConfig, HomeGridConfig, VLNConfig
from dynalang_py.run.train import train
from dynalang_py.text.tokens import TextConfig

from .runs import short_config

TEXTS = ("Walk to the door.", "Go to the samovar, then stop!", "Exit, go left (at the stairs).")
LOST = "5 of 16 words (31.2 %): at (1), door (1), exit (1), samovar (1), stairs (1)"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Episodes of which houses knows two thirds, and whose own word list has one word."""
    still = {"start_position": [0, 0, 0], "start_rotation": [0, 0, 0, 1], "goals": [{"position": [1, 0, 0]}]}
    episodes = [
        {"episode_id": i, "scene_id": "a/a.glb", "instruction": {"instruction_text": text}, **still}
        for i, text in enumerate(TEXTS)
    ]
    path = tmp_path / "data" / "train" / "train.json.gz"
    path.parent.mkdir(parents=True)
    plain = {"episodes": episodes, "instruction_vocab": {"word_list": ["<pad>", "<unk>", "walk"]}}
    path.write_bytes(gzip.compress(json.dumps(plain).encode()))
    return tmp_path / "data"


def run(capsys: pytest.CaptureFixture[str], *args: str | Path) -> tuple[int, str, str]:
    code = cli.main([str(arg) for arg in args])
    out, err = capsys.readouterr()
    return code, out, err


def test_what_a_world_s_tokenizer_can_t_say_is_known_beforehand(data: Path) -> None:
    assert str(envs.coverage(VLNConfig(data=data))) == LOST
    assert envs.coverage(VLNConfig(data=data, tokenizer="english")).unknown == 0
    assert envs.coverage(VLNConfig(data=data, language="none")).words == 0
    assert envs.coverage(VLNConfig(data=data, tokens="embed")).words == 0
    for own in (BabyAIConfig(), HomeGridConfig(), BabyAIConfig(tokenizer="english"), HomeGridConfig(tokenizer="bytes")):
        assert envs.coverage(own).words > 30
        assert envs.coverage(own).unknown == 0
    assert envs.coverage(BabyAIConfig(tokenizer="houses")).share == 0.5
    assert envs.coverage(HomeGridConfig(tokenizer="babyai")).share > 0.5
    assert envs.coverage(short_config(data).env).words == 0


def test_training_refuses_a_world_of_unknown_words(
    capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path
) -> None:
    code, _, err = run(capsys, "train", "vln", "--env.data", data, "--run-dir", tmp_path / "run")
    assert (code, err.count("\n")) == (2, 1)
    assert "houses can't say 31.2 % of the 16 words of vln (most often at (1), door (1)," in err
    assert "20 % are allowed: choose another tokenizer by --env.tokenizer, or allow more by --most-unknown 0.32" in err
    assert not (tmp_path / "run" / "config.json").exists()
    code, _, err = run(capsys, "train", "babyai", "--env.tokenizer", "houses", "--run-dir", tmp_path / "run")
    assert code == 2
    assert "can't say 50 % of the 54 words" in err
    code, _, err = run(capsys, "train", "vln", "--env.data", data, "--most-unknown", "1.5")
    assert (code, "most_unknown must be" in err) == (2, True)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_evaluation_refuses_it_too(
    capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path, options: list[str]
) -> None:
    (tmp_path / "run").mkdir()
    settings = replace(short_config(tmp_path / "run"), env=VLNConfig(data=data))
    config.save(settings, tmp_path / "run" / "config.json")
    code, _, err = run(capsys, "eval", tmp_path / "run", *options)
    assert code == 2
    assert "houses can't say 31.2 % of the 16 words of vln" in err
    assert "--most-unknown 0.32" in err
    # Allowed, it is told, and what the folder lacks comes next: scenes.
    code, out, err = run(capsys, "eval", tmp_path / "run", "--most-unknown", "0.32", *options)
    assert code == 2
    assert f"unknown words: {LOST}" in (err if options else out)
    config.save(replace(settings, most_unknown=0.5), tmp_path / "run" / "config.json")
    assert "unknown words:" in "".join(run(capsys, "eval", tmp_path / "run")[1:])


def test_a_check_of_episodes_tells_it(capsys: pytest.CaptureFixture[str], data: Path) -> None:
    _, out, _ = run(capsys, "vln", "check", data)
    assert "Unknown words, with --env.tokenizer houses" in out
    assert f"in train  {LOST}" in out
    own = data / "train" / "train.json.gz"
    assert f"refuse more than 20 % of unknown words (--most-unknown); --env.tokenizer {own} is the word list" in out
    _, out, _ = run(capsys, "vln", "check", data, "--tokenizer", "english")
    assert "none of 16 words" in out
    assert "refuse more" not in out
    _, out, _ = run(capsys, "vln", "check", data, "--json")
    assert '"unknown": 5' in out
    code, _, err = run(capsys, "vln", "check", data, "--tokenizer", "englsh")
    assert (code, "there is no tokenizer 'englsh'" in err) == (2, True)


def test_text_beside_experience_is_refused_or_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text("go left, or right!\n" * 50)
    text = TextConfig(corpus=(str(tmp_path / "corpus.txt"),))
    settings = short_config(tmp_path / "run", text=text, text_ratio=0.5)
    with pytest.raises(Exception, match=r"can't say 50 % of the 200 words of .*corpus\.txt \(most often go \(50\), or"):
        train(settings)
    assert not (tmp_path / "run" / "config.json").exists()
    train(replace(settings, most_unknown=0.5, eval_episodes=1, baseline_episodes=0))
    assert "unknown words, text           100 of 200 words (50 %): go (50), or (50)" in capsys.readouterr().out


def test_reading_is_refused_or_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text("go to the samovar\n" * 50)
    command: list[Any] = ["pretrain", "text-debug", "--corpus", tmp_path / "corpus.txt", "--tokenizer", "babyai"]
    command += ["--run-dir", tmp_path / "run", "--updates", "1", "--eval-every", "0"]
    code, _, err = run(capsys, *command)
    assert (code, err.count("\n")) == (2, 1)
    assert "babyai can't say 25 % of the 200 words of" in err
    assert "by --tokenizer, or allow more by --most-unknown 0.25" in err
    code, out, _ = run(capsys, *command, "--most-unknown", "0.25")
    assert code == 0
    assert "50 of 200 words (25 %): samovar (50)" in out
    generate: list[Any] = ["generate", tmp_path / "run", "--tokens", "2", "--prompt"]
    assert run(capsys, *generate, "go to the box")[2] == ""
    code, _, err = run(capsys, *generate, "go to the samovar", "--most-unknown", "1")
    assert (code, err) == (0, "dynalang: unknown in the prompt: 1 of 4 words (25 %): samovar (1)\n")
    code, _, err = run(capsys, *generate, "go to the samovar")
    assert code == 2
    assert "can't say 25 % of the 4 words of the prompt" in err
    code, _, err = run(capsys, *generate, "?")
    assert code == 2
    assert "nothing of the prompt '?' can be said" in err or "holds nothing" in err
