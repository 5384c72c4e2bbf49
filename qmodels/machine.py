"""What this machine is and can do: machine class, quantized engine, saturation probe."""

import torch


def bfloat16_pays(device: torch.device) -> bool:
    """Whether autocast to bfloat16 trains faster than float32: on GPUs, and CPUs with AMX tiles.

    Other CPUs convert to float32 and back for every operation.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_amx_tile_supported()
