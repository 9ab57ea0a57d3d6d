"""Makes ``lowshot bench balls`` known to the process that imports this."""

from benchmarking.balls import BALLS
from lowshot.protocols.registry import PROTOCOLS

PROTOCOLS["balls"] = BALLS
