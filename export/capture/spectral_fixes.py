"""What `torch.stft` and `torch.istft` do before and after the transform, as torch should trace it.

torch.stft(x, center=True)   its own padding views the signal in other shapes
torch.istft(z, length=n)     fixes the size of the axis, as a length must be a number
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

__all__ = ["centered_stft", "istft_of_length"]


def centered_stft(
    x: torch.Tensor,
    n_fft: Any,
    hop_length: Any,
    win_length: Any,
    window: Any,
    center: Any,
    pad_mode: Any,
    normalized: Any,
    onesided: Any,
    return_complex: Any,
) -> Any:
    """Pad the signal as it is, then transform it."""
    # torch's operator, called by itself, has other arguments in these places
    if center is False or return_complex is None or x.dim() not in (1, 2):
        return NotImplemented
    amount, mode = [n_fft // 2] * 2, pad_mode or "reflect"
    if x.dim() == 1 and mode != "constant":
        x = F.pad(x.unsqueeze(0), amount, mode).squeeze(0)
    else:
        x = F.pad(x, amount, mode)
    return torch.stft(
        x,
        n_fft,
        hop_length,
        win_length,
        window,
        center=False,
        normalized=bool(normalized),
        onesided=onesided,
        return_complex=return_complex,
    )


def istft_of_length(
    z: torch.Tensor,
    n_fft: Any,
    hop_length: Any,
    win_length: Any,
    window: Any,
    center: Any,
    normalized: Any,
    onesided: Any,
    length: Any,
    return_complex: Any,
) -> Any:
    """Cut the length, a size that may vary, out of the whole signal."""
    if not isinstance(length, torch.SymInt):
        return NotImplemented
    signal = torch.istft(
        z,
        n_fft,
        hop_length,
        win_length,
        window,
        center=False,
        normalized=bool(normalized),
        onesided=onesided,
        return_complex=bool(return_complex),
    )
    start = 0 if center is False else n_fft // 2
    missing: Any = start + length - signal.shape[-1]
    if missing > 0:
        signal = F.pad(signal, [0, missing])
    return signal[..., start : start + length]
