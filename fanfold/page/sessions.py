"""Who is logged in, and who has tried too often. Plain state; times are seconds of one clock."""

import secrets
from dataclasses import dataclass, field

SESSION_SECONDS = 12 * 3600.0
MOST_SESSIONS = 1000
FREE_TRIES = 5
"""Wrong passwords of one name from one address before a pause."""
FREE_TRIES_OF_ADDRESS = 20
"""Of one address under all names."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 60.0, 900.0
MOST_REMEMBERED = 10_000


@dataclass(slots=True)
class Session:
    """One login of one browser."""

    name: str
    token: str
    """What a form has to bring along, which other sites do not know."""
    ends_at: float
    said: list[tuple[str, bool]] = field(default_factory=list)
    """What is shown next: a sentence, and whether it is a refusal."""


class Sessions:
    """The logins by the secret that the browser's cookie holds; a restart ends all."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}

    def begin(self, name: str, now: float) -> str:
        """Return the secret of a new session; where there are too many, the oldest one ends."""
        for secret in [key for key, each in self._sessions.items() if each.ends_at <= now]:
            del self._sessions[secret]
        while len(self._sessions) >= MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        secret = secrets.token_urlsafe(32)
        self._sessions[secret] = Session(name, secrets.token_urlsafe(32), now + SESSION_SECONDS)
        return secret

    def get(self, secret: str, now: float) -> Session | None:
        """Return a session that has not ended."""
        session = self._sessions.get(secret)
        return session if session is not None and now < session.ends_at else None

    def end(self, secret: str) -> None:
        """End a session."""
        self._sessions.pop(secret, None)


@dataclass(slots=True)
class _Failures:
    count: int = 0
    last_at: float = 0.0


class Attempts:
    """Wrong passwords, each of which makes the pause before the next try longer."""

    def __init__(self) -> None:
        self._failures: dict[tuple[str, ...], _Failures] = {}

    def wait_seconds(self, address: str, name: str, now: float) -> float:
        """Return how long nothing may be tried under this name from this address."""
        pauses = [
            self._pause(key, free, now)
            for key, free in (
                ((address, name), FREE_TRIES),
                ((address,), FREE_TRIES_OF_ADDRESS),
            )
        ]
        return max(pauses)

    def failed(self, address: str, name: str, now: float) -> None:
        """Take note of a wrong password."""
        for key in ((address, name), (address,)):
            failures = self._failures.pop(key, _Failures())
            failures.count, failures.last_at = failures.count + 1, now
            self._failures[key] = failures
        while len(self._failures) > MOST_REMEMBERED:
            del self._failures[next(iter(self._failures))]

    def succeeded(self, address: str, name: str) -> None:
        """Forget the wrong passwords of who knew the right one in the end."""
        self._failures.pop((address, name), None)

    def _pause(self, key: tuple[str, ...], free: int, now: float) -> float:
        failures = self._failures.get(key)
        if failures is None or failures.count < free:
            return 0.0
        doublings = float(min(failures.count - free, 10))
        pause = min(FIRST_PAUSE_SECONDS * 2**doublings, LONGEST_PAUSE_SECONDS)
        return max(0.0, failures.last_at + pause - now)
