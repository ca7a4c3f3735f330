"""Logs are events with fields, one line each, on standard error."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

_bound: dict[str, Any] = {}


def bind(**fields: Any) -> None:
    """Add fields to every log line from now on, in all threads."""
    _bound.update(fields)


def set_up(log_format: Literal["text", "json"], **bound: Any) -> None:
    """Send all logs, those of libraries too, through one formatter.

    Args:
        log_format: `text` for people, `json` for programs.
        bound: fields of every line, such as the federation.
    """
    _bound.clear()
    bind(**bound)

    def add_bound(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Any:
        """Add the fields; structlog's context variables would add them in one thread only."""
        return {**_bound, **event}

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        add_bound,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=shared,
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("pika").setLevel(
        logging.CRITICAL
    )  # transport logs what matters of pika's events itself
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it writes a line for every request
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
