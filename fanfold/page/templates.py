"""The page's HTML, from templates beside this file and those of the report."""

from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from rich.filesize import decimal

from fanfold.report.charts import number


def rendered(template: str, **values: Any) -> str:
    """Return a template with its values; text in them is escaped."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=ChoiceLoader(
            [PackageLoader("fanfold.page", "html"), PackageLoader("fanfold.report", ".")]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.filters["bytes"] = decimal
    return environment
