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

SE_NET = {"paper": {}, "compact": COMPACT}
SSE_ONE_SCAN = {"paper": ONE_SCAN_PAPER, "compact": COMPACT}
