"""Chaos, from a seed: `python -m tests.chaos [--minutes 10] [--seed N] [--steps N] [--only ACTION,...]`, as root.

The seed is printed, and does the same again. The exit code is 1 where an invariant was broken.
"""

from __future__ import annotations

import argparse
import random
import sys

from tests.chaos.plan import steps
from tests.chaos.runner import run
from tests.chaos.table import TABLE


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--steps", type=int, default=0, help="end after so many")
    parser.add_argument("--only", default="", help="names of actions, with commas between them")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    table = [kind for kind in TABLE if not options.only or kind.__name__ in options.only.split(",")]
    only = f" --only {options.only}" if options.only else ""
    replay = f"make chaos SEED={seed} MINUTES={options.minutes:g}" + (f" CHAOS='{only.strip()}'" if only else "")
    print(f"seed {seed}: {replay}", flush=True)
    report = run(steps(seed, table), options.minutes * 60, replay, options.steps)
    print("\n".join(report.lines()))
    return bool(report.broken)


if __name__ == "__main__":
    sys.exit(main())
