"""Named settings of APSCL. No import, so that listing them is free."""

# Ours: what one CPU core trains in minutes, from random weights.
COMPACT = {
    "size": (128, 128),
    "depth": 18,
    "width": 0.5,
    "features": 128,
    "hidden": (128, 64),
    "enhancement_width": 64,
    "interaction_width": 64,
    "guidance_width": 128,
    "guidance_unit": True,
    "augmentation": "strong",
    "region_share": 0.7,
    "optimiser": "adamw",
    "schedule": "cosine",
    "steps": 1000,
    "learning_rate": 1e-3,
}

APSCL = {"paper": {}, "compact": COMPACT}
