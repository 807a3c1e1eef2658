"""`make soak`: proofs that take minutes, on embedded stacks of its own, with the real functions and model.

Every part runs by itself as well: `make soak SOAK_ARGS="crasher --seed 3"`. A seed makes the clients' wishes,
the kills and the mishaps the same again; when which of them meets which stays up to the machine.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable

from soak import (
    burst,
    contract,
    costs,
    crasher,
    fuzz,
    hostile,
    load,
    machines,
    mutations,
    plain_fleet,
    vectors,
)
from soak.outcome import Outcome, table

Part = Callable[[argparse.Namespace], Outcome]

PARTS: dict[str, Part] = {
    "crasher": lambda given: crasher.run(given.operations, given.seed),
    "fuzz": lambda given: fuzz.run(given.webhooks, given.seed),
    "mutations": lambda given: mutations.run(given.mutations, given.seed),
    "hostile": lambda given: hostile.run(given.harm, given.seed),
    "costs": lambda _: costs.run(),
    "contract": lambda given: contract.run(given.examples),
    "ingest": lambda given: load.run(given.sustained, given.burst, given.seed),
    "burst": lambda given: burst.run(given.burst, given.seed),
    "machines": lambda given: machines.run("machines", plain_fleet.targets, given.queued, given.seed),
    "ray": lambda given: _run_on_ray(given.queued, given.seed),
    "vectors": lambda given: vectors.run(given.documents, given.seed),
}


def _run_on_ray(queued: int, seed: int) -> Outcome:
    from soak import ray_fleet  # Ray has no package for every Python

    return machines.run("ray", ray_fleet.targets, queued, seed)


def main() -> None:
    parser = argparse.ArgumentParser(
        "make soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--operations", type=int, default=2000, help="of the crasher (default 2000)")
    parser.add_argument("--webhooks", type=int, default=1000, help="operations of the fuzz (default 1000)")
    parser.add_argument("--mutations", type=int, default=10_000, help="mutated images (default 10000)")
    parser.add_argument("--harm", type=float, default=60, help="seconds of each hostile act (default 60)")
    parser.add_argument("--examples", type=int, default=100, help="of the contract (default 100)")
    parser.add_argument("--sustained", type=int, default=5000, help="images uploaded in a row (default 5000)")
    parser.add_argument("--burst", type=int, default=1000, help="images uploaded at once (default 1000)")
    parser.add_argument("--queued", type=int, default=1000, help="images of machines and ray (default 1000)")
    parser.add_argument("--documents", type=int, default=20_000, help="of the vectors (default 20000)")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; expected some of {', '.join(PARTS)}")
    outcomes = [_play(part, given) for part in given.parts or PARTS]
    print(f"\nseed {given.seed}\n{table(outcomes)}")
    evidence = [f"{outcome.part}: {line}" for outcome in outcomes for line in outcome.evidence]
    sys.exit("\n".join(["", "Violations:", *evidence]) if evidence else 0)


def _play(part: str, given: argparse.Namespace) -> Outcome:
    """A part's outcome; one that breaks off has failed, and the others go on."""
    began = time.monotonic()
    try:
        return PARTS[part](given)
    except Exception as error:
        traceback.print_exc()
        evidence = (f"it broke off: {type(error).__name__}: {error}",)
        return Outcome(part=part, operations=0, seconds=time.monotonic() - began, evidence=evidence)


if __name__ == "__main__":
    main()
