"""Named settings of PANet and SG-One, which are one file each. No import, so that listing them is free."""

# Ours: what one CPU core trains in minutes, from random weights.
COMPACT = {
    "size": (128, 128),
    "width": 0.25,
    "norm": True,
    "tasks": 2,
    "augmentation": "strong",
    "optimiser": "adamw",
    "schedule": "cosine",
    "steps": 2000,
    "learning_rate": 1e-3,
}

PANET = {"paper": {}, "compact": COMPACT}
# Ours: labels of a few structures alone teach SG-One's branch to find just those, whatever is marked in the support.
SG_ONE = {"paper": {}, "compact": COMPACT | {"background_weight": 0.1, "region_share": 0.5}}
