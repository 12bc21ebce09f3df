"""Which parameter of ours is which weight of the original, and how a kernel lies in memory there."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Array = np.ndarray[Any, Any]

# {i} is a number in the name, {before} the one before, {last} the decoder's last stage. The first row that fits counts;
# a layer without a norm has a bias.
TABLE = """
layer there                             kernel here                       layout there  norm here

wm/enc/cnn/s{i}res                      encoder.image.convs.{i}           conv          encoder.image.norms.{i}
wm/enc/mlp/h0                           encoder.flat.table                same          encoder.flat.norm
wm/enc/mlp/h{i}                         encoder.flat.mlp.{before}.linear  linear        encoder.flat.mlp.{before}.norm
wm/rssm/initial                         dynamics.start                    same          -
wm/rssm/img_in                          dynamics.cell.inputs.linear       linear        dynamics.cell.inputs.norm
wm/rssm/bottleneck                      dynamics.cell.bottleneck.linear   linear        dynamics.cell.bottleneck.norm
wm/rssm/gru                             dynamics.cell.gates               linear        dynamics.cell.norm
wm/rssm/img_out                         dynamics.prior_net.0.0.linear     linear        dynamics.prior_net.0.0.norm
wm/rssm/img_stats                       dynamics.prior_net.1              linear        -
wm/rssm/obs_out                         dynamics.posterior_in.linear      linear        dynamics.posterior_in.norm
wm/rssm/obs_stats                       dynamics.posterior_out            linear        -
wm/dec/cnn/in                           decoder.image.start               linear        -
wm/dec/cnn/s{last}res                   decoder.image.net.last            transposed    -
wm/dec/cnn/s{i}res                      decoder.image.net.convs.{i}       transposed    decoder.image.net.norms.{i}
wm/dec/mlp/h{i}                         decoder.flat.{i}.linear           linear        decoder.flat.{i}.norm
wm/dec/mlp/dist_token/out               decoder.outs.token                linear        -
wm/rew/h{i}                             reward.mlp.{i}.linear             linear        reward.mlp.{i}.norm
wm/rew/dist_out/out                     reward.out                        linear        -
wm/cont/h{i}                            go_on.mlp.{i}.linear              linear        go_on.mlp.{i}.norm
wm/cont/dist_out/out                    go_on.out                         linear        -
task_behavior/ac/actor/h{i}             actor.{i}.linear                  linear        actor.{i}.norm
task_behavior/ac/actor/dist_out/out     actor_out                         linear        -
task_behavior/critic/net/h{i}           critic.mlp.{i}.linear             linear        critic.mlp.{i}.norm
task_behavior/critic/net/dist_out/out   critic.out                        linear        -
task_behavior/critic/slow/h{i}          slow_critic.mlp.{i}.linear        linear        slow_critic.mlp.{i}.norm
task_behavior/critic/slow/dist_out/out  slow_critic.out                   linear        -
"""

LAYOUTS: Mapping[str, Callable[[Array], Array]] = {
    "same": lambda kernel: kernel,
    "linear": lambda kernel: kernel.T,  # (in, out)
    "conv": lambda kernel: kernel.transpose(3, 2, 0, 1),  # (height, width, in, out)
    "transposed": lambda kernel: kernel[::-1, ::-1].transpose(2, 3, 0, 1),  # (height, width, out, in), not flipped
}


def ours(name: str, stages: int) -> tuple[str, Callable[[Array], Array]]:
    """A weight's name there → its name in Agent.state_dict, and what brings its array into our layout.

    stages: how many transposed convolutions the image decoder has. Raises KeyError for a name without a row.
    """
    found = re.fullmatch(r"(.+?)(?:/(kernel|bias|norm/scale|norm/bias))?", name)
    assert found
    layer, leaf = found.groups()
    part = "world_model" if layer.startswith("wm/") else "behavior"
    for row in TABLE.strip().splitlines()[2:]:
        theirs, kernel, layout, norm = row.split()
        if fits := re.fullmatch(theirs.format(i=r"(\d+)", last=stages - 1), layer):
            i = int(fits[1]) if fits.groups() else 0
            kernel, norm = (column.format(i=i, before=i - 1) for column in (kernel, norm))
            if leaf in ("norm/scale", "norm/bias"):
                return f"{part}/{norm}.{leaf.removeprefix('norm/')}", LAYOUTS["same"]
            if leaf == "bias":
                return f"{part}/{kernel}.bias", LAYOUTS["same"]
            return f"{part}/{kernel}" + (".weight" if layout != "same" else ""), LAYOUTS[layout]
    raise KeyError(f"no row of the table fits {name!r}")


def tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.array(array, order="C"))  # negative strides too


def translate(weights: Mapping[str, Array]) -> dict[str, Tensor]:
    """Arrays by their names there → tensors by ours, in our layout."""
    stages = len({name for name in weights if re.fullmatch(r"wm/dec/cnn/s\d+res/kernel", name)})
    translated = {}
    for name, array in weights.items():
        here, layout = ours(name, stages)
        translated[here] = tensor(layout(array))
    return translated


def fill(module: nn.Module, prefix: str, weights: Mapping[str, Array]) -> None:
    """Put every weight of a module from the arrays; names that do not start with the prefix here are left out."""
    state = {name.removeprefix(prefix): value for name, value in translate(weights).items() if name.startswith(prefix)}
    missing, unknown = module.load_state_dict(state, strict=False)
    assert not unknown
    assert set(missing) <= {name for name, _ in module.named_buffers()}, f"no weights for {missing}"
