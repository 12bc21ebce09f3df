"""Every setting of a run in one tree of frozen dataclasses: composed here, documented where the parts are.

A Config reads from and writes to plain JSON. Names are dotted paths (`env.task`), the same on the command line.
"""

import json
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import torch

from dynalang_py import files, reading
from dynalang_py.behavior import ActorCriticConfig
from dynalang_py.bounds import Batch, Duration, Episodes, Seed, Share, Steps, Within, check
from dynalang_py.envs import EnvConfig
from dynalang_py.errors import UserError, cut, nearest, shown
from dynalang_py.nn.optim import OptimizerConfig
from dynalang_py.reading import user_path
from dynalang_py.replay import ReplayConfig
from dynalang_py.text.tokens import TextConfig
from dynalang_py.tokenizers.coverage import MOST_UNKNOWN
from dynalang_py.world_model import WorldModelConfig

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "bfloat16"]
Kind = TypeVar("Kind")


@dataclass(frozen=True, kw_only=True)
class Config:
    env: EnvConfig
    """The world and its instructions."""
    model: WorldModelConfig = field(default_factory=WorldModelConfig)
    """What the agent believes."""
    behavior: ActorCriticConfig = field(default_factory=ActorCriticConfig)
    """What the agent wants."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """How the weights move."""
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    """What the agent remembers of its life."""
    text: TextConfig = field(default_factory=TextConfig)
    """What the agent reads beside its life, where text_ratio is above 0, in the tokens of its world."""
    text_ratio: Annotated[float, Within(0, 1000)] = 0.0
    """Windows of text per window of experience in each update; both weigh the same. 0 reads nothing."""

    most_unknown: Share = MOST_UNKNOWN
    """Share of unknown words up to which the agent is told a world's sentences, and reads text."""

    pretrained: Path | None = None
    """Run of `dynalang pretrain` whose world model this run begins with; a run that is resumed never loads it again."""
    remap_vocabulary: bool = False
    """Where the world's tokenizer differs from that of the pretrained run, keep what was learned of equal pieces."""

    run_dir: Path = Path("runs/run")
    """Folder that this run makes and keeps everything in."""
    steps: Steps = 1_000_000
    """Stop after this many environment steps, over all environments together; each first observation counts as one."""
    minutes: Duration | None = None
    """Stop after this many minutes of training, if that comes first; evaluations do not count."""
    seed: Seed = 0
    """Decides weights, worlds and every random choice. Two runs with one seed on one machine are alike."""

    envs: Annotated[int, Within(1, 4096)] = 8
    """Environments that run side by side."""
    processes: bool = False
    """Give each environment a process of its own; pays where a step takes longer than about a millisecond."""
    timeout_is_terminal: bool = False
    """Whether running out of time ends the world (as in the Dynalang paper) or merely interrupts it."""

    batch_size: Batch = 16
    """Windows in a batch (B)."""
    batch_length: Annotated[int, Within(2, 2**20)] = 64
    """Steps in a window (T)."""
    train_ratio: Annotated[float, Within(0, 1e6)] = 32.0
    """How often each environment step is replayed; updates per environment step are this / (batch size · length)."""
    prefill: Annotated[int, Within(0, 10**15)] = 1024
    """Random steps before the first update."""
    expert_prefill: Share = 0.0
    """Share of the episodes before the first update that the world's expert walks, where the world has one (vln)."""
    expert_share: Share = 0.0
    """Share of the later episodes that the expert walks while the agent looks on."""

    eval_every: Annotated[int, Within(0, 10**15)] = 20_000
    """Environment steps between evaluations; 0 evaluates at the end alone."""
    eval_episodes: Episodes = 100
    """Episodes of each evaluation; the same ones every time."""
    greedy_eval: bool = False
    """In evaluations the agent takes the likeliest action instead of drawing one."""
    baseline_episodes: Annotated[int, Within(0, 1_000_000)] = 100
    """Episodes by which the random policy is measured at the start; 0 leaves the baseline out."""
    curve: Literal["success", "return"] = "success"
    """What the learning curve shows; where the world reports no success it is the return."""
    checkpoint_minutes: Duration = 10.0
    """Minutes between checkpoints; one is also written at the end and when the run is interrupted."""
    log_every: Duration = 5.0
    """Seconds between two rows of metrics."""

    device: Device = "auto"
    """Where the agent computes; auto takes the GPU if there is one."""
    precision: Precision = "auto"
    """Type of the matrix products; auto takes bfloat16 where it is the faster one: on GPUs that multiply it, on CPUs
    with matrix units for it (AMX), and on AMD's with vector instructions for it."""
    compile: bool = False
    """Compile the update with torch.compile: a slow start, faster afterwards."""

    def __post_init__(self) -> None:
        check(self)
        if self.text_ratio and not self.text.corpus:
            raise ValueError(f"text_ratio is {self.text_ratio}, but text.corpus names no text")
        if self.behavior.imitation and not max(self.expert_prefill, self.expert_share):
            raise ValueError(
                f"behavior.imitation is {self.behavior.imitation}, but the expert walks no episode; let it by"
                " expert_prefill or expert_share"
            )

    @property
    def updates_per_step(self) -> float:
        """Updates of the agent per environment step."""
        return self.train_ratio / (self.batch_size * self.batch_length)


