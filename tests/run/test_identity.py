"""What a run needs travels with it: its tokenizer, wherever the file lies now, and whatever became of it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dynalang_py import cli
from dynalang_py import config as configs
from dynalang_py.config import Config
from dynalang_py.envs import BabyAIConfig, DummyConfig, MessengerConfig, VLNConfig
from dynalang_py.errors import UserError
from dynalang_py.run import identity
from dynalang_py.run.folder import RunFolder
from dynalang_py.text.config import FREE_TO_RESUME, PretrainConfig
from dynalang_py.tokenizers import load
from dynalang_py.tokenizers.pieces import train as train_pieces

from .runs import saved_steps, short_config


def model(path: Path, text: str = "go to the red ball and the blue key", size: int = 285) -> str:
    path.write_bytes(train_pieces([text, "pieces are made of many other words than these few"] * 50, size))
    return str(path)


def kept(tmp_path: Path, settings: Any) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    identity.keep(folder, settings, ("<pad>",))
    return folder


def test_the_run_reads_by_its_own_copy_when_the_file_is_gone_or_trained_anew(tmp_path: Path) -> None:
    settings = BabyAIConfig(tokenizer=model(tmp_path / "tok.model"))
    before = load(settings.tokenizer).identity
    folder = kept(tmp_path, settings)
    model(tmp_path / "tok.model", "quite another text")
    assert load(identity.own(folder, settings).tokenizer).identity == before
    (tmp_path / "tok.model").unlink()
    moved = RunFolder(Path(shutil.move(folder.path, tmp_path / "moved")))
    assert load(identity.own(moved, settings).tokenizer).identity == before


def test_another_tokenizer_is_refused_and_the_same_elsewhere_is_not(tmp_path: Path) -> None:
    settings = BabyAIConfig(tokenizer=model(tmp_path / "tok.model"))
    folder = kept(tmp_path, settings)
    shutil.copy(tmp_path / "tok.model", tmp_path / "same.model")
    same = identity.own(folder, replace(settings, tokenizer=str(tmp_path / "same.model")))
    assert same == identity.own(folder, settings)
    for other in (model(tmp_path / "other.model", "quite another text"), "english", "babyai"):
        with pytest.raises(UserError, match=r"is not the tokenizer that .*run learned"):
            identity.own(folder, replace(settings, tokenizer=other))


def test_word_lists_and_t5s_file_are_kept_too(tmp_path: Path) -> None:
    words = tmp_path / "train.json"
    words.write_text(json.dumps({"episodes": [], "instruction_vocab": {"word_list": ["<pad>", "<unk>", "walk"]}}))
    settings = VLNConfig(tokenizer=str(words))
    folder = RunFolder(tmp_path / "run")
    tokenizer = load(words)
    name, content = identity._content(tokenizer, str(words))
    (tmp_path / name).write_bytes(content)
    assert load(tmp_path / name).identity == tokenizer.identity
    assert identity._field(settings) == "tokenizer"
    assert identity._field(replace(settings, tokens="embed")) == ""
    assert identity._field(MessengerConfig()) == "sentencepiece"
    assert identity.own(folder, settings) == settings  # a run that has not begun, or of an earlier version


def test_a_named_tokenizer_that_has_changed_is_noticed(tmp_path: Path) -> None:
    folder = kept(tmp_path, BabyAIConfig(tokenizer="bytes"))
    record = folder.tokenizer / "identity.json"
    assert identity.own(folder, BabyAIConfig(tokenizer="bytes")) == BabyAIConfig(tokenizer="bytes")
    record.write_text(record.read_text().replace(load("bytes").identity, "0" * 64))
    with pytest.raises(UserError, match=r"tokenizer 'bytes' is not the tokenizer .* belongs to the version"):
        identity.own(folder, BabyAIConfig(tokenizer="bytes"))
    with pytest.raises(UserError, match="the world's words are not those"):
        identity.check_vocabulary(folder, ("<pad>", "new"))


def test_a_copy_that_is_damaged_or_led_elsewhere_is_refused(tmp_path: Path) -> None:
    settings = BabyAIConfig(tokenizer=model(tmp_path / "tok.model"))
    folder = kept(tmp_path, settings)
    model(folder.tokenizer / "tokenizer.model", "quite another text")
    with pytest.raises(UserError, match="was changed or is damaged"):
        identity.own(folder, settings)
    record = folder.tokenizer / "identity.json"
    record.write_text(record.read_text().replace('"tokenizer.model"', '"../../tok.model"'))
    with pytest.raises(UserError, match="which no run keeps"):
        identity.own(folder, settings)
    record.write_text("[]")
    with pytest.raises(UserError, match="does not say which tokenizer"):
        identity.own(folder, settings)


def test_an_agent_is_evaluated_and_goes_on_by_the_tokenizer_that_it_learned_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("minigrid")
    from dynalang_py.run.train import train

    run = tmp_path / "run"
    env = BabyAIConfig(tile_size=4, tokenizer=model(tmp_path / "tok.model"))
    train(short_config(run, env=env, steps=100, prefill=60, baseline_episodes=0, eval_episodes=1))
    model(tmp_path / "tok.model", "quite another text")
    assert cli.main(["eval", str(run), "--episodes", "1"]) == 0
    assert cli.main(["eval", str(run), "--episodes", "1", "--env.tokenizer", model(tmp_path / "x.model", "words")]) == 2
    assert "is not the tokenizer that" in capsys.readouterr().err
    (tmp_path / "tok.model").rename(tmp_path / "moved.model")
    assert cli.main(["train", "--resume", str(run), "--steps", "104"]) == 0
    assert cli.main(["train", "--resume", str(run), "--env.tokenizer", str(tmp_path / "moved.model")]) == 2
    assert saved_steps(run) == 104


@pytest.mark.parametrize(
    ("name", "value"),
    [("env.data", "~/elsewhere"), ("env.scenes", "/scenes"), ("env.tokenizer", "other"), ("env.cache", "c")],
)
def test_places_are_free_to_change_when_a_run_goes_on(name: str, value: str) -> None:
    env = VLNConfig()
    field = name.removeprefix("env.")
    changed: Any = {field: type(getattr(env, field) or Path())(value)}
    assert configs.first_difference(Config(env=env), Config(env=replace(env, **changed))) is None
    assert configs.first_difference(Config(env=env), Config(env=replace(env, split="val"))) is not None


def test_corpora_are_free_to_move(tmp_path: Path) -> None:
    config = Config(env=DummyConfig())
    moved = replace(config, text=replace(config.text, corpus=("b",), cache=tmp_path, workers=2))
    assert configs.first_difference(config, moved) is None
    assert configs.first_difference(config, replace(moved, text=replace(moved.text, documents="paragraphs")))
    reader = PretrainConfig(tokenizer="a")
    assert configs.first_difference(reader, replace(reader, tokenizer="b"), FREE_TO_RESUME) is None
