"""The page's addresses, and what each of them answers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import fanfold.report
from fanfold.coordinator.persistence.model_names import BEST, MODEL, SUFFIX
from fanfold.page.actions import ACTIONS, DONE, Operations
from fanfold.page.catalogue import Catalogue
from fanfold.page.curves import MOST_RUNS, curves_of
from fanfold.page.guard import Guard, NotLoggedInError, to_login
from fanfold.page.headers import SecureHeaders
from fanfold.page.screen import LOOK_SECONDS, Screen, Seen
from fanfold.page.templates import rendered
from fanfold.registry.models import kept_path
from fanfold.runs.run_data import RunData
from fanfold.schemas.errors import InvalidInputError

STATIC = Path(__file__).parent / "static"
LOOK = Path(fanfold.report.__file__).parent / "look.css"
BEAT_LOOKS = 40
"""After so many without news something is sent: so a connection that is gone is noticed."""
MOST_VIEWERS = 64


class Page:
    """Answers requests about the runs of a catalogue.

    Args:
        catalogue: which runs there are.
        guard: who may look, and who may act.
        operations: does what operators ask; None where there is only a folder.
        is_ending: whether the server ends, and with it every stream.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        guard: Guard,
        operations: Operations | None,
        is_ending: Callable[[], bool],
    ) -> None:
        self._catalogue = catalogue
        self._guard = guard
        self._operations = operations
        self._is_ending = is_ending
        self._viewers = 0

    def app(self, *, hosts: frozenset[str] | None) -> Starlette:
        """Return the application; it answers under these names alone, if any are given."""
        return Starlette(
            routes=[
                Route("/", self.runs),
                Route("/compare", self.compare),
                Route("/compare/curves", self.compared_curves),
                Route("/health", health),
                Route("/login", self._guard.show_login),
                Route("/login", self._guard.login, methods=["POST"]),
                Route("/logout", self._guard.logout, methods=["POST"]),
                Route("/static/look.css", look),
                Mount("/static", StaticFiles(directory=STATIC)),
                Route("/runs/{name:path}/stream", self.stream),
                Route("/runs/{name:path}/versions/{version:int}.safetensors", self.model),
                Route("/runs/{name:path}/{file}.safetensors", self.model),
                Route("/runs/{name:path}/do", self.act, methods=["POST"]),
                Route("/runs/{name:path}", self.run),
            ],
            middleware=[Middleware(SecureHeaders, hosts=hosts)],
            exception_handlers={
                HTTPException: problem,
                InvalidInputError: problem,
                NotLoggedInError: to_login,
            },
        )

    async def runs(self, request: Request) -> Response:
        """List the runs; a single one is shown at once."""
        viewer = self._guard.viewer(request)
        listed = await asyncio.to_thread(self._catalogue.listed)
        if len(listed) == 1:
            return RedirectResponse(f"/runs/{quote(listed[0].name)}", status_code=303)
        folder = self._catalogue.folder
        text = rendered("runs.html.jinja", runs=listed, viewer=viewer, folder=folder)
        return HTMLResponse(text)

    async def run(self, request: Request) -> Response:
        """Show a run; its stream brings what there is to see."""
        viewer = self._guard.viewer(request)
        screen = self._screen(request)
        said = [] if viewer is None else viewer.session.said
        text = rendered(
            "run.html.jinja",
            name=screen.run.name,
            viewer=viewer,
            said=said,
            may_act=self._operations is not None and viewer is not None and viewer.may_act,
        )
        said.clear()
        return HTMLResponse(text)

    async def act(self, request: Request) -> Response:
        """Do what an operator asks, and show the run again with what came of it."""
        viewer, form = await self._guard.operator(request)
        run = self._screen(request).run.name
        participant = form.get("participant", "")
        action = next((each for each in ACTIONS if each == form.get("action")), None)
        is_known = action is not None or (form.get("action") == "revoke" and participant)
        if self._operations is None or not is_known:
            raise HTTPException(400, "that cannot be done here")
        try:
            if action is None:
                await asyncio.to_thread(self._operations.revoke, participant, who=viewer.name)
                said = f"{participant} is revoked: its login is gone"
            else:
                await asyncio.to_thread(self._operations.do, run, action, who=viewer.name)
                said = DONE[action].format(run=run)
            viewer.session.said.append((said, False))
        except InvalidInputError as refusal:
            viewer.session.said.append((str(refusal), True))
        return RedirectResponse(f"/runs/{quote(run)}", status_code=303)

    async def stream(self, request: Request) -> Response:
        """Send a run's news as they come, as server-sent events."""
        self._guard.viewer(request)
        screen = self._screen(request)
        if self._viewers >= MOST_VIEWERS:
            raise HTTPException(503, f"{MOST_VIEWERS} browsers look already: close some of them")
        return StreamingResponse(
            self._news(screen, is_welcome=lambda: self._is_welcome(request)),
            media_type="text/event-stream",
            headers={"X-Accel-Buffering": "no"},  # a proxy would keep the events back
        )

    def _is_welcome(self, request: Request) -> bool:
        """Whether who looks may still do so."""
        try:
            self._guard.viewer(request)
        except NotLoggedInError:
            return False
        return True

    async def _news(self, screen: Screen, *, is_welcome: Callable[[], bool]) -> AsyncIterator[str]:
        seen, quiet, problem_told = Seen(), 0, ""
        self._viewers += 1
        try:
            while not self._is_ending():
                quiet += 1
                if quiet % BEAT_LOOKS == 0 and not is_welcome():
                    return
                try:
                    frame = await asyncio.to_thread(screen.news, seen)
                except OSError as error:
                    text = f"{error.filename} cannot be read ({error.strerror}): trying again"
                    if text != problem_told:
                        yield f"event: problem\ndata: {text}\n\n"
                    problem_told, frame = text, None
                if frame is not None:
                    yield f"data: {frame}\n\n"
                    quiet, problem_told = 0, ""
                elif quiet >= BEAT_LOOKS:
                    yield ": nothing new\n\n"
                    quiet = 0
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            self._viewers -= 1

    async def model(self, request: Request) -> Response:
        """Send a model's file."""
        self._guard.viewer(request)
        screen = self._screen(request)
        version = request.path_params.get("version")
        name = f"{request.path_params.get('file', version)}{SUFFIX}"
        path = screen.run.folder / name
        if version is not None:
            path = kept_path(screen.run.folder, version)
        if (version is None and name not in (MODEL, BEST)) or not path.is_file():
            raise HTTPException(404, f"the run {screen.run.name} has no {name} yet")
        return FileResponse(path, filename=f"{screen.run.name.replace('/', '-')}-{name}")

    async def compare(self, request: Request) -> Response:
        """Show the curves of several runs over each other."""
        viewer = self._guard.viewer(request)
        runs = await asyncio.to_thread(self._compared, request)
        curves = curves_of(runs)
        text = rendered("compare.html.jinja", names=list(runs), curves=curves, viewer=viewer)
        return HTMLResponse(text)

    async def compared_curves(self, request: Request) -> Response:
        """Send the curves alone, as they are now."""
        self._guard.viewer(request)
        runs = await asyncio.to_thread(self._compared, request)
        return HTMLResponse(rendered("curves.html.jinja", curves=curves_of(runs)))

    def _compared(self, request: Request) -> dict[str, RunData]:
        names = list(dict.fromkeys(request.query_params.getlist("run")))
        if not names:
            raise HTTPException(400, "choose the runs to compare in the list of runs")
        if len(names) > MOST_RUNS:
            raise HTTPException(400, f"choose at most {MOST_RUNS} runs: there are as many colours")
        return {name: self._named(name).look().data for name in names}

    def _screen(self, request: Request) -> Screen:
        return self._named(request.path_params["name"])

    def _named(self, name: str) -> Screen:
        screen = self._catalogue.screen(name)
        if screen is None:
            raise HTTPException(404, f"there is no run {name} here")
        return screen


async def health(_request: Request) -> Response:
    """Say that the server is alive."""
    return PlainTextResponse("alive\n")


async def look(_request: Request) -> Response:
    """Send what the page shares with the report."""
    return FileResponse(LOOK)


async def problem(_request: Request, error: Exception) -> Response:
    """Say in words why something cannot be shown."""
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.CONFLICT
    text = error.detail if isinstance(error, HTTPException) else str(error)
    title = "Not found" if status == HTTPStatus.NOT_FOUND else "That is not possible"
    return HTMLResponse(
        rendered("problem.html.jinja", title=title, text=text, viewer=None), status_code=status
    )
