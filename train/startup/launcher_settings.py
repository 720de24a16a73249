"""What is asked for and not done: by `accelerate launch` or its saved settings beside the config, and in the config."""

from __future__ import annotations

from typing import get_args

from dualdiffusion.errors import UserError
from train.interruption import launcher_option, launcher_variable, precision_asked
from train.train_config import TrainConfig

# By the variable with which the launcher asks for it.
_SHARDING = {
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_FSDP": "fully sharded data parallel (FSDP)",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
}


def check_launcher() -> None:
    """Refuses what would train another thing than the config says.

    Raises:
        UserError: the launcher was asked to spread the network itself over devices.
    """
    for variable, name in _SHARDING.items():
        if (launcher_variable(variable) or "").lower() in ("true", "1"):
            raise UserError(
                f"accelerate was asked for {name}, which this program does not use: each device holds the whole "
                "network; leave its option out, or run accelerate config again"
            )


def not_used(config: TrainConfig, device_type: str = "cpu") -> list[str]:
    """A line for each of the launcher's settings that the config decides, and for what the config itself says in vain.

    Args:
        device_type: where the run trains, such as "cuda".
    """
    lines = [f"schedule.{name}: a schedule of type {config.schedule.type} has none" for name in config.schedule.unused]
    if config.cpu_threads and device_type != "cpu":
        lines.append(f"cpu_threads: {config.cpu_threads} is not used: the run is on {device_type}")
    if (asked := precision_asked()) not in (None, config.mixed_precision):
        *others, last = get_args(TrainConfig.model_fields["mixed_precision"].annotation)
        may_be = f"it may be {', '.join(others)} or {last}"
        change = f"--set mixed_precision={asked} changes it" if asked in (*others, last) else may_be
        lines.append(
            f"accelerate's own mixed_precision, {asked}, is not used: the config says what a run computes in, here "
            f"{config.mixed_precision}; {change}"
        )
    steps = launcher_variable("ACCELERATE_GRADIENT_ACCUMULATION_STEPS")
    steps = steps or launcher_option("--gradient_accumulation_steps")
    if steps and int(steps) > 1:
        lines.append(
            f"accelerate's own gradient_accumulation_steps, {steps}, is not used: batch_size is {config.batch_size} in "
            "any case, and --set micro_batch_size says how many samples are on a device at once"
        )
    backend = launcher_variable("ACCELERATE_DYNAMO_BACKEND") or "no"
    if backend.lower() != "no" and not config.compile:
        lines.append(f"accelerate's own dynamo_backend, {backend}, is not used; --set compile=true compiles networks")
    return lines