FREE = (
    *("run_dir", "steps", "minutes", "eval_every", "eval_episodes", "greedy_eval", "baseline_episodes"),
    *("most_unknown", "checkpoint_minutes", "curve", "log_every", "processes", "device", "precision", "compile"),
    *("pretrained", "env.data", "env.scenes", "env.cache", "env.habitat_python", "env.habitat_gpu"),
    *("env.tokenizer", "env.sentencepiece", "env.encoder", "text.corpus", "text.cache", "text.workers"),
)
"""Settings that may change when a run is resumed: limits, machinery and places, nothing that decides what is learned.
Files may have moved; that they hold the same is checked by hashes."""


TYPED = ("habitat_python", "cache")
"""Settings of worlds that name a program to start, or a folder to write to. Who types may do so, a file may not, since
it may be a stranger's; so they are neither saved nor loaded."""


def to_dict(config: Any) -> dict[str, Any]:
    """A dataclass as plain JSON values. A member of a union of dataclasses carries its `kind`."""
    hints = typing.get_type_hints(type(config))
    plain = {}
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            kind = {"kind": _kind(type(value))} if len(_members(hints[item.name])) > 1 else {}
            plain[item.name] = kind | to_dict(value)
        else:
            plain[item.name] = _plain(value)
    return plain


def from_dict(plain: Mapping[str, Any], kind: Any = Config, name: str = "") -> Any:
    """The dataclass `kind` from what `to_dict` gave, now or before some settings existed: those have their defaults.

    Raises UserError with the dotted name of the first field that is unknown or wrong, and what is allowed, or that is
    missing and has no default.
    """
    at = f"{name}." if name else ""
    hints = typing.get_type_hints(kind)
    names = [item.name for item in fields(kind)]
    for key in plain:
        if key not in names:
            raise UserError(f"{at}{cut(key)} is not a setting.{nearest(key, names)}")
    for item in fields(kind):
        if item.name not in plain and item.default is MISSING and item.default_factory is MISSING:
            raise UserError(f"the setting {at}{item.name} is missing")
    values = {key: _read(hints[key], value, at + key) for key, value in plain.items()}
    try:
        return kind(**values)
    except ValueError as error:
        raise UserError(str(error) if str(error).startswith(at) else f"{at}{error}") from error


def save(config: Any, path: Path) -> None:
    """Write the config as JSON, in one step, without the programs that it names."""
    files.write(path, json.dumps(_without_typed(to_dict(config)), indent=2) + "\n")


def load(path: Path, kind: type[Kind]) -> Kind:
    """Read a config of this kind that `save` wrote; what only who types may name in it is passed over.

    Raises UserError where it can't be read.
    """
    return parse(read(path), kind, path)


def read(path: Path) -> dict[str, Any]:
    """The plain values in a file that `save` wrote. Raises UserError where it can't be read."""
    plain = reading.read_json(path, "the settings in")
    if not isinstance(plain, dict):
        raise UserError(f"{path} holds no settings but {shown(plain)}")
    return plain


def parse(plain: Mapping[str, Any], kind: type[Kind], path: Path) -> Kind:
    """The config of this kind in what `read` found in a file; what only who types may name in it is passed over."""
    try:
        config: Kind = from_dict(_without_typed(plain), kind)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return config


