"""Settings as options of a command line."""

from pydantic import BaseModel


def flags_of(settings: BaseModel) -> list[str]:
    """Return the options for all settings that differ from their defaults."""
    flags = []
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        option = name.replace("_", "-")
        if value == field.get_default():
            continue
        if isinstance(value, tuple):
            flags += [f"--{option}={each}" for each in value]
        elif isinstance(value, bool):
            flags.append(f"--{option}" if value else f"--no-{option}")
        else:
            flags.append(f"--{option}={value}")
    return flags
