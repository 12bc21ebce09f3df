"""Single steps of the dynamics: c_rssm_step and c2_rssm_bottleneck."""

from collections.abc import Iterator

import torch

from dynalang_py.nn.functional import categorical_kl, entropy
from dynalang_py.world_model.objective import KLBalance, KLConfig
from dynalang_py.world_model.rssm import RSSM

from .fixtures import Check, File, Golden, Recorded, draw
from .names import fill


def observe_step(golden: Golden) -> Iterator[Check]:
    c = golden.files["c_rssm_step"]
    rssm = _rssm(golden, c)
    before = {"deter": c["prev_deter"], "stoch": c["prev_stoch"], "action": c["prev_action"]}
    sampled, reset = c["obs_post_stoch_sample"], c["reset_stoch_sample"]
    draws = [draw(c["obs_post_logit"], sampled)[:, None], draw(c["reset_prior_logit"], reset)[:, None]]
    action = torch.zeros_like(before["action"])
    posterior, prior = rssm.observe(
        c["embed"][:, None], action[:, None], c["is_first"][:, None], before, Recorded(draws)
    )
    yield c.check("obs_deter", posterior["deter"][:, 0])
    yield c.check("obs_post_logit", posterior["logit"][:, 0])
    yield c.check("obs_post_stoch_sample", posterior["stoch"][:, 0])
    yield c.check("obs_prior_logit", prior["logit"][:, 0])
    balance, kl = KLBalance(KLConfig(free_nats=golden.config["free"]))(posterior, prior)
    yield c.check("kl_unclipped", kl[:, 0], summed=True)
    yield c.check("dyn_loss", balance["dyn"][:, 0])
    yield c.check("rep_loss", balance["rep"][:, 0])
    yield Check("c_rssm_step/kl_unclipped", categorical_kl(posterior["logit"], prior["logit"])[:, 0], summed=True)
    yield c.check("post_entropy", entropy(posterior["logit"]).sum(-1)[:, 0])
    yield c.check("prior_entropy", entropy(prior["logit"]).sum(-1)[:, 0])

    deter, stoch = rssm._start(len(sampled), 1, Recorded([draws[1]]))
    yield c.check("reset_deter", deter.expand(len(sampled), -1))
    yield c.check("reset_prior_logit", rssm.prior(deter).expand_as(sampled))
    yield c.check("reset_stoch_sample", stoch.view_as(reset))


def imagine_step(golden: Golden) -> Iterator[Check]:
    c = golden.files["c_rssm_step"]
    rssm = _rssm(golden, c)
    noise = Recorded([draw(c["img_prior_logit"], c["img_stoch_sample"])[None]])
    states, _ = rssm.imagine({"deter": c["prev_deter"], "stoch": c["prev_stoch"]}, c["prev_action"][:, None], 1, noise)
    yield c.check("img_deter", states[1]["deter"])
    yield c.check("img_stoch_sample", states[1]["stoch"])
    yield c.check("img_prior_logit", rssm.prior(states[1]["deter"]))


def bottleneck_step(golden: Golden) -> Iterator[Check]:
    c2 = golden.files["c2_rssm_bottleneck"]
    rssm = _rssm(golden, c2, bottleneck=c2.arrays["w/brssm/bottleneck/kernel"].shape[1], root="brssm")
    noise = Recorded([torch.full((1, *c2["prev_stoch"].shape[:2], 1), 0.5)])  # which sample follows was not recorded
    before = {"deter": c2["prev_deter"], "stoch": c2["prev_stoch"]}
    states, _ = rssm.imagine(before, c2["prev_action"][:, None], 1, noise)
    yield c2.check("img_deter", states[1]["deter"])
    yield c2.check("img_prior_logit", rssm.prior(states[1]["deter"]))


def _rssm(golden: Golden, file: File, *, bottleneck: int = 0, root: str = "wm/rssm") -> RSSM:
    weights = {f"wm/rssm/{name}": value for name, value in file.under(f"w/{root}/").items()}
    deter = golden.config["deter"]
    embed = weights["wm/rssm/obs_out/kernel"].shape[0] - deter
    rssm = RSSM(embed, golden.config["actions"], golden.rssm(bottleneck), "dreamer2023")
    fill(rssm, "world_model/dynamics.", weights)
    return rssm


CHECKS = [observe_step, imagine_step, bottleneck_step]
