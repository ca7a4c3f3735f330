"""Makes the pictures in docs/images from a real run: `make screenshots`.

The run has a private RabbitMQ node, a coordinator, four participants of which one is stopped during
its training, and a malformed message. A headless Chromium opens the management UI.
"""

import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from browser import Browser
from picture_service import picture_the_service
from rich.console import Console

from fanfold.access.management import ManagementClient
from fanfold.local.broker_node import BrokerNode
from fanfold.page.server import PageServer
from fanfold.page.settings import PageSettings
from fanfold.schemas.events.reading import read_event
from fanfold.schemas.names import UPDATE_KEY, FederationNames
from fanfold.transport import Connection, Outgoing
from fanfold.views.live_view import LiveView

IMAGES = Path(__file__).parent / "images"
FEDERATION = "clinics"
SITES = ("aarhus", "bergen", "cork", "dresden")
SLOW_SITE = "cork"
WIDTH, HEIGHT = 1300, 960
# No web fonts, unlike rich's own format: a picture must not depend on what can be downloaded.
SVG_FORMAT = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 36 {width} {height}">
<style>.{unique_id}-matrix {{ font: {char_height}px DejaVu Sans Mono, monospace }} {styles}</style>
<defs>{lines}</defs><rect y="20" width="{width}" height="{height}" rx="8" fill="#16191d"/>
<g transform="translate({terminal_x}, {terminal_y})">
{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g></svg>"""


def main() -> None:
    """Make all pictures, or none."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Browser(WIDTH, HEIGHT) as browser:
        picture_the_terminal(browser, Path(folder))
        # Statistics every second instead of every five: the pictures wait for them.
        configuration = {"collect_statistics_interval": "1000"}
        with BrokerNode.start(management=True, configuration=configuration) as node:
            sign_in(browser, node)
            with a_federation(node, Path(folder)) as participants:
                bring_about_something_to_see(node, participants[SLOW_SITE])
                picture_the_management_ui(browser)
                picture_the_page(browser, Path(folder) / "run")
            picture_the_service(browser, node, Path(folder) / "service", IMAGES)
    for picture in sorted(IMAGES.glob("*.png")):
        sys.stdout.write(f"{picture.name} {picture.stat().st_size // 1000} kB\n")


def picture_the_terminal(browser: Browser, folder: Path) -> None:
    """Run the demo and take a picture of what it has printed when it ends."""
    console = Console(record=True, width=96, file=io.StringIO())
    console.print("[bold green]$[/] make demo", highlight=False)
    view = LiveView(console)
    command = fanfold("local", "--json", "--participants=4", "--rounds=20", "--out=runs/demo")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as run:
        for line in run.stdout or ():
            event = read_event(line)
            if event is not None:
                view.say(event)
    console.print(view)
    page = folder / "terminal.html"
    svg = console.export_svg(title="", code_format=SVG_FORMAT)
    page.write_text(f"<body style='margin:0'>{svg}</body>", encoding="utf-8")
    browser.open(page.as_uri())
    browser.picture(IMAGES / "terminal.png", "svg")


@contextmanager
def a_federation(node: BrokerNode, folder: Path) -> Iterator[dict[str, "subprocess.Popen[bytes]"]]:
    """Run a coordinator that does not wait for slow participants; yield all processes by name."""
    environment = os.environ | {"FANFOLD_BROKER_URL": node.url}

    def start(*arguments: str) -> "subprocess.Popen[bytes]":
        with (folder / "federation.log").open("ab") as log:
            return subprocess.Popen(
                fanfold(*arguments, f"--federation={FEDERATION}"),
                env=environment,
                stdout=log,
                stderr=log,
            )

    coordinator = start("coordinator", "--goal=2", "--rounds=100000", f"--out={folder}/run")
    participants = {
        name: start(
            "participant",
            f"--id={name}",
            f"--partition-index={i}",
            f"--num-partitions={len(SITES)}",
        )
        for i, name in enumerate(SITES)
    }
    children = [coordinator, *participants.values()]
    try:
        yield participants
    finally:
        for child in children:
            child.send_signal(signal.SIGCONT)  # one of them may be stopped
            child.terminate()
        for child in children:
            child.wait()


def bring_about_something_to_see(node: BrokerNode, slow: "subprocess.Popen[bytes]") -> None:
    """Stop one participant during its training, and send a malformed message."""
    queue = FederationNames(FEDERATION).participant_queue(SLOW_SITE)
    management = ManagementClient(str(node.management_url), login=(node.user, node.password))

    def is_at_work() -> bool:
        slow.send_signal(signal.SIGSTOP)
        time.sleep(2.5)  # until the broker has collected statistics twice
        state = management.get("queues", "/", queue)
        if state.get("messages_unacknowledged") == 1 and state.get("messages_ready") == 1:
            return True
        slow.send_signal(signal.SIGCONT)
        return False

    def federation_runs() -> bool:
        return bool(management.get("queues", "/", queue)["consumers"])

    until(federation_runs)
    until(is_at_work)
    exchange = FederationNames(FEDERATION).reports_exchange
    with Connection([node.url], name="a curious colleague") as connection:
        connection.wait_connected(10)
        connection.publish([Outgoing(exchange, UPDATE_KEY, b"hello?", "Greeting", "greeting/1")])


def picture_the_management_ui(browser: Browser) -> None:
    """Take a picture of each page that an operator uses."""
    show(browser, "#/queues", f"document.body.innerText.includes('{FEDERATION}.dead-letters')")
    time.sleep(6)  # the UI shows message rates only when it has some history
    browser.picture(IMAGES / "queues.png")
    show(browser, "#/connections", "document.body.innerText.includes('participant cork')")
    browser.picture(IMAGES / "connections.png")
    names = FederationNames(FEDERATION)
    show_queue(browser, names.participant_queue(SLOW_SITE))
    time.sleep(6)
    browser.picture(IMAGES / "queue.png")
    read_a_message(browser, IMAGES / "message.png")
    show_queue(browser, names.dead_letters_queue)
    read_a_message(browser, IMAGES / "dead-letter.png")


def picture_the_page(browser: Browser, run: Path) -> None:
    """Take a picture of a run's page on a desk, and of another in the dark on a telephone."""
    with PageServer(run, PageSettings.model_validate({"port": 0})) as server:
        browser.open(server.url)
        browser.wait_for("document.querySelectorAll('#lanes tbody tr').length === 4")
        time.sleep(6)  # lanes show what happens meanwhile
        for name, width, height, scheme in (
            ("page.png", 1280, 860, "light"),
            ("page-phone.png", 390, 860, "dark"),
        ):
            browser.emulate(width, height, scheme=scheme)
            time.sleep(1)
            browser.picture(IMAGES / name)


def show_queue(browser: Browser, queue: str) -> None:
    """Go to the page of one queue."""
    show(
        browser,
        f"#/queues/%2F/{queue}",
        f"document.querySelector('#main h1')?.innerText.includes('{queue}')"
        " && document.querySelector('[name=ackmode]')",
    )


def read_a_message(browser: Browser, path: Path) -> None:
    """Open the section "Get messages" of a queue's page, get one and picture it.

    The page redraws itself every few seconds and removes the message; it is fetched again then.
    """
    until(partial(get_a_message, browser))
    browser.run("""
        for (const each of document.querySelectorAll('body *'))  // the head would cover it
            if (getComputedStyle(each).position === 'fixed') each.style.position = 'absolute';
        document.querySelector('#msg-wrapper').scrollIntoView();
    """)
    browser.picture(path, "#msg-wrapper")


def get_a_message(browser: Browser) -> bool:
    """Press the button, and return True once the whole message is visible.

    Raises:
        TimeoutError: if it takes too long.
    """
    browser.run("""
        const form = document.querySelector('form[action="#/queues/get"]');
        form.querySelector('[name=truncate]').value = 96;  // a tensor's bytes are no sight
        const section = form.closest('.section, .section-hidden, .section-visible');
        if (!$(form).is(':visible')) section.querySelector('h2').click();
        form.querySelector('[type=submit]').click();
    """)
    # The section slides open; the page has jQuery, which knows when the animation is over.
    browser.wait_for(
        "document.querySelector('.msg-payload')"
        " && $('#msg-wrapper').is(':visible') && !$('#msg-wrapper').is(':animated')"
        " && $('#msg-wrapper').height() > $('.msg-payload').height()",
        patience_seconds=4,
    )
    return True


def sign_in(browser: Browser, node: BrokerNode) -> None:
    """Fill in the form of the management UI."""
    browser.open(f"{node.management_url}/")
    browser.wait_for("document.querySelector('[name=username]')")
    browser.run(
        """
        document.querySelector('[name=username]').value = arguments[0];
        document.querySelector('[name=password]').value = arguments[1];
        document.querySelector('#login [type=submit]').click();
        """,
        node.user,
        node.password,
    )
    browser.wait_for("document.querySelector('#tabs')")


def show(browser: Browser, page: str, condition: str) -> None:
    """Go to a page of the management UI and wait until `condition` is true there."""
    browser.run("location.hash = arguments[0]", page)
    browser.wait_for(condition)


def until(condition: Callable[[], bool], patience_seconds: float = 120.0) -> None:
    """Wait until a condition is true; one that raises because something is missing is not yet."""
    deadline = time.monotonic() + patience_seconds
    while True:
        with suppress(Exception):
            if condition():
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{condition} did not come true")
        time.sleep(0.2)


def fanfold(*arguments: str) -> list[Any]:
    """Return the command line of `fanfold` with these arguments."""
    return [sys.executable, "-m", "fanfold", *arguments]


if __name__ == "__main__":
    main()
