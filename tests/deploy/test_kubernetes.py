"""The manifests, held against Kubernetes' schemas, which the package kubernetes-validate brings.

The schemas of what operators add are in crds/, with their origin.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from pydantic import BaseModel

from fanfold.api.reading import read
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.keeper.settings import KeeperSettings
from fanfold.participant.settings import ParticipantSettings
from fanfold.region.settings import RegionSettings
from fanfold.serving.settings import ServeSettings

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


def rendered(overlay: str) -> list[dict[str, Any]]:
    """What `kubectl apply -k` would apply."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl here, and Debian's 1.20 knows no `patches`: nothing is rendered")
    folder = KUBERNETES / "overlays" / overlay
    done = subprocess.run(
        [kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def named_secrets(value: Any) -> Iterator[str]:
    """Every secret that a document names, wherever it does."""
    if isinstance(value, dict):
        if "secretName" in value:
            yield value["secretName"]
        if "importCredentialsSecret" in value:
            yield value["importCredentialsSecret"]["name"]
        value = list(value.values())
    for each in value if isinstance(value, list) else ():
        yield from named_secrets(each)


@pytest.mark.parametrize(
    ("overlay", "namespaces"),
    [("demo", 1), ("production", 1), ("service", 1), ("masked", 1), ("regions", 3)],
)
def test_a_rendered_overlay_is_valid(overlay: str, namespaces: int) -> None:
    """With its patches applied, and all of it in one namespace, or one for each level."""
    documents = rendered(overlay)
    for document in documents:
        check(document, VERSIONS[-1])
    spaces = {
        each["metadata"].get("namespace") for each in documents if each["kind"] != "Namespace"
    }
    assert len(spaces) == namespaces
    assert None not in spaces


@pytest.mark.parametrize("overlay", ["demo", "regions"])
def test_a_demo_brings_every_secret_that_it_names(overlay: str) -> None:
    """Under that very name; the operator's kinds are not renamed with the secrets."""
    documents = rendered(overlay)
    for space in {each["metadata"].get("namespace") for each in documents}:
        inside = [each for each in documents if each["metadata"].get("namespace") == space]
        there = {each["metadata"]["name"] for each in inside if each["kind"] == "Secret"}
        assert set(named_secrets(inside)) == there


def test_regions_stand_between_the_root_and_their_own_participants() -> None:
    """With options that exist; each trains on a share of its own, and is let in at the root."""
    documents = rendered("regions")
    found = {
        (each["metadata"]["namespace"], each["metadata"]["name"]): each
        for each in documents
        if containers(each) or each["kind"] == "NetworkPolicy"
    }
    root = containers(found["fanfold-demo", "coordinator"])[0]
    given = options_of(root["args"])
    given["shared_login"] = [given["shared_login"]]
    assert read(CoordinatorSettings, given).max_region_updates is not None
    assert found["fanfold-demo", "participant"]["spec"]["replicas"] == 0
    policy = found["fanfold-demo", "broker"]["spec"]["ingress"][-1]["from"][0]
    (let_in,) = policy["namespaceSelector"]["matchExpressions"]
    assert let_in["values"] == ["fanfold-north", "fanfold-south"]
    for share, region in enumerate(("north", "south")):
        container = containers(found[f"fanfold-{region}", "coordinator"])[0]
        _, command, *flags = container["command"]
        given = options_of([*flags, *container["args"]]) | {"upstream_broker": ["amqp://root/"]}
        assert command == "region"
        settings = read(RegionSettings, given | {"shared_login": [given["shared_login"]]})
        assert settings.id == region
        (url,) = [each["value"] for each in container["env"] if "UPSTREAM" in each["name"]]
        places = [each["mountPath"] for each in container["volumeMounts"]]
        assert str(Path(url).parent) in places
        participant = containers(found[f"fanfold-{region}", "participant"])[0]
        taken = read(ParticipantSettings, options_of(participant["args"]))
        assert (taken.partition_index, taken.num_partitions) == (share, 2)


def test_the_service_is_one_and_its_participants_allow_what_it_may_open() -> None:
    """Each with options that exist, and values that fit."""
    found = {
        each["metadata"]["name"]: containers(each)[0]
        for each in rendered("service")
        if containers(each)
    }
    _, command, *flags = found["coordinator"]["command"]
    given = options_of([*flags, *found["coordinator"]["args"]])
    assert command == "serve"
    assert read(ServeSettings, given | {"shared_login": [given["shared_login"]]})
    given = options_of(found["participant"]["args"])
    assert read(ParticipantSettings, given | {"allow": [given["allow"]]}).allow == ("digits",)


def test_the_masked_overlay_gives_keys_where_they_are_mounted() -> None:
    """To coordinator and participant, with options that exist; the coordinator makes its own."""
    pods = {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]
        for each in rendered("masked")
        if containers(each)
    }
    wanted = {
        "coordinator": {"identity", "masks"},
        "participant": {"identity", "coordinator_identity", "masks", "mask_identity"},
    }
    for name, keys in wanted.items():
        container = pods[name]["containers"][0]
        given = options_of(container["args"])
        places = [each["mountPath"] for each in container["volumeMounts"]]
        assert keys <= given.keys()
        assert all(any(given[key].startswith(place) for place in places) for key in keys)
        lists = {each: [given[each]] for each in ("shared_login", "masks") if each in given}
        assert read(SETTINGS[name], given | lists)
    (made,) = pods["coordinator"]["initContainers"]
    (identity,) = [each for each in made["volumeMounts"] if each["name"] == "keys"]
    assert identity["mountPath"] == "/var/lib/fanfold/keys"
    assert made["image"] == pods["coordinator"]["containers"][0]["image"]


def options_of(args: list[str]) -> dict[str, Any]:
    options = dict(each.removeprefix("--").split("=", 1) for each in args)
    return {name.replace("-", "_"): value for name, value in options.items()}


def test_private_data_and_the_last_update_lie_on_volumes() -> None:
    """In the overlay for real use; a pod's own folder would be gone with the pod."""
    (participant,) = (
        each
        for each in rendered("production")
        if each["kind"] == "Deployment" and each["metadata"]["name"] == "participant"
    )
    pod = participant["spec"]["template"]["spec"]
    claims = {v["name"] for v in pod["volumes"] if "persistentVolumeClaim" in v}
    paths = {m["mountPath"]: m["name"] for m in pod["containers"][0]["volumeMounts"]}

    assert "--data=/data" in pod["containers"][0]["args"]
    assert {paths["/data"], paths["/var/lib/fanfold/state"]} <= claims


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
