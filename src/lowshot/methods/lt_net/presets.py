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
# The way back learns from the paper's weights (L_trans in voxels of 4 mm); the way there feels little of them, or in a
# few hundred steps it would stay where it begins: at a field of zero. The critic sees 64 mm, as a part of a brain.
COMPACT_REVERSIBLE = {
    "critic_widths": (32, 64),
    "adversarial": 0.005,
    "transformation_cycle": 1.0,
    "cycle_pull": 0.03,
    "cycle_warmup": 0.5,
    "labels_per_step": 8,
}

PAPER = {"composed": False}  # the one default that is ours

LT_NET = {"paper": PAPER, "compact": COMPACT | COMPACT_REVERSIBLE}
VOXELMORPH = {
    "paper": PAPER | {"smoothness": 1 / 3},  # its public code's 1, which is of means over components, too
    "paper-ablation": PAPER,  # LT-Net's weight, so that one thing changes per row
    "compact": COMPACT,
}
