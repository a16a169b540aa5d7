"""metamixer models"""

import torch

from ..fusion import fuse


def models() -> None:
    """List the networks: parameters and multiply-accumulates in deploy form, and the paper's accuracy."""
    import timm

    from ..complexity import measure_deploy_form
    from ..models import create_model, list_models
    from ..models.paper import BOX_AND_MASK_AP, SET5_PSNR, TOP1

    print(f"{'network':26s}{'params':>9s}{'MACs':>10s}{'pixels':>8s}{'top-1 (paper)':>15s}")
    for name in list_models("classification"):
        for tag in timm.list_models(name, include_tags=True):
            size = timm.get_pretrained_cfg(tag).input_size[-1]
            complexity = measure_deploy_form(name, size)
            accuracy = f"{TOP1[tag]:.1f}" if tag in TOP1 else "ours"
            print(f"{tag:26s}{complexity.params / 1e6:7.1f} M{complexity.macs / 1e9:8.2f} G{size:8d}{accuracy:>15s}")
    print(f"{'detector':37s}{'params':>8s}{'box / mask AP (paper)':>26s}")
    for name in list_models("detection"):
        with torch.device("meta"):
            network = fuse(create_model(name))
        params = sum(parameter.numel() for parameter in network.parameters())
        precision = "{:.1f} / {:.1f}".format(*BOX_AND_MASK_AP[name]) if name in BOX_AND_MASK_AP else "ours"
        print(f"{name:37s}{params / 1e6:6.1f} M{precision:>26s}")
    print(f"{'super-resolution, x2':37s}{'params':>8s}{'Set5 PSNR-Y in dB (paper)':>26s}")
    for name in list_models("super_resolution"):
        with torch.device("meta"):
            params = sum(parameter.numel() for parameter in create_model(name).parameters())
        quality = f"{SET5_PSNR[name]:.2f}" if name in SET5_PSNR else "ours"
        print(f"{name:37s}{params / 1e6:6.2f} M{quality:>26s}")
