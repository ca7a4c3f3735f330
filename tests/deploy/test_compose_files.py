"""What the compose files and the image say, without starting any of it."""

import os
import re
import ssl
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from programs import program
from pydantic import BaseModel

from fanfold.api.reading import read
from fanfold.coordinator.settings import CoordinatorSettings
from fanfold.keeper.settings import KeeperSettings
from fanfold.page.server import PageServer
from fanfold.page.settings import PageSettings
from fanfold.participant.settings import ParticipantSettings
from fanfold.region.settings import RegionSettings
from fanfold.serving.settings import ServeSettings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PUBLIC = ["compose.yaml", "compose.tls.yaml", "compose.public.yaml"]
VARIANTS = {
    "compose.yaml": ["compose.yaml"],
    "compose.cluster.yaml": ["compose.yaml", "compose.cluster.yaml"],
    "compose.gpu.yaml": ["compose.yaml", "compose.gpu.yaml"],
    "compose.regions.yaml": ["compose.yaml", "compose.regions.yaml"],
    "compose.service.yaml": ["compose.yaml", "compose.service.yaml"],
    "compose.tls.yaml": ["compose.yaml", "compose.tls.yaml"],
    "compose.public.yaml": PUBLIC,
    "compose.private.yaml": ["compose.private.yaml"],
    "compose.sealed.yaml": ["compose.private.yaml", "compose.sealed.yaml"],
    "compose.masked.yaml": ["compose.private.yaml", "compose.sealed.yaml", "compose.masked.yaml"],
    "compose.sealed-coordinator.yaml": [*PUBLIC, "compose.sealed-coordinator.yaml"],
    "compose.masked-coordinator.yaml": [
        *PUBLIC,
        "compose.sealed-coordinator.yaml",
        "compose.masked-coordinator.yaml",
    ],
    "compose.keeper.yaml": ["compose.keeper.yaml"],
}


def version() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return str(project["project"]["version"])


def services_of(file: str) -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((DEPLOY / file).read_text())["services"]
    return services


def test_there_is_no_other_compose_file() -> None:
    assert {path.name for path in DEPLOY.glob("compose*.yaml")} == set(VARIANTS)


