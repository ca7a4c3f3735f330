"""The manifests as they are written, held against the schemas of their kinds."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml
from manifests import DEPLOY, KUBERNETES, SETTINGS, VERSIONS, check, containers, options_of

from fanfold.api.reading import read


def manifests() -> Iterator[Any]:
    """Every document of every file, with a name for the test's report."""
    for path in sorted(KUBERNETES.rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            name = document.get("metadata", {}).get("name", path.parent.name)
            yield pytest.param(document, id=f"{document['kind']}-{name}")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("manifest", list(manifests()))
def test_kubernetes_and_the_operators_know_every_field(
    manifest: dict[str, Any], version: str
) -> None:
    """Strictly: a misspelt field is an error, not a silent nothing."""
    check(manifest, version)


def test_a_misspelt_field_of_an_operators_kind_is_found() -> None:
    """Else the test above would prove nothing."""
    user = {"apiVersion": "rabbitmq.com/v1beta1", "kind": "User"}
    user |= {"spec": {"rabbitmqClusterReference": {"name": "broker"}, "tag": ["monitoring"]}}
    with pytest.raises(jsonschema.ValidationError, match="'tag' was unexpected"):
        check(user, VERSIONS[0])


def test_users_rights_and_policies_are_those_of_the_definitions() -> None:
    """The two ways to set a broker up say the same."""
    definitions = json.loads((DEPLOY / "rabbitmq" / "definitions.json").read_text())
    documents = list(yaml.safe_load_all((KUBERNETES / "base" / "broker.yaml").read_text()))
    theirs = {each["user"]: each for each in definitions["permissions"]}
    for permission in (each["spec"] for each in documents if each["kind"] == "Permission"):
        ours = theirs[permission["userReference"]["name"]]
        assert permission["permissions"] == {
            key: ours[key] for key in ("configure", "write", "read")
        }
    policies = {p["spec"]["name"]: p["spec"] for p in documents if p["kind"] == "Policy"}
    assert {name: (p["pattern"], p["definition"]) for name, p in policies.items()} == {
        p["name"]: (p["pattern"], p["definition"]) for p in definitions["policies"]
    }


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
        given = options_of(container["args"])
        if "shared_login" in given:
            given["shared_login"] = [given["shared_login"]]
        if container["name"] == "keeper":
            given["state_dir"] = "state"  # the image names it
        model = SETTINGS[container["name"]]

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
