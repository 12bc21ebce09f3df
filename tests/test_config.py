import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dynalang_py import config as configs
from dynalang_py import presets
from dynalang_py.config import Config, first_difference, from_dict, to_dict
from dynalang_py.envs import BabyAIConfig, DummyConfig
from dynalang_py.errors import UserError


@pytest.mark.parametrize("name", presets.PRESETS)
def test_every_preset_survives_json(name: str) -> None:
    config = presets.get(name)
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


def test_a_saved_config_is_loaded_and_leaves_nothing_else(tmp_path: Path) -> None:
    config = presets.get("debug")
    configs.save(config, tmp_path / "config.json")
    assert configs.load(tmp_path / "config.json", Config) == config
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_the_kind_of_a_world_decides_its_class() -> None:
    plain = to_dict(Config(env=DummyConfig()))
    assert plain["env"]["kind"] == "dummy"
    plain["env"] = {"kind": "babyai", **to_dict(BabyAIConfig())}
    assert from_dict(plain).env == BabyAIConfig()


def _changed(*keys: str, value: Any) -> dict[str, Any]:
    """The debug preset as JSON with one value replaced."""
    plain = to_dict(presets.get("debug"))
    place = plain
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    return plain


def test_what_older_files_lack_has_its_default() -> None:
    plain = to_dict(presets.get("debug"))
    del plain["model"]["rssm"]["unimix"], plain["log_every"]
    config = presets.get("debug")
    assert from_dict(plain) == replace(config, log_every=Config(env=config.env).log_every)
    del plain["env"]
    with pytest.raises(UserError, match="the setting env is missing"):
        from_dict(plain)


@pytest.mark.parametrize(
    ("keys", "value", "sentence"),
    [
        (("model", "rssm", "detr"), 8, r"model\.rssm\.detr is not a setting\. Did you mean 'deter'\?"),
        (("model", "encoder", "prototypes"), True, r"prototypes needs patch, the side of what they name, got 0"),
        (("model", "rssm", "map", "width"), 0, r"width must be at least 1 .*, got 0"),
        (("model", "rssm", "map", "beyond"), -1, r"beyond must be at least 0 .*, got -1"),
        (("model", "rssm", "map", "around"), -1, r"around must be at least 0 and at most 4,096, got -1"),
        (("steps",), "many", r"steps is 'many'; allowed is a whole number"),
        (("steps",), True, r"steps is True; allowed is a whole number"),
        (("steps",), 1.5, r"steps is 1\.5; allowed is a whole number"),
        (("minutes",), "soon", r"minutes is 'soon'; allowed is a number or nothing"),
        (("compile",), 1, r"compile is 1; allowed is true or false"),
        (("device",), "tpu", r"device is 'tpu'; allowed is 'auto', 'cpu', 'cuda'"),
        (("run_dir",), 3, r"run_dir is 3; allowed is a path"),
        (("env", "kind"), {"a": []}, r"env\.kind is \{'a': \[\]\}; allowed are babyai, "),
        (("env", "kind"), None, r"env\.kind is None; allowed are babyai, "),
        (("model",), None, r"model is None; allowed is a group of settings"),
        (("seed",), 10**30, r"seed must be at least 0 and at most 9,007,199,254,740,992, got 10000"),
        (("steps",), 10**400, r"steps must be at least 1 and at most 1,000,000,000,000,000, got 10000"),
        (("train_ratio",), 10**400, r"train_ratio must be at least 0 and at most"),
        (("log_every",), float("nan"), r"log_every must be above 0 and at most 10,000,000, got nan"),
        (("run_dir",), "a\0b", r"the path 'a\\x00b' has a zero byte in it"),
        (("run_dir",), "a" * 5000, r"the path 'aaa.* is too long"),
        (("env", "task"), ["x" * 1000], r"env\.task is \['xxx.*\.\.\.; allowed is text"),
        (("x" * 1000,), 1, r"^x{57}\.\.\. is not a setting"),
        (("env", "kind"), "dumy", r"env\.kind is 'dumy'; allowed are .*dummy.* Did you mean 'dummy'\?"),
        (("env",), "dummy", r"env is 'dummy'; allowed is a group of settings"),
        (("env", "language"), "klingon", r"env\.language is 'klingon'"),
        (("model", "rssm", "deter"), 33, r"^model\.rssm\.deter must be divisible by blocks \(2\), got 33"),
        (("replay", "capacity"), 0, r"^replay\.capacity must be at least 1"),
        (("batch_length",), 1, r"^batch_length must be at least 2, got 1"),
        (("log_every",), 0, r"^log_every must be above 0, got 0"),
    ],
)
def test_what_does_not_fit_is_named_with_what_is_allowed(keys: tuple[str, ...], value: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        from_dict(_changed(*keys, value=value))


@dataclass(frozen=True, kw_only=True)
class Shapes:
    size: tuple[int, int] = (2, 3)
    widths: tuple[int, ...] = (4,)


def test_tuples_are_read_from_lists() -> None:
    assert from_dict(to_dict(Shapes(widths=(1, 2, 3))), Shapes) == Shapes(widths=(1, 2, 3))
    with pytest.raises(UserError, match=r"size is \[1\]; allowed is 2 values, each a whole number"):
        from_dict({"size": [1], "widths": []}, Shapes)


@pytest.mark.parametrize("content", ["", "{", "[]", "3"])
def test_a_file_without_settings_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"config\.json"):
        configs.load(path, Config)


