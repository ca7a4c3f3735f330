"""Who is asking, and what they may: logins, cookies and forms of the page."""

import asyncio
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from fanfold.page.sessions import Attempts, Session, Sessions
from fanfold.page.templates import rendered
from fanfold.page.users import Role, Users

COOKIE = "fanfold"
MOST_FORM_BYTES = 16 << 10
MOST_FIELDS = 20
HASHES_AT_A_TIME = 2
"""Each takes 32 MB."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks: a user who is logged in."""

    name: str
    role: Role
    session: Session

    @property
    def may_act(self) -> bool:
        """Whether it is an operator."""
        return self.role == "operator"

    @property
    def token(self) -> str:
        """What forms of this viewer bring along."""
        return self.session.token


class Guard:
    """Lets in who has logged in; without users everybody who reaches the page may look.

    Args:
        users: who may log in; None where no login is asked for, and nothing can be done.
        is_secure: whether cookies travel by TLS alone.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        users: Users | None,
        *,
        is_secure: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._users = users
        self._is_secure = is_secure
        self._clock = clock
        self._sessions = Sessions()
        self._attempts = Attempts()
        self._hashes = asyncio.Semaphore(HASHES_AT_A_TIME)

    def viewer(self, request: Request) -> Viewer | None:
        """Return who is asking; None where no login is asked for.

        Raises:
            NotLoggedInError: if one is, and nobody has logged in, or is no user any more.
        """
        if self._users is None:
            return None
        session = self._sessions.get(request.cookies.get(COOKIE, ""), self._clock())
        role = None if session is None else self._users.role_of(session.name)
        if session is None or role is None:
            raise NotLoggedInError
        return Viewer(session.name, role, session)

    async def operator(self, request: Request) -> tuple[Viewer, dict[str, str]]:
        """Return who asks for an action, and the form: it is an operator, and its own form.

        Raises:
            HTTPException: if not.
            NotLoggedInError: if nobody has logged in.
        """
        viewer, form = await self.own_form(request)
        if not viewer.may_act:
            raise HTTPException(403, f"{viewer.name} is a viewer: ask an operator to do that")
        return viewer, form

    async def own_form(self, request: Request) -> tuple[Viewer, dict[str, str]]:
        """Return who sent a form of ours; one that another site made is refused.

        Raises:
            HTTPException: if somebody else made it, or nobody is to act here.
        """
        check_origin(request)
        viewer = self.viewer(request)
        if viewer is None:
            raise HTTPException(403, "this page only shows: fanfold serve acts, after a login")
        form = await read_form(request)
        if not hmac.compare_digest(form.get("token", "").encode(), viewer.token.encode()):
            raise HTTPException(403, "the form is not of this login: load the page again")
        return viewer, form

    async def show_login(self, request: Request) -> Response:
        """Show the form of the login."""
        return self._form(request.query_params.get("next", "/"))

    async def login(self, request: Request) -> Response:
        """Take a name and a password."""
        if self._users is None:
            return RedirectResponse("/", status_code=303)
        check_origin(request)
        form = await read_form(request)
        name, way = form.get("name", "")[:64], form.get("next", "/")
        address = request.client.host if request.client else ""
        wait = self._attempts.wait_seconds(address, name, self._clock())
        if wait > 0:
            problem = f"too many wrong passwords: try again in {wait:.0f} s"
            return self._form(way, problem, status=429)
        async with self._hashes:
            role = await asyncio.to_thread(self._users.check, name, form.get("password", ""))
        if role is None:
            self._attempts.failed(address, name, self._clock())
            return self._form(way, "name or password is wrong", status=401)
        self._attempts.succeeded(address, name)
        answer = RedirectResponse(local_way(way), status_code=303)
        answer.set_cookie(
            COOKIE,
            self._sessions.begin(name, self._clock()),
            httponly=True,
            secure=self._is_secure,
            samesite="strict",
        )
        return answer

    async def logout(self, request: Request) -> Response:
        """End the session."""
        await self.own_form(request)
        self._sessions.end(request.cookies.get(COOKIE, ""))
        return RedirectResponse("/login", status_code=303)

    @staticmethod
    def _form(way: str, problem: str = "", *, status: int = 200) -> Response:
        text = rendered("login.html.jinja", way=local_way(way), problem=problem, viewer=None)
        return HTMLResponse(text, status_code=status)


class NotLoggedInError(Exception):
    """Raised when somebody asks for what takes a login."""


async def to_login(request: Request, _error: Exception) -> Response:
    """Send who has not logged in to where that is done."""
    if request.method != "GET" or request.url.path.endswith("/stream"):
        return HTMLResponse("log in first\n", status_code=401)
    return RedirectResponse(f"/login?next={quote(request.url.path)}", status_code=303)


def check_origin(request: Request) -> None:
    """Refuse what another site has a browser send.

    Raises:
        HTTPException: if the browser says that it is so.
    """
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise HTTPException(403, "another site asked for this: nothing was done")


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form; its size is checked before it is read.

    Raises:
        HTTPException: if it is too large, or none.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_FORM_BYTES:
            raise HTTPException(413, "the form is too large")
    try:
        return dict(parse_qsl(body.decode(), max_num_fields=MOST_FIELDS))
    except ValueError:
        raise HTTPException(400, "that is no form of this page") from None


def local_way(way: str) -> str:
    """Return where to go after the login: a place of this page, and none of another site."""
    is_ours = way.startswith("/") and not way.startswith(("//", "/\\"))
    return way if is_ours and urlsplit(way).netloc == "" else "/"
