"""Named settings of the methods around ANTs. No import, so that listing them is free."""

ANTS: dict[str, dict[str, object]] = {"paper": {}, "compact": {}}

# SyNCC goes through up to 4500 iterations of cross-correlation before it comes to full size, and 20 there. With these,
# SyN's own, it is what two CPU cores do in minutes.
SYNCC: dict[str, dict[str, object]] = {"paper": {}, "compact": {"iterations": (40, 20, 0)}}
