"""Muon, for a small new model: with AdamW it takes several times as many tokens to learn as much.

Not stated in the paper; ours because the replica's base model is trained on the spot, in minutes.
Where training goes on from a model, AdamW is the default.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import torch

MOMENTUM = 0.95
# Newton-Schulz iteration of Muon: a polynomial that takes all singular values towards 1
STEPS, COEFFICIENTS = 5, (3.4445, -4.775, 2.0315)


class Muon(torch.optim.AdamW):
    """Muon for the matrices of the layers, AdamW without decay for the rest, at one learning rate.

    As `torch.optim.Muon` with "match_rms_adamw", but in fp32 and for all matrices of a shape at
    once: torch's bf16 takes four times as long as the model itself on a CPU that only emulates it.
    """

    def __init__(self, model: torch.nn.Module, config: Mapping[str, Any]) -> None:
        """Take the parameters of `model`; `config` is that of the training."""
        named = dict(model.named_parameters())
        matrices = [p for name, p in named.items() if p.ndim == 2 and ".layers." in name]
        inside = set(map(id, matrices))
        others = [p for p in named.values() if id(p) not in inside]
        super().__init__(
            [{"params": others, "weight_decay": 0.0}, {"params": matrices}],
            lr=config["learning_rate"],
            betas=(config["adam_beta1"], config["adam_beta2"]),
            eps=config["adam_epsilon"],
            weight_decay=config["weight_decay"],
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of both."""
        groups = self.param_groups
        self.param_groups = groups[:1]
        loss = super().step(closure)
        self.param_groups = groups
        self._step_matrices(groups[1])
        return loss

    def _step_matrices(self, group: Mapping[str, Any]) -> None:
        """Move each matrix by the orthogonal matrix nearest to its momentum (Nesterov's)."""
        alike = defaultdict(list)
        for matrix in group["params"]:
            alike[matrix.shape].append(matrix)
        for shape, matrices in alike.items():
            moves = torch.stack([self._momentum(matrix) for matrix in matrices])
            size = 0.2 * math.sqrt(max(shape))  # as large as a step of AdamW
            for matrix, move in zip(matrices, orthogonal(moves), strict=True):
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.add_(move, alpha=-group["lr"] * size)

    def _momentum(self, matrix: torch.Tensor) -> torch.Tensor:
        state = self.state[matrix]
        if not state:
            # AdamW asks every state that it loads for a step
            state.update(step=torch.zeros(()), momentum=torch.zeros_like(matrix))
        state["momentum"].lerp_(matrix.grad, 1 - MOMENTUM)
        return matrix.grad.lerp(state["momentum"], MOMENTUM)


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """Matrices (n, rows, columns) with all singular values taken near to 1, between 0.7 and 1.2."""
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonal(matrices.mT).mT
    a, b, c = COEFFICIENTS
    found = matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(STEPS):
        gram = found @ found.mT
        found = a * found + (b * gram + c * gram @ gram) @ found
    return found
