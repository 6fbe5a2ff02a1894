"""Learning rates for networks that get deeper."""

from __future__ import annotations

from typing import Any, Literal

import keras


@keras.saving.register_keras_serializable("keras_struct")
class WarmupStableDecay(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises, stays, and falls at the end: layers that come in the middle find the full rate.

    Args:
        peak: The learning rate in the middle.
        steps: Gradient steps of the training.
        warmup: Over which share of the steps, or how many, it rises from 0.
        decay: Over which share of the steps, or how many, it falls.
        final: The learning rate at the end.
        shape: How it falls: `"linear"`, or `"sqrt"`, as `1 - sqrt(t)`, which falls faster at first.

    Raises:
        ValueError: If the shape is unknown, or warm-up and decay take more than all steps.

    References:
        Hu et al., *MiniCPM: unveiling the potential of small language models with scalable training strategies*, 2024, section 4
        (WSD). Hägele et al., *Scaling laws and compute-optimal training beyond fixed training durations*, NeurIPS
        2024 (1 - sqrt).

    Examples:
        >>> rate = WarmupStableDecay(1.0, steps=100, warmup=10, decay=0.2)
        >>> [round(float(rate(step)), 2) for step in (0, 5, 50, 90, 100)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """

    def __init__(
        self,
        peak: float,
        steps: int,
        warmup: float = 0.05,
        decay: float = 0.2,
        final: float = 0.0,
        shape: Literal["linear", "sqrt"] = "linear",
    ) -> None:
        super().__init__()
        self.peak, self.steps, self.warmup, self.decay = peak, steps, warmup, decay
        self.final, self.shape = final, shape
        self._rising, self._falling = (share * steps if share < 1 else share for share in (warmup, decay))
        if shape not in ("linear", "sqrt"):
            raise ValueError(f'`shape` must be "linear" or "sqrt". Received: {shape!r}')
        if steps < 1 or min(warmup, decay) < 0 or self._rising + self._falling > steps:
            raise ValueError(
                f"Warm-up and decay must not take more than all steps. Received: steps={steps}, warmup={warmup}, decay={decay}"
            )

    def __call__(self, step: Any) -> Any:
        """Return the learning rate after `step` gradient steps."""
        ops = keras.ops
        now = ops.cast(step, "float32")
        rising = now / max(self._rising, 1e-9)
        gone = ops.clip((now - (self.steps - self._falling)) / max(self._falling, 1e-9), 0.0, 1.0)
        left = 1 - (ops.sqrt(gone) if self.shape == "sqrt" else gone)
        return ops.minimum(rising, 1.0) * (self.final + (self.peak - self.final) * left)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        names = ("peak", "steps", "warmup", "decay", "final", "shape")
        return {name: getattr(self, name) for name in names}
