"""Named settings of PoissonSeg, SRNet and LVQM, which are one file each. No import, so that listing them is free."""

# Ours: what one CPU core trains in minutes, from random weights.
COMPACT = {
    "size": (128, 128),
    "depth": 18,
    "width": 0.5,
    "features": 64,
    "tasks": 2,
    "augmentation": "strong",
    "region_share": 0.7,
    "optimiser": "adamw",
    "schedule": "cosine",
    "learning_rate": 1e-3,
    "steps": 1000,
}

# No published settings are known of these three: "paper" has those of SSL-ALPNet, whose protocol they were compared in.
POISSON_SEG = {"paper": {}, "compact": COMPACT}
SR_NET = {"paper": {}, "compact": COMPACT}
LVQM = {"paper": {}, "compact": COMPACT | {"window": 2}}
