"""One training step: a batch through the network, forward, backward, update.

Nothing in it synchronises the device: losses and outputs stay there until they are read.
"""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from eruv_dali.models.backbone import channels_last
from eruv_dali.train.feature_terms import FeatureTerms
from eruv_dali.train.processes import ALONE, HostSyncBatchNorm3d, Processes, anywhere, synchronise_batchnorm
from eruv_dali.train.settings import OptimConfig

log = logging.getLogger(__name__)


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """float32, bfloat16 or float16 by name; "auto": float32 on a CPU, bfloat16 on a GPU with support, else float16."""
    if name != "auto":
        if device.type == "cpu" and name != "float32":
            log.warning("%s on a CPU: PyTorch 2.13 was seen to make gradients of small convolutions NaN there; float32 "
                        "is safe, and faster on most CPUs", name)
        return getattr(torch, name)
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


class TrainStep:
    """Trains `net` on one batch per call.

    Weights are channels last (channels_last_3d); convolutions run in `precision` under autocast, with loss scaling for
    float16. `optim.compile` compiles the network, for whole batches: the smaller batch at the end of an epoch runs
    uncompiled. If compiling fails in any process, all log a warning and run uncompiled.

    Args:
        net: any network from a batch's clips to an output. It is trained in place: `net.state_dict()` is the model.
        optim: optimiser, learning rate (already scaled for the number of processes), and the rest.
        device: where `net` is moved to.
        precision: of the convolutions.
        loss: (output, target) → mean loss of the batch.
        terms: further terms of the loss; then `net` returns (output, features) in training.
        rate_of: what `optim.lr` is multiplied by for the parameter of this name; by default 1 for all.
        processes: whose gradients are averaged.
        seed: dropout of a step depends only on it, the step's number and the process.

    Attributes:
        optimizer, scaler: to be saved in checkpoints.
        terms: values of the further terms in the last step, (terms,), detached and still on the device.
    """

    def __init__(
        self, net: nn.Module, optim: OptimConfig, *, device: torch.device, precision: torch.dtype,
        loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = F.cross_entropy, processes: Processes = ALONE,
        seed: int = 0, terms: FeatureTerms | None = None, rate_of: Callable[[str], float] | None = None,
    ) -> None:
        if processes.world > 1 and optim.sync_batchnorm:
            net = synchronise_batchnorm(net, device)
        self._judge, self._further, self._processes = loss, terms, processes
        self.terms = torch.zeros(0, device=device)
        self.net = channels_last(net, device)
        self.device, self.precision, self._seed, self._rank = device, precision, seed, processes.rank
        parameters: Iterable[Any] = self.net.parameters()
        if rate_of is not None:
            parameters = _groups(self.net, optim.lr, rate_of)
        if optim.name == "sgd":
            self.optimizer: torch.optim.Optimizer = torch.optim.SGD(
                parameters, optim.lr, momentum=optim.momentum, weight_decay=optim.weight_decay, fused=True)
        else:
            self.optimizer = torch.optim.AdamW(parameters, optim.lr, weight_decay=optim.weight_decay, fused=True)
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision is torch.float16)
        self._forward: Callable[[torch.Tensor], Any] = self.net
        if processes.world > 1:
            ids = [device.index] if device.type == "cuda" else None
            self._forward = DistributedDataParallel(self.net, device_ids=ids, gradient_as_bucket_view=True)
        self._plain, self._rehearsed = self._forward, True
        if optim.compile == "on" or (optim.compile == "auto" and device.type == "cuda"):
            # Static shapes: for any others Inductor gives up channels last in convolutions.
            self._forward, self._rehearsed = torch.compile(self._forward, dynamic=False), False

    def __call__(
        self, clips: torch.Tensor, target: torch.Tensor, number: int, *, whole: bool = True,
        origins: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Train on a batch.

        Args:
            clips: the input of `net`, on `device`; (B, K, 3, T, H, W) for PretextNet.
            target: what its output is compared with, on `device`.
            number: of the step in the run.
            whole: the batch has as many samples as all others that are whole; the same in every process.
            origins: for the further terms (`FeatureTerms.origins`), on `device`.

        Returns:
            the output and the batch's mean loss without further terms, both detached and still on the device.
        """
        if whole and not self._rehearsed:
            self._rehearse(clips, target, origins)
        torch.manual_seed(int(np.random.SeedSequence([self._seed, number, self._rank]).generate_state(1, np.uint64)[0]))
        # A smaller batch comes once an epoch: too seldom to compile for it, and to have cuDNN try its algorithms on it.
        self.optimizer.zero_grad(set_to_none=True)
        with contextlib.nullcontext() if whole else _no_cudnn_trials():
            output, loss, total = self._loss(self._forward if whole else self._plain, clips, target, origins)
            self.scaler.scale(total).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return output.detach(), loss.detach()

    @torch.no_grad()
    def answer(self, clips: torch.Tensor) -> torch.Tensor:
        """The network's output, float32, without training. For `net.eval()`."""
        with self._autocast():
            return self.net(clips).float()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.precision, enabled=self.precision is not torch.float32)

    def _loss(
        self, forward: Callable[[torch.Tensor], Any], clips: torch.Tensor, target: torch.Tensor,
        origins: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The output, the loss, and the loss with the further terms."""
        with self._autocast():
            answer = forward(clips)
        output = (answer[0] if self._further else answer).float()
        loss = self._judge(output, target)
        if not self._further:
            return output, loss, loss
        further, self.terms = self._further(answer[1], origins)
        return output, loss, loss + further

    def _rehearse(self, clips: torch.Tensor, target: torch.Tensor, origins: torch.Tensor | None) -> None:
        """Compile the network by a step that updates nothing; run it uncompiled if the compiler fails anywhere.

        Nothing in this step waits for another process, which may have failed.
        """
        self._rehearsed = True
        buffers = {name: value.clone() for name, value in self.net.named_buffers()}
        alone = self._plain.no_sync() if isinstance(self._plain, DistributedDataParallel) else contextlib.nullcontext()
        synchronised = [module for module in self.net.modules()
                        if isinstance(module, nn.SyncBatchNorm | HostSyncBatchNorm3d)]
        for module in synchronised:
            module.eval()
        cause = ""
        try:
            with alone:
                self._loss(self._forward, clips, target, origins)[2].backward()
        except Exception as error:  # compilers fail in many ways: no Triton, no g++, an unknown operator
            first, *rest = str(error).strip().splitlines() or [""]
            said = f"{first} {rest[0].strip()}" if first.endswith(":") and rest else first  # "the backend raised:"
            cause = f"{type(error).__name__}: {said}"
        if anywhere(self._processes, bool(cause), self.device):
            log.warning("optim.compile: torch.compile failed, the network runs uncompiled (%s)",
                        cause or "in another process")
            self._forward = self._plain
        for module in synchronised:
            module.train()
        if isinstance(self._plain, DistributedDataParallel):
            # no_sync ends by forgetting it, but not where the forward pass fails: the processes must not differ.
            self._plain.require_forward_param_sync = True
        for name, value in self.net.named_buffers():
            value.copy_(buffers[name])
        self.optimizer.zero_grad(set_to_none=True)


def _groups(net: nn.Module, lr: float, rate_of: Callable[[str], float]) -> list[dict[str, Any]]:
    """Groups of parameters with a rate each, for an optimiser: the fastest first, whose rate is the one logged."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        groups.setdefault(rate_of(name), []).append(parameter)
    return [{"params": groups[rate], "lr": lr * rate} for rate in sorted(groups, reverse=True)]


@contextlib.contextmanager
def _no_cudnn_trials() -> Iterator[None]:
    """Have cuDNN choose its algorithms by rule, not by trying each on the shapes that it meets."""
    cudnn = torch.backends.cudnn
    before, cudnn.benchmark = cudnn.benchmark, False
    try:
        yield
    finally:
        cudnn.benchmark = before
