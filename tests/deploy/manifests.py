"""Manifests of Kubernetes, and the schemas that they are held against.

Those of Kubernetes itself are in the package kubernetes-validate; those of what operators add are
in crds/, with their origin.
"""

from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml
from pydantic import BaseModel

from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.keeper.settings import KeeperSettings
from fanfold.participant.settings import ParticipantSettings

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
CRDS = Path(__file__).parent / "crds"
OPERATORS = {"rabbitmq.com/v1beta1": "rabbitmq.com.yaml", "keda.sh/v1alpha1": "keda.sh.yaml"}
"""Kinds that a cluster learns from an operator, and where their schemas are."""
KUSTOMIZE = "kustomize.config.k8s.io/"
SETTINGS: dict[str, type[BaseModel]] = {
    "coordinator": CoordinatorSettings,
    "participant": ParticipantSettings,
    "keeper": KeeperSettings,
}
"""By the name of the container."""
VERSIONS = ("1.30.0", "1.37.0")


def containers(document: dict[str, Any]) -> list[dict[str, Any]]:
    pod = document.get("spec", {}).get("template", {}).get("spec", {})
    found: list[dict[str, Any]] = pod.get("containers", [])
    return found


def options_of(args: list[str]) -> dict[str, Any]:
    options = dict(each.removeprefix("--").split("=", 1) for each in args)
    return {name.replace("-", "_"): value for name, value in options.items()}


def closed(schema: Any) -> Any:
    """Let a schema refuse the fields that it does not know, as a strict API server does."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(value) for name, value in schema.items()}
    if isinstance(schema.get("properties"), dict):
        inner.setdefault("additionalProperties", False)
    return inner


def check(manifest: dict[str, Any], version: str) -> None:
    """Hold a manifest against the schema of its kind."""
    if manifest["apiVersion"] in OPERATORS:
        schemas = yaml.safe_load((CRDS / OPERATORS[manifest["apiVersion"]]).read_text())
        jsonschema.validate(
            manifest["spec"], {"type": "object", **closed(schemas[manifest["kind"]])}
        )
    elif not manifest["apiVersion"].startswith(KUSTOMIZE):
        kubernetes_validate.validate(manifest, version, strict=True)
