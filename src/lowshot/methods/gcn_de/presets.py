"""Named settings of GCN-DE. No import, so that listing them is free."""

# CT of Synapse; the paper's window and number of epochs.
PAPER_SYNAPSE = {"intensity": "window:-125:275", "steps": 1000}

# The embedding loss as in the public code (which has weights of 25 and 50, too).
RELEASED = {
    "embedding_weight": 0.1,
    "embedding_stage": 4,
    "embedding_distance": "l1",
    "embedding_form": "softplus",
    "pooled": "always",
}

# Ours: what two CPU cores train in minutes.
COMPACT = {
    "size": (128, 128),
    "intensity": "zscore",
    "width": 0.25,
    "output_norm": False,
    "embedding_weight": 0.1,  # of 0.1, 0.3 and 1 on other scans than those that are tested: the least that helped
    "augmentation": "strong",
    "region_share": 0.5,
    "optimiser": "adamw",
    "schedule": "cosine",
    "learning_rate": 3e-3,
    "steps": 1000,
}

GCN_DE = {"paper": {}, "paper-synapse": PAPER_SYNAPSE, "released": RELEASED, "compact": COMPACT}
