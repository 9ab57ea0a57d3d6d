"""What each figure of an evaluation means, in words. Printed with every result, so that none travels without them."""

DEFINITIONS: dict[str, str] = {
    "Dice": (
        "2|X∩Y| / (|X|+|Y|) over voxels: 1 is perfect. Where prediction and truth are both empty the pair is left out "
        "of every mean and counted; where one is empty it is 0."
    ),
    "HD95": (
        "The larger of the two directed 95th percentiles of the distance between borders. A border is the mask minus "
        "its 6-connected erosion (4-connected in a 2-D image). In millimetres where the file tells the spacing, else "
        "in voxels. Where one of the two is empty it is the diagonal of the image, and counted."
    ),
    "true_positive_ratio": "|A∩B| / |A| of truth A and prediction B. Left out where the truth is empty.",
    "false_positive_ratio": "|B∖A| / |A|: what was found beside the truth, in sizes of the truth; it may exceed 1.",
    "radial_error": (
        "Averaged radial error of a 2-D image: along 180 rays from the centroid of the truth, the distance between the "
        "outermost crossings of both contours, in radii of the truth. A ray that misses the prediction counts 1."
    ),
    "volume difference": "Predicted minus true volume: positive means too large.",
    "all structures": "The mean over structures within each case first, then over cases.",
    "±": "Sample standard deviation over cases.",
    "missing": "There was no prediction for the case. It is scored as an empty one.",
    "unknown": "Voxels marked as unknown, and structures nobody looked for, are not scored.",
    "expected Dice": (
        "What the model itself expected, without truth, from its own probabilities. "
        "The correlation is Spearman's, over pairs of case and structure."
    ),
    "hd95_pooled_voxels": "The 95th percentile of both directions pooled, always in voxels (medpy's form).",
    "hd95_legacy_empty": "The same, but 0 where either mask is empty (the scorer of MT-UNet and TransUNet).",
    "dice_legacy_empty": (
        "Dice, but 1 where something is predicted and the truth is empty, and 0 where both are (the same scorer)."
    ),
    "dice_of_slices": "The mean of Dice over slices along the third axis in which either mask has a voxel (GCN-DE's).",
    "hd95_in_plane": "HD95 over borders drawn slice by slice with a 3×3 erosion (the MRBrainS18 scorer's form).",
}
