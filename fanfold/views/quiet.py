"""A view that shows nothing."""

from fanfold.schemas.events.event import Event
from fanfold.views.view import View


class QuietView(View):
    """Shows nothing; what goes wrong is raised."""

    def _show(self, event: Event) -> None:
        """Show nothing."""
