"""Every array of the golden folder against what we compute. GOLDEN_DIR chooses another folder of the same form."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cache

import pytest
import torch

from dynalang_py.nn.functional import sample_onehot

from . import actor_critic, dynamics, functions, world_model
from .fixtures import FOLDER, Check, Golden, draw

pytestmark = pytest.mark.skipif(
    not (FOLDER / "golden.json").is_file(), reason=f"no golden numbers in {FOLDER}; set GOLDEN_DIR to their folder"
)
CHECKS = [check for module in (functions, dynamics, world_model, actor_critic) for check in module.CHECKS]


# What is not compared by itself: a pattern of names → why.
NOT_COMPARED = {
    "a_dists/*_in": "given to our functions",
    "a_dists/*_logits": "given to our functions",
    "a_dists/*_target*": "given to our functions",
    "a_dists/onehot_action": "given to our functions",
    "a_dists/cont_logit": "given to our functions",
    "a_dists/image_mean": "given to our functions",
    "a_dists/symlogmse_pred": "given to our functions",
    "a_dists/*_w/*": "weights, put into our layers",
    "a_dists/onehot_mode": "we sample always, in evaluation too, as the paper's agents do: nothing takes the mode",
    "a_dists/cont_mode": "the probability is used, never its mode",
    "a_dists/cont_mean": "torch's sigmoid; what the model makes of it is compared: cont_prob, imag_cont",
    "a_dists/init_uniform_conv_std_max": "neither family of ours starts from uniform weights",
    "b_returns/cont": "given to our functions",
    "b_returns/value": "given to our functions",
    "b_returns/lam": "given to our functions",
    "b_returns/base": "the recorded value but its last step; what we subtract is compared in e_actor_critic/base",
    "b_returns/moments_x": "given to our functions",
    "c*_rssm_*/prev_*": "the belief before the step",
    "c_rssm_step/embed": "given to our functions",
    "c_rssm_step/is_first": "given to our functions",
    "*/w/*": "weights, put into our modules by the table in names.py",
    "d_world_model/carry_*": "the belief before the window",
    "d_world_model/is_*": "the batch",
    "d_world_model/image": "the batch",
    "d_world_model/token": "the batch",
    "d_world_model/reward": "the batch",
    "d_world_model/action": "the batch",
    "d_world_model/cont_target": "the loss makes it of is_terminal; loss_cont is compared",
    "e_actor_critic/start_is_terminal": "given to our functions",
    "e_actor_critic/retnorm_*_before": "where our running percentiles start",
}


@cache
def golden() -> Golden:
    return Golden()


@cache
def compare(check: Callable[[Golden], Iterator[Check]]) -> list[Check]:
    """What a check computes; the graphs behind it are let go."""
    return [replace(item, ours=item.ours.detach()) for item in check(golden())]


def name(check: Callable[[Golden], Iterator[Check]]) -> str:
    return f"{check.__module__.rpartition('.')[2]}-{check.__name__}"


@pytest.mark.parametrize("check", CHECKS, ids=name)
def test_we_compute_what_they_compute(check: Callable[[Golden], Iterator[Check]]) -> None:
    for item in compare(check):
        theirs = golden()[item.name] if item.theirs is None else item.theirs
        atol = item.atol + (item.rtol * float(theirs.abs().max()) if item.summed else 0.0)
        torch.testing.assert_close(
            item.ours.to(theirs.dtype), theirs, rtol=item.rtol, atol=atol, msg=f"{item.name}: {{}}".format
        )


def test_every_array_is_compared_or_listed() -> None:
    compared = {item.name for check in CHECKS for item in compare(check)}
    listed = {name for name in golden().names() if any(fnmatchcase(name, pattern) for pattern in NOT_COMPARED)}
    assert set(golden().names()) - compared - listed == set()


def test_a_class_is_drawn_by_the_middle_of_its_share() -> None:
    log_prob = torch.tensor([0.2, 0.5, 0.3]).log().expand(3, 3)
    numbers = draw(log_prob, torch.eye(3))
    torch.testing.assert_close(numbers[:, 0], torch.tensor([0.1, 0.45, 0.85]))
    assert sample_onehot(log_prob, numbers).equal(torch.eye(3))