def flatten(plain: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and value of every setting of a nested dictionary."""
    for key, value in plain.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def first_difference(old: Any, new: Any, free: Collection[str] = FREE) -> str | None:
    """Name the first setting that decides what is learned and differs: "model.units (was 512, is 256)".

    free: the settings that may differ.
    """
    before, after = dict(flatten(to_dict(old))), dict(flatten(to_dict(new)))
    for name in [*before, *after]:
        if name not in free and name.split(".")[0] not in free and before.get(name) != after.get(name):
            return f"{name} (was {shown(before.get(name))}, is {shown(after.get(name))})"
    return None


def allowed(config: Any, name: str) -> str:
    """What may stand in the field with this dotted name, in words."""
    *path, last = name.split(".")
    for part in path:
        config = getattr(config, part)
    return _choices(typing.get_type_hints(type(config))[last])


def resolve_device(name: Device) -> torch.device:
    """The device behind a name. Raises UserError if it isn't there."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device is 'cuda', but PyTorch finds no GPU here; allowed are 'cpu' and 'auto'")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def resolve_precision(name: Precision, device: torch.device) -> Literal["float32", "bfloat16"]:
    """bfloat16 only where it is faster than float32.

    Vector instructions for it (avx512_bf16) are enough on an EPYC, where updates of the preset vln took 0.55 times as
    long in bfloat16 as in float32. On a Xeon that has these and no AMX, those of gotodoor took 1.45 times as long.
    """
    if name != "auto":
        return name
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        cpuinfo = Path("/proc/cpuinfo")
        cpu = cpuinfo.read_text() if cpuinfo.exists() else ""
        native = "amx_bf16" in cpu or ("AuthenticAMD" in cpu and "avx512_bf16" in cpu)
    return "bfloat16" if native else "float32"


def _without_typed(plain: Mapping[str, Any]) -> dict[str, Any]:
    env = plain.get("env")
    kept = {key: value for key, value in env.items() if key not in TYPED} if isinstance(env, Mapping) else env
    return {**plain, "env": kept} if "env" in plain else dict(plain)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


def _members(hint: Any) -> list[Any]:
    """The members of a union, or the type itself."""
    return list(typing.get_args(hint)) if typing.get_origin(hint) in (typing.Union, types.UnionType) else [hint]


def _kind(config: type) -> str:
    return config.__name__.removesuffix("Config").lower()


def _read(hint: Any, value: Any, name: str) -> Any:
    """Check `value` against a type annotation and turn it into an instance."""
    members = _members(hint)
    configs = {_kind(member): member for member in members if isinstance(member, type) and is_dataclass(member)}
    if configs and isinstance(value, Mapping):
        if len(configs) == 1:
            return from_dict(value, next(iter(configs.values())), name)
        kind = value.get("kind")
        if not isinstance(kind, str) or kind not in configs:
            near = nearest(str(kind), configs)
            raise UserError(f"{name}.kind is {shown(kind)}; allowed are {', '.join(configs)}.{near}")
        return from_dict({key: item for key, item in value.items() if key != "kind"}, configs[kind], name)
    for member in members:
        matched, result = _match(member, value)
        if matched:
            return result
    raise UserError(f"{name} is {shown(value)}; allowed is {_choices(hint)}")


def _match(hint: Any, value: Any) -> tuple[bool, Any]:
    """Whether a JSON value fits one plain type, and what it becomes."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is type(None):
        return value is None, None
    if origin is Literal:
        return value in args and not isinstance(value, bool), value
    if origin is tuple and isinstance(value, list):
        kinds = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
        found = [_match(kind, item) for kind, item in zip(kinds, value, strict=False)]
        return len(kinds) == len(value) and all(ok for ok, _ in found), tuple(item for _, item in found)
    if hint is Path:
        return isinstance(value, str), _path(value) if isinstance(value, str) else None
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool), value
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool), value
    return isinstance(hint, type) and isinstance(value, hint), value


def _path(text: str) -> Path:
    """A path in a file, whose ~ is expanded where it is used: by then it may have been replaced on the command line."""
    user_path(text.removeprefix("~"))  # refuses what no system opens
    return Path(text)


def _choices(hint: Any) -> str:
    """A type, or a union of them, in words."""
    return " or ".join(_describe(member) for member in _members(hint))


def _describe(hint: Any) -> str:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
    if hint is type(None):
        return "nothing (None)"
    if origin is Literal:
        return ", ".join(repr(choice) for choice in args)
    if origin is tuple:
        many = "any number of values" if args[-1] is Ellipsis else f"{len(args)} values"
        return f"{many}, each {_describe(args[0])}"
    return words.get(hint, "a group of settings")
