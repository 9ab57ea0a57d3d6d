"""Named settings of SE-Net and its kin. No import, so that listing them is free."""

# MRE-Net augments "online" what it compares with; the amounts are ours.
ONE_SCAN_PAPER = {"augmentation": "strong"}

# Ours: what two CPU cores train in minutes.
COMPACT = {
    "size": (128, 128),
    "widths": (16, 32),
    "cross_entropy": 1.0,
    "batch": 4,
    "augmentation": "strong",
    "optimiser": "adamw",
    "schedule": "cosine",
    "learning_rate": 3e-3,
    "steps": 1000,
}

# Ours: labels of a few structures alone teach these networks to find just those, whatever is marked in the support.
SE_NET = {"paper": {}, "compact": COMPACT | {"region_share": 0.5}}
SSE_ONE_SCAN = {"paper": ONE_SCAN_PAPER, "compact": COMPACT}
