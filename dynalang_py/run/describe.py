"""What a preset decides, and how large the agent is that it makes."""

import json

import torch

from dynalang_py.config import Config, flatten, to_dict
from dynalang_py.contract import StepSpec
from dynalang_py.errors import UserError
from dynalang_py.run.build import build_agent
from dynalang_py.run.console import Face
from dynalang_py.run.pretrain import build_reader, vocabulary_size
from dynalang_py.text.config import PretrainConfig


def describe(name: str, config: Config | PretrainConfig, summary: str, *, as_json: bool = False) -> None:
    """Print all settings and the parameters of each part; as JSON, {"settings": ..., "parameters": ...}."""
    settings = to_dict(config)
    try:
        parameters, missing = parameter_table(config), ""
    except UserError as error:  # an extra that isn't installed hides the sizes, not the settings
        parameters, missing = {}, str(error)
    if as_json:
        print(json.dumps({"settings": settings, "parameters": parameters}, indent=2))
        return
    face = Face()
    face.say(f"{name}: {summary}")
    face.table("Settings", [(key, str(value)) for key, value in flatten(settings)])
    if parameters:
        face.table("Parameters", [(part, f"{count:,}") for part, count in parameters.items()])
    else:
        face.say(missing)


def parameter_table(config: Config | PretrainConfig) -> dict[str, int]:
    """Parameters of each part and in total, counted without memory for a single weight and without the environment.

    Raises UserError where the environment's spaces can't be known, because its extra isn't installed, or where there is
    no such tokenizer.
    """
    if isinstance(config, PretrainConfig):
        return build_reader(config, vocabulary_size(config), torch.device("meta")).parameter_table()
    spec = StepSpec.from_spaces(*config.env.spaces())
    return build_agent(config, spec, torch.device("meta")).parameter_table()
