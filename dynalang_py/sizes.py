"""Model sizes by name: the published ones of both families, and small ones for a laptop."""

from dataclasses import dataclass, replace
from typing import Any, TypeVar

from dynalang_py.behavior import ActorCriticConfig
from dynalang_py.errors import UserError, nearest
from dynalang_py.nn.layers import Family
from dynalang_py.nn.optim import OptimizerConfig
from dynalang_py.world_model import RSSMConfig, WorldModelConfig
from dynalang_py.world_model.decoder import DecoderConfig
from dynalang_py.world_model.encoder import EncoderConfig
from dynalang_py.world_model.model import HeadConfig
from dynalang_py.world_model.objective import KLConfig

HasParts = TypeVar("HasParts")


@dataclass(frozen=True, kw_only=True)
class Size:
    family: Family
    deter: int
    """D, of the recurrent state."""
    units: int
    """Width of every other layer."""
    classes: int
    """K of each of the 32 latents."""
    cnn_depth: int
    layers: int | None = None
    """Depth of every MLP (2023); the 2025 family has its own depth for each part."""
    stoch: int = 32


SIZES = {
    # Dynalang and DreamerV3 of 2023 (arXiv 2308.01399, 2301.04104v1).
    "small": Size(family="dreamer2023", deter=512, units=512, classes=32, cnn_depth=32, layers=2),
    "medium": Size(family="dreamer2023", deter=1024, units=640, classes=32, cnn_depth=48, layers=3),
    "large": Size(family="dreamer2023", deter=2048, units=768, classes=32, cnn_depth=64, layers=4),
    "xlarge": Size(family="dreamer2023", deter=4096, units=1024, classes=32, cnn_depth=96, layers=5),
    # DreamerV3 of 2025, named by their parameters, roughly.
    "size1m": Size(family="dreamer2025", deter=512, units=64, classes=4, cnn_depth=4),
    "size12m": Size(family="dreamer2025", deter=2048, units=256, classes=16, cnn_depth=16),
    "size25m": Size(family="dreamer2025", deter=3072, units=384, classes=24, cnn_depth=24),
    "size50m": Size(family="dreamer2025", deter=4096, units=512, classes=32, cnn_depth=32),
    "size100m": Size(family="dreamer2025", deter=6144, units=768, classes=48, cnn_depth=48),
    "size200m": Size(family="dreamer2025", deter=8192, units=1024, classes=64, cnn_depth=64),
    "size400m": Size(family="dreamer2025", deter=12288, units=1536, classes=96, cnn_depth=96),
    # For two CPU cores. Widths are multiples of 16, as the matrix units of CPUs like them.
    "cpu-small": Size(family="dreamer2025", deter=256, units=128, classes=8, cnn_depth=8, layers=1, stoch=16),
    "cpu": Size(family="dreamer2025", deter=256, units=256, classes=16, cnn_depth=16, layers=1, stoch=16),
    "cpu-large": Size(family="dreamer2025", deter=512, units=256, classes=16, cnn_depth=16, layers=2),
}


def parts(name: str) -> dict[str, Any]:
    """The model, behavior and optimizer settings of a size, with its family's published constants.

    Raises UserError for a name that there isn't.
    """
    if name not in SIZES:
        raise UserError(f"there is no size {name!r}; there are {', '.join(SIZES)}.{nearest(name, SIZES)}")
    size = SIZES[name]
    old = size.family == "dreamer2023"
    inner = size.layers or 3
    outer = size.layers or 1
    model = WorldModelConfig(
        family=size.family,
        encoder=EncoderConfig(
            cnn_depth=size.cnn_depth,
            units=size.units,
            layers=inner,
            downsample="pool" if name.startswith("size") else "stride",
        ),
        rssm=RSSMConfig(
            deter=size.deter,
            hidden=size.units,
            stoch=size.stoch,
            classes=size.classes,
            prior_layers=1 if size.layers else 2,
        ),
        decoder=DecoderConfig(units=size.units, layers=inner),
        heads=HeadConfig(units=size.units, layers=outer),
        kl=KLConfig(dyn=0.5 if old else 1.0),
        stored_latents=not old,
    )
    if old:
        behavior = ActorCriticConfig(
            units=size.units,
            layers=inner,
            unimix=0.01,
            actor_scale=1.0,
            discounted_continue=False,
            replay_value=0.0,
            continuous_gradient="dynamics",
        )
        return {"model": model, "behavior": behavior, "optimizer": OptimizerConfig(joint=False, lr=1e-4)}
    behavior = ActorCriticConfig(units=size.units, layers=max(2, inner) if size.layers else 3)
    return {"model": model, "behavior": behavior, "optimizer": OptimizerConfig()}


def resized(config: HasParts, name: str) -> HasParts:
    """A run's settings with the model and behavior of another size; what belongs to the task stays as it was.

    That is horizon, discount and entropy, an expert to imitate, the weights of the losses, and how images and absence
    are treated: tiles, the number of their kinds and the map of them, and the echo of words.
    """
    new = parts(name)
    old: WorldModelConfig = config.model  # type: ignore[attr-defined]
    model: WorldModelConfig = new["model"]
    model = replace(
        model,
        encoder=replace(
            model.encoder,
            patch=old.encoder.patch,
            prototypes=old.encoder.prototypes,
            learned_absence=old.encoder.learned_absence,
        ),
        rssm=replace(
            model.rssm,
            classes=old.rssm.classes if old.encoder.prototypes else model.rssm.classes,
            patch_stoch=old.rssm.patch_stoch,
            unimix=old.rssm.unimix,
            echo=old.rssm.echo,
            mapped=old.rssm.mapped,
            map=old.rssm.map,
        ),
        decoder=replace(model.decoder, image_loss=old.decoder.image_loss),
        image_scale=old.image_scale,
        token_scale=old.token_scale,
        foretell_scale=old.foretell_scale,
        foresee_scale=old.foresee_scale,
        reward_scale=old.reward_scale,
        continue_scale=old.continue_scale,
    )
    changed: dict[str, Any] = {"model": model, "optimizer": new["optimizer"]}
    kept: ActorCriticConfig | None = getattr(config, "behavior", None)  # what only reads has none
    if kept:
        changed["behavior"] = replace(
            new["behavior"],
            horizon=kept.horizon,
            starts=kept.starts,
            discount_horizon=kept.discount_horizon,
            return_lambda=kept.return_lambda,
            entropy=kept.entropy,
            imitation=kept.imitation,
            inflection=kept.inflection,
        )
    return replace(config, **changed)  # type: ignore[type-var]