def test_limits_may_differ_and_what_is_learned_may_not() -> None:
    config = presets.get("debug")
    assert first_difference(config, replace(config, steps=7, device="cpu", run_dir=Path("elsewhere"))) is None
    other = replace(config, model=replace(config.model, rssm=replace(config.model.rssm, deter=64)))
    assert first_difference(config, other) == "model.rssm.deter (was 32, is 64)"
    assert first_difference(config, replace(config, env=BabyAIConfig())) == "env.kind (was 'dummy', is 'babyai')"


def test_updates_per_step_are_the_ratio_over_the_batch() -> None:
    config = replace(presets.get("debug"), batch_size=16, batch_length=64, train_ratio=32)
    assert config.updates_per_step == 1 / 32


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="finds no GPU"):
        configs.resolve_device("cuda")
    assert configs.resolve_device("auto") == torch.device("cpu")


def test_precision_is_only_chosen_where_it_is_auto() -> None:
    cpu = torch.device("cpu")
    assert configs.resolve_precision("float32", cpu) == "float32"
    assert configs.resolve_precision("bfloat16", cpu) == "bfloat16"


@pytest.mark.parametrize(
    ("vendor", "flags", "precision"),
    [
        ("GenuineIntel", "avx512_bf16 amx_bf16", "bfloat16"),
        ("GenuineIntel", "avx512_bf16", "float32"),
        ("AuthenticAMD", "avx512_bf16", "bfloat16"),
        ("AuthenticAMD", "avx2", "float32"),
    ],
)
def test_bfloat16_is_chosen_where_a_cpu_multiplies_it_faster(
    vendor: str, flags: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "exists", lambda _: True)
    monkeypatch.setattr(Path, "read_text", lambda _: f"vendor_id : {vendor}\nflags : fpu {flags} sse")
    assert configs.resolve_precision("auto", torch.device("cpu")) == precision


@pytest.mark.parametrize("preset", ["vln", "dynalang-messenger-s1"])
def test_a_file_names_no_folder_to_write_to(tmp_path: Path, preset: str) -> None:
    """Whoever evaluates somebody else's run writes where they say, or into their own cache."""
    config = presets.get(preset)
    path = tmp_path / "config.json"
    configs.save(config, path)
    plain = json.loads(path.read_text())
    assert "cache" not in plain["env"]
    plain["env"]["cache"] = str(tmp_path / "elsewhere")
    path.write_text(json.dumps(plain))
    assert configs.load(path, Config).env == config.env
