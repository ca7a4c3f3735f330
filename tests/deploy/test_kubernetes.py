"""The manifests, held against the schemas that the package kubernetes-validate brings."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from coordinator.settings import CoordinatorSettings
from participant.settings import ParticipantSettings
from warren.options import read

KUBERNETES = Path(__file__).parents[2] / "deploy" / "kubernetes"
OPERATORS = {"rabbitmq.com/v1beta1", "keda.sh/v1alpha1", "kustomize.config.k8s.io/v1beta1"}
"""Kinds that a cluster learns from an operator; Kubernetes itself has no schema for them."""
VERSIONS = ("1.30.0", "1.37.0")


def manifests() -> Iterator[Any]:
    """Every document of every file, with a name for the test's report."""
    for path in sorted(KUBERNETES.rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            name = document.get("metadata", {}).get("name", path.parent.name)
            yield pytest.param(document, id=f"{document['kind']}-{name}")


def containers(document: dict[str, Any]) -> list[dict[str, Any]]:
    pod = document.get("spec", {}).get("template", {}).get("spec", {})
    found: list[dict[str, Any]] = pod.get("containers", [])
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("manifest", list(manifests()))
def test_kubernetes_knows_every_field(manifest: dict[str, Any], version: str) -> None:
    """Strictly: a misspelt field is an error, not a silent nothing."""
    if manifest["apiVersion"] in OPERATORS:
        return
    kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("manifest", [m for m in manifests() if containers(m.values[0])])
def test_our_services_run_with_as_few_rights_as_they_need(manifest: dict[str, Any]) -> None:
    """Non-root, nothing to write to but volumes, no capabilities, and honest probes."""
    assert manifest["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"] is True
    for container in containers(manifest):
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert container["livenessProbe"]["httpGet"]["path"] == "/health"
        assert container["readinessProbe"]["httpGet"]["path"] == "/ready"


@pytest.mark.parametrize("manifest", [m for m in manifests() if containers(m.values[0])])
def test_our_services_understand_their_arguments(manifest: dict[str, Any]) -> None:
    """What the manifest gives on the command line are options that exist, with values that fit."""
    for container in containers(manifest):
        options = dict(each.removeprefix("--").split("=", 1) for each in container["args"])
        given = {name.replace("-", "_"): value for name, value in options.items()}
        if "shared_login" in given:
            given["shared_login"] = [given["shared_login"]]
        model = CoordinatorSettings if container["name"] == "coordinator" else ParticipantSettings

        assert set(given) <= set(model.model_fields)
        assert read(model, given)


def test_keda_counts_what_is_being_trained_on() -> None:
    """Only over HTTP, and with unacknowledged messages: else it ends a training by scaling down."""
    text = (KUBERNETES / "overlays" / "production" / "scaling.yaml").read_text()
    scaled = next(iter(yaml.safe_load_all(text)))
    metadata = scaled["spec"]["triggers"][0]["metadata"]

    assert metadata["protocol"] == "http"
    assert metadata["excludeUnacknowledged"] == "false"
    assert scaled["spec"]["maxReplicaCount"] == 1
