"""Reads a demo's `--json` events on standard input and checks what the last one claims.

The file of the model has to exist, to be readable without pickle, to have the hash that the run
reported, and the model has to be as accurate as promised.
"""

import json
import sys
from pathlib import Path

from safetensors.torch import load_file

from fanfold.schemas.tensor_codec import parameters_sha256

LEAST_ACCURACY = 0.95


def main() -> None:
    """Exit with one sentence about the first check that fails."""
    lines = sys.stdin.read().splitlines()
    if not lines:
        sys.exit("verify_demo: the demo printed nothing")
    finished = json.loads(lines[-1])
    if finished["event"] != "run_finished":
        sys.exit(f"verify_demo: the last event is {finished['event']}, not run_finished")
    if finished["accuracy"] < LEAST_ACCURACY:
        sys.exit(f"verify_demo: accuracy {finished['accuracy']} is below {LEAST_ACCURACY}")
    model = Path(finished["model"])
    digest = parameters_sha256(load_file(model))
    if digest != finished["parameters_sha256"]:
        sys.exit(f"verify_demo: {model} hashes to {digest}, not {finished['parameters_sha256']}")
    sys.stdout.write(f"accuracy {finished['accuracy']:.4f}, {model} is as reported: {digest}\n")


if __name__ == "__main__":
    main()