@pytest.mark.parametrize("file", VARIANTS)
def test_compose_itself_accepts_the_files(file: str) -> None:
    """Together with those that they stand on."""
    compose = program("docker-compose", package="docker-compose")
    command = [compose, *(f"--file={DEPLOY / each}" for each in VARIANTS[file]), "config"]
    given = {
        "FANFOLD_CREDENTIALS_FILE": "/credentials",
        "FANFOLD_DATA": "/data",
        "FANFOLD_IDENTITY": "/identity",
        "FANFOLD_KEEPER": "/keeper.pub",
        "FANFOLD_ROSTER": "/roster",
        "FANFOLD_PUBLIC_HOST": "broker.example",
    }
    done = subprocess.run(
        command, env=os.environ | given, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


SETTINGS: dict[str, type[BaseModel]] = {
    "coordinator": CoordinatorSettings,
    "participant": ParticipantSettings,
    "keeper": KeeperSettings,
    "north": RegionSettings,
    "south": RegionSettings,
    "north-participant": ParticipantSettings,
    "south-participant": ParticipantSettings,
}


@pytest.mark.parametrize("service", SETTINGS)
@pytest.mark.parametrize("file", VARIANTS)
def test_our_services_understand_their_arguments(file: str, service: str) -> None:
    """What stands in a command are options that exist, with defaults that fit."""
    command = services_of(file).get(service, {}).get("command", [])
    model = ServeSettings if "service" in file and service == "coordinator" else SETTINGS[service]
    shown = [re.sub(r"\$\{\w+:-(.*?)\}", r"\1", each) for each in command]
    options = dict(each.removeprefix("--").split("=", 1) for each in shown if "=" in each)
    assert {each for each in shown if "=" not in each} <= {"--no-restored"}
    given: dict[str, Any] = {name.replace("-", "_"): value for name, value in options.items()}
    for name in given.keys() & {"shared_login", "allow", "masks"}:
        given[name] = [given[name]]

    assert set(given) <= set(model.model_fields)
    if command:
        named: dict[type[BaseModel], dict[str, Any]] = {
            ParticipantSettings: {} if "slots" in given else {"id": "a"},
            KeeperSettings: {"state_dir": "state"},  # the image names it
            RegionSettings: {"upstream_broker": ("amqp://root/",)},  # a file names it
        }
        assert read(model, given | named.get(model, {}))


@pytest.mark.parametrize(
    ("file", "sealed", "masked"),
    [
        ("compose.sealed.yaml", {"identity"}, set()),
        ("compose.sealed-coordinator.yaml", {"identity"}, set()),
        ("compose.masked.yaml", {"identity"}, {"masks", "mask-identity"}),
        ("compose.masked-coordinator.yaml", {"identity"}, {"masks", "masks-at-least"}),
    ],
)
def test_keys_are_given_where_they_are_mounted(
    file: str, sealed: set[str], masked: set[str]
) -> None:
    """Every option that names a key has its place among the volumes of the files together."""
    (name,) = services_of(file)
    command = services_of(file)[name]["command"]
    options = dict(each.removeprefix("--").split("=", 1) for each in command if "=" in each)
    assert options.keys() >= sealed | masked
    mounts = [
        re.sub(r"\$\{.*?\}", "", volume).split(":")[1]
        for each in VARIANTS[file]
        for volume in services_of(each).get(name, {}).get("volumes", [])
    ]
    for option in (sealed | masked) - {"masks-at-least"}:
        assert options[option] in mounts


def test_regions_differ_in_name_and_in_their_share_of_the_data() -> None:
    """What stands there twice is the same twice; their brokers are like the root's."""
    services = services_of("compose.regions.yaml")
    parts = ("", "-secrets", "-broker", "-participant")
    north, south = (
        yaml.safe_dump({part: services[f"{region}{part}"] for part in parts}).replace(region, "R")
        for region in ("north", "south")
    )
    assert south == north.replace("--partition-index=0", "--partition-index=1")
    root = {**services_of("compose.yaml")["broker"]}
    del root["ports"]  # whoever wants to see into a region publishes its port, too
    own = yaml.safe_dump(services["north-broker"]).replace("north-", "")
    assert {**yaml.safe_load(own), "networks": None} == {**root, "networks": None}


def test_participants_of_a_region_reach_nobody_but_their_broker() -> None:
    """The region alone is in two networks."""
    services = services_of("compose.regions.yaml")
    assert services["north"]["networks"] == ["default", "north"]
    for inside in ("north-broker", "north-participant"):
        assert services[inside]["networks"] == ["north"]


def test_replicas_that_share_a_gpu_leave_each_other_room() -> None:
    assert any(
        "--device-memory-fraction=" in c
        for c in services_of("compose.gpu.yaml")["participant"]["command"]
    )


def test_images_and_manifests_bear_the_version_of_the_package() -> None:
    """The label of the image, and the tag that the production overlay asks for."""
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    overlay = DEPLOY / "kubernetes" / "overlays" / "production" / "kustomization.yaml"
    tags = {image["newTag"] for image in yaml.safe_load(overlay.read_text())["images"]}

    assert re.findall(r"^ARG VERSION=(.*)$", dockerfile, re.MULTILINE) == [version()]
    assert tags == {version()}


def test_the_image_gets_every_package_that_ours_links_to() -> None:
    """What .dockerignore leaves out is a link to nothing there."""
    taken = (ROOT / ".dockerignore").read_text().splitlines()
    links = {path.readlink().name for path in (ROOT / "fanfold").iterdir() if path.is_symlink()}
    assert links <= {line.removeprefix("!") for line in taken}


def test_the_image_asks_for_extras_that_there_are() -> None:
    """By name, in the line that reads them from pyproject.toml."""
    asked = re.findall(r'extras\["(\w+)"\]', (DEPLOY / "Dockerfile").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert asked
    assert set(asked) <= project["optional-dependencies"].keys()


def test_the_page_of_the_service_gets_a_certificate_and_a_login(tmp_path: Path) -> None:
    """By the script that stands in the file; a second start changes nothing, and both are used."""
    secrets, page = tmp_path / "secrets", tmp_path / "page"
    page.mkdir()
    subprocess.run([sys.executable, DEPLOY / "rabbitmq" / "make_secrets.py", secrets], check=True)
    (script,) = services_of("compose.service.yaml")["page-login"]["command"]
    for there, here in (("/run/fanfold-page", page), ("/run/fanfold/", f"{secrets}/")):
        script = script.replace(there, str(here))
    script = script.replace("$$", "$").replace("chown 10001", "ls")
    environment = os.environ | {
        "PAGE_HOSTS": "localhost 127.0.0.1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    for _ in range(2):
        subprocess.run(["sh", "-ec", script], env=environment, check=True)
    command = services_of("compose.service.yaml")["coordinator"]["command"]
    (host,) = [each.removeprefix("--page-host=") for each in command if "--page-host=" in each]
    settings = PageSettings(
        port=0,
        host=host,
        users=page / "users.json",
        certificate=page / "page.pem",
        key=page / "page-key.pem",
    )
    trusted = ssl.create_default_context(cafile=page / "ca.pem")
    password = (secrets / "page-password").read_text()
    with PageServer(tmp_path, settings) as server:
        url = server.url.replace(host, "localhost")
        with httpx.Client(base_url=url, verify=trusted) as client:
            answer = client.post("/login", data={"name": "operator", "password": password})
            assert (answer.status_code, answer.headers["location"]) == (303, "/")
