"""Element-wise functions, distributions, single layers, returns: a_dists and b_returns."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dynalang_py.behavior import ActorCritic
from dynalang_py.behavior.actions import Categoricals
from dynalang_py.behavior.returns import ReturnScale, lambda_returns
from dynalang_py.contract import StepSpec
from dynalang_py.nn.conv import ConvEncoder, Doubling, Pyramid, Transposed, interleave
from dynalang_py.nn.functional import binary_nll, categorical_kl, entropy, symexp, symlog, token_nll, unimix
from dynalang_py.nn.layers import Dense, initialise
from dynalang_py.nn.random import Noise
from dynalang_py.nn.two_hot import TwoHot, TwoHotHead
from dynalang_py.world_model import RSSMConfig, WorldModel
from dynalang_py.world_model.decoder import Decoded, Decoder, DecoderConfig
from dynalang_py.world_model.encoder import EncoderConfig
from dynalang_py.world_model.objective import KLBalance, KLConfig
from dynalang_py.world_model.rssm import Policy, State

from .fixtures import Check, Golden, Recorded
from .names import LAYOUTS, tensor


def elementwise(golden: Golden) -> Iterator[Check]:
    a = golden.files["a_dists"]
    yield a.check("symlog_out", symlog(a["symlog_in"]))
    yield a.check("symexp_out", symexp(a["symexp_in"]))
    yield a.check("symlogmse_mode", symexp(a["symlogmse_pred"]))


def two_hot(golden: Golden) -> Iterator[Check]:
    a = golden.files["a_dists"]
    centres = cast(Tensor, TwoHotHead(1, 1, 1, "dreamer2023", bins=golden.config["bins"]).centres)
    # They exponentiate in float32: an ulp of 20 becomes 2e-6 of its exponential.
    yield a.check("twohot_bins", centres, rtol=5e-6)
    logits = a["twohot_logits"].requires_grad_()
    values = TwoHot(logits, a["twohot_bins"])
    # Rounding goes with the bins' own size, and bins of both signs cancel.
    size = (values.log_prob.exp() * a["twohot_bins"].abs()).sum(-1)
    yield a.check("twohot_mean", values.mean / size, theirs=a["twohot_mean"] / size.detach())
    # Theirs is the rounding error of a plain sum; an exact one gives nothing.
    zero = TwoHot(torch.zeros_like(logits[:1]), centres).mean
    yield a.check("twohot_mean_of_zero_logits", zero, theirs=torch.zeros(1), rtol=0, atol=0)
    nll = values.loss(a["twohot_targets"])
    yield a.check("twohot_log_prob", -nll)
    (grad,) = torch.autograd.grad(nll.sum(), logits)
    yield a.check("twohot_log_prob_grad_logits", -grad)
    # The encoding stands nowhere by itself: it is the slope of the cross-entropy.
    values.log_prob = values.log_prob.detach().requires_grad_()
    (encoded,) = torch.autograd.grad(values.loss(a["twohot_targets"]).sum(), values.log_prob)
    yield a.check("twohot_encoded", -encoded)


def categoricals(golden: Golden) -> Iterator[Check]:
    a, share = golden.files["a_dists"], golden.config["unimix"]
    raw = a["onehot_raw_logits"]
    yield a.check("onehot_unimix_logits", unimix(raw, share))
    policy = Categoricals(raw, (raw.shape[-1],), share)
    yield a.check("onehot_log_prob", policy.log_prob(a["onehot_action"]))
    yield a.check("onehot_entropy", policy.entropy())
    yield a.check("onehot_maxent", entropy(unimix(torch.zeros_like(raw[0]), share)))
    yield a.check("token_log_prob", -token_nll(a["token_logits"], a["token_target"]))
    target = a["cont_target"]
    yield a.check("cont_log_prob", -binary_nll(a["cont_logit"], target))


def kl(golden: Golden) -> Iterator[Check]:
    a, share = golden.files["a_dists"], golden.config["unimix"]
    post, prior = a["kl_post_raw_logits"].requires_grad_(), a["kl_prior_raw_logits"].requires_grad_()
    p, q = unimix(post, share), unimix(prior, share)
    balance, raw = KLBalance(KLConfig(free_nats=golden.config["free"]))({"logit": p}, {"logit": q})
    yield a.check("kl_raw", raw, summed=True)
    yield Check("a_dists/kl_raw", categorical_kl(p, q), summed=True)
    yield a.check("kl_clipped_free1", balance["dyn"])
    yield Check("a_dists/kl_clipped_free1", balance["rep"])
    (dyn,) = torch.autograd.grad(balance["dyn"].sum(), prior, retain_graph=True)
    (rep,) = torch.autograd.grad(balance["rep"].sum(), post, retain_graph=True)
    yield a.check("kl_dyn_grad_prior_raw", dyn, summed=True)
    yield a.check("kl_rep_grad_post_raw", rep, summed=True)
    for loss, other in (("dyn", post), ("rep", prior)):
        (none,) = torch.autograd.grad(balance[loss].sum(), other, retain_graph=True, allow_unused=True)
        assert none is None
    yield a.check("kl_post_entropy", entropy(p).sum(-1))


def decoded(golden: Golden) -> Iterator[Check]:
    a = golden.files["a_dists"]
    height, width, channels = a["image_mean"].shape[1:]
    embed = a["symlogmse_pred"].shape[-1]
    spec = StepSpec(images={"image": (height, width, channels)}, token_embed=embed, actions=(2,))
    rssm = RSSMConfig(deter=4, stoch=1, classes=2, blocks=1)
    decoder = Decoder(spec, EncoderConfig(cnn_depth=1, units=4), rssm, DecoderConfig(units=4), "dreamer2023")
    image = decoder.losses(Decoded(image=a["image_mean"]), {"image": a["image_target"] * 255})
    yield a.check("image_log_prob", -image["image"])
    token = decoder.losses(Decoded(token=a["symlogmse_pred"]), {"token_embed": a["symlogmse_target"]})
    yield a.check("symlogmse_log_prob", -token["token"])


def layers(golden: Golden) -> Iterator[Check]:
    a = golden.files["a_dists"]
    dense = Dense(a["linear_in"].shape[-1], a["linear_out"].shape[-1], "dreamer2023")
    _set(dense.linear, weight=LAYOUTS["linear"](a.arrays["linear_w/lin/kernel"]))
    _set(dense.norm, scale=a.arrays["linear_w/lin/norm/scale"], bias=a.arrays["linear_w/lin/norm/bias"])
    yield a.check("linear_out", dense(a["linear_in"]), summed=True)

    class OneStage(Pyramid):
        stages = 1

    _, height, width, channels = a["conv_in"].shape
    conv = ConvEncoder(OneStage(height, width), channels, a["conv_out"].shape[-1], "dreamer2023", pool=False)
    _set(conv.convs[0], weight=LAYOUTS["conv"](a.arrays["conv_w/conv/kernel"]))
    _set(conv.norms[0], scale=a.arrays["conv_w/conv/norm/scale"], bias=a.arrays["conv_w/conv/norm/bias"])
    yield a.check("conv_out", conv(a["conv_in"]).view_as(a["conv_out"]), summed=True)

    sizes = a["tconv_in"].shape[-1], a["tconv_out"].shape[-1]
    last, hidden = Doubling(*sizes, "dreamer2023"), Transposed(*sizes)
    kernel, bias = LAYOUTS["transposed"](a.arrays["tconv_w/tconv/kernel"]), a.arrays["tconv_w/tconv/bias"]
    _set(last, weight=kernel, bias=bias)
    _set(hidden, weight=kernel)
    yield a.check("tconv_out", interleave(last(a["tconv_in"])), summed=True)
    yield a.check("tconv_out", hidden(a["tconv_in"]) + torch.from_numpy(bias), summed=True)


def initial_weights(golden: Golden) -> Iterator[Check]:
    """Standard deviation and largest magnitude of fresh weights: a few percent apart, being drawn."""
    a = golden.files["a_dists"]
    fan_in, fan_out = (int(n) for n in golden.said("a_dists", "init_normal_linear_std_max", r"\((\d+) in, (\d+) out\)"))
    high, wide, inputs, outputs = (
        int(n) for n in golden.said("a_dists", "init_normal_conv_std_max", r"\((\d+),(\d+),(\d+),(\d+)\)")
    )
    for name, shape, fans, scale in (
        ("init_normal_linear_std_max", (fan_out, fan_in), (fan_in, fan_out), 1.0),
        ("init_normal_conv_std_max", (outputs, inputs, high, wide), (high * wide * inputs, high * wide * outputs), 1.0),
        ("init_outscale_zero_std_max", (fan_out, fan_in), (fan_in, fan_out), 0.0),
    ):
        weight = torch.empty(shape)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            initialise(weight, *fans, "dreamer2023", scale)
        yield a.check(name, torch.stack([weight.std(correction=0), weight.abs().max()]), rtol=0.02)


def returns(golden: Golden) -> Iterator[Check]:
    b = golden.files["b_returns"]
    reward, cont, value = (b[name].T for name in ("reward", "cont", "value"))
    result = lambda_returns(
        reward, cont[:, 1:] * float(b["discount"]), value[:, 1:], float(b["lam"]), last=value[:, -1]
    )
    yield b.check("ret", result.T, summed=True)
    yield b.check("discount", torch.tensor(golden.behavior.discount, dtype=torch.float64))
    # The critic's opinion that an advantage is measured from, and the weights, come from dreams alone: a model that
    # foresees what was recorded stands in.
    assert set(cont[:, 0].tolist()) <= {0.0, 1.0}, "the first flag is the truth"
    width = cont.shape[1]
    behavior = ActorCritic(StepSpec(actions=(2,)), 1, golden.behavior, "dreamer2023")
    noise = Noise(torch.device("cpu"), 0)

    def imagine(_: State, policy: Policy, *__: object) -> tuple[None, Tensor]:
        return None, torch.stack([policy(torch.zeros(len(cont), 1), noise) for _ in range(width)], 1)

    model = SimpleNamespace(
        dynamics=SimpleNamespace(imagine=imagine),
        foresee=lambda _: (F.pad(reward, (1, 0)), cont),
    )
    dream = behavior.dream(cast(WorldModel, model), {}, cont[:, 0] == 0, Recorded([]))
    yield b.check("weight", dream.weight.T)
    yield b.check("reward", dream.reward.T)


def return_scale(golden: Golden) -> Iterator[Check]:
    b = golden.files["b_returns"]
    scale = ReturnScale()
    rows = []
    for batch in b["moments_x"]:
        now = ReturnScale(rate=1.0)  # keeps nothing of what was before
        now.update(batch)
        size = scale.update(batch)
        rows.append(torch.stack([now.low, now.high, scale.low, scale.high, scale.low, size]))
    yield b.check("moments_rows", torch.stack(rows))


def _set(module: nn.Module, **arrays: Any) -> None:
    with torch.no_grad():
        for name, array in arrays.items():
            module.get_parameter(name).copy_(tensor(array))


CHECKS = [elementwise, two_hot, categoricals, kl, decoded, layers, initial_weights, returns, return_scale]
