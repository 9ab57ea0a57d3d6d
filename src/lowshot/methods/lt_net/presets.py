"""Named settings of LT-Net, and of VoxelMorph: LT-Net with two losses. No import, so that listing them is free."""

# Ours: what two CPU cores train in minutes, on scans of any size and spacing. How it was found: README.md.
COMPACT = {
    "affine": True,
    "spacing": (4.0, 4.0, 4.0),
    "shape": None,
    "decoder": ((32,), (32,), (32,), (32, 32), (16, 16)),
    "smoothness": 1.0,
    "steps": 800,
    "learning_rate": 1e-3,
}
# At the paper's weights a generator that has a few hundred steps stays where it begins: at a field of zero.
COMPACT_REVERSIBLE = {
    "critic_widths": (16, 32, 64, 128),
    "adversarial": 0.02,
    "image_cycle": 0.3,
    "transformation_cycle": 0.03,
    "anatomy_cycle": 0.1,
    "anatomy_difference": 0.1,
    "cycle_warmup": 1.0,
    "labels_per_step": 8,
}

LT_NET = {"paper": {}, "compact": COMPACT | COMPACT_REVERSIBLE}
VOXELMORPH = {
    "paper": {"smoothness": 1.0},  # its public code's weight for local correlation
    "paper-ablation": {},  # LT-Net's weight, so that one thing changes per row
    "compact": COMPACT,
}
