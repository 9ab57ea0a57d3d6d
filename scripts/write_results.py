"""Write docs/results.md from the files in docs/results/; with --check, say whether it is what they would give.

python scripts/write_results.py [--check]
"""

import argparse
import sys
from pathlib import Path

from lowshot.atomic import atomic_path
from lowshot.benchmarking.document import results_page

DOCS = Path(__file__).parents[1] / "docs"


def main(words: list[str]) -> int:
    """Write, or compare."""
    parser = argparse.ArgumentParser(description="Write docs/results.md from the files in docs/results/.")
    parser.add_argument("--check", action="store_true", help="only say whether it is what they would give")
    asked = parser.parse_args(words)
    page, wanted = DOCS / "results.md", results_page(DOCS / "results")
    if asked.check:
        fresh = page.exists() and page.read_text(encoding="utf-8") == wanted
        print(f"{page.name}: {'as its files say' if fresh else 'older than its files; run make results'}")
        return 0 if fresh else 1
    with atomic_path(page) as temporary:
        temporary.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
