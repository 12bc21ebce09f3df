"""What a preset decides, and how large the agent is that it makes."""

import json

import torch

from dynalang_py.config import Config, flatten, to_dict
from dynalang_py.contract import StepSpec
from dynalang_py.errors import UserError
from dynalang_py.run.build import build_agent
from dynalang_py.run.console import Face


def describe(name: str, config: Config, summary: str, *, as_json: bool = False) -> None:
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


def parameter_table(config: Config) -> dict[str, int]:
    """Parameters of each part and in total, counted without memory for a single weight and without the environment.

    Where no reward is predicted there is nothing to want: such presets pretrain a world model, and it alone counts.
    Raises UserError where the environment's spaces can't be known, because its extra isn't installed.
    """
    spec = StepSpec.from_spaces(*config.env.spaces())
    table = build_agent(config, spec, torch.device("meta")).parameter_table()
    if not config.model.reward_scale:
        behavior = table.pop("actor") + table.pop("critic")
        table["total"] -= behavior
    return table
