"""Named settings of LT-Net, and of VoxelMorph: LT-Net with two losses. No import, so that listing them is free."""

# Ours: what two CPU cores train in minutes, on scans of any size and spacing. How it was found: README.md.
COMPACT = {
    "affine": True,
    "spacing": (3.0, 3.0, 3.0),
    "shape": None,
    "decoder": ((32,), (32,), (32,), (32, 32), (16, 16)),
    "critic_widths": (16, 32, 64, 128),
    "labels_per_step": 8,
    "steps": 800,
    "learning_rate": 1e-3,
}

LT_NET = {"paper": {}, "compact": COMPACT}
VOXELMORPH = {
    "paper": {"smoothness": 1.0},  # its public code's weight for local correlation
    "paper-ablation": {},  # LT-Net's weight, so that one thing changes per row
    "compact": COMPACT | {"smoothness": 1.0},
    "compact-ablation": COMPACT,
}
