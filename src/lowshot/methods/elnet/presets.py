"""Named settings of ELNet, and of its networks from the exemplar alone. No import, so that listing them is free."""

# CT of Synapse; the paper's window.
PAPER_SYNAPSE = {"intensity": "window:-125:275"}

# Ours: what two CPU cores train in minutes. How it was found: README.md.
COMPACT = {
    "size": (128, 128),
    "stem": (16, 32, 64),
    "widths": (64, 96, 128),
    "augmentation": "wide",
    "turns": 60.0,
    "exemplars": 2,
    "synthetic": 4,
    "pseudo_labelled": 2,
    "black_backgrounds": 0.5,
    "own_backgrounds": 0.5,
    "confidence": 0.6,
    "background_confidence": 0.9,
    "learning_rate": 1e-3,
    "steps": 2000,
}

# Ours, beyond the paper: exemplars take the pool's grey values, and a mean teacher labels the pool anew in every step.
TAUGHT = {
    "network": "unet",
    "widths": (16, 32, 64, 128, 256),
    "teacher": True,
    "taught_rate": 0.5,
    "looks": 0.7,
    "swellings": 2,
    "contrast": 0.0,
    "second_contrast": 0.0,
    "exemplars": 6,
    "synthetic": 0,
    "pseudo_labelled": 3,
    "first_share": 0.6,  # what the first network does not find, its labels teach to be background
    "one_piece": True,
}

PAPER_UNET = {"widths": (64, 128, 256, 512, 1024)}
COMPACT_UNET = {"widths": (16, 32, 64, 128, 256)}

ELNET = {
    "paper": {},
    "paper-synapse": PAPER_SYNAPSE,
    "compact": COMPACT,
    "compact-taught": COMPACT | TAUGHT,
}
MT_UNET = {"paper": {}, "paper-synapse": PAPER_SYNAPSE, "compact": COMPACT}
UNET_SLICES = {
    "paper": PAPER_UNET,
    "paper-synapse": PAPER_SYNAPSE | PAPER_UNET,
    "compact": COMPACT | COMPACT_UNET,
}
