"""A figure that a notebook shows, whatever backend matplotlib has there."""

from io import BytesIO

from matplotlib.figure import Figure


class Picture(Figure):
    """A figure of matplotlib; `savefig` writes it to a file."""

    def _repr_png_(self) -> bytes:
        """Return the picture for a notebook, which knows figures of pyplot only."""
        stream = BytesIO()
        self.savefig(stream, format="png")
        return stream.getvalue()
