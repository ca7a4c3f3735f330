"""How the files are called that hold the models of a run, for writers and readers alike."""

MODEL, BEST = "model.safetensors", "best.safetensors"
"""In a run's folder: the last version, and the best one."""
VERSIONS = "versions"
"""Folder in it of the versions that `--keep-versions` keeps: each is called by its number."""
SUFFIX = ".safetensors"
DIGEST = "parameters_sha256"
"""In the metadata of a model's file: the digest of its parameters."""
