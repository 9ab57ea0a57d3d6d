"""``python -m lowshot``, as ``torchrun -m lowshot fit …`` needs it."""

from lowshot.cli.app import main

main()
