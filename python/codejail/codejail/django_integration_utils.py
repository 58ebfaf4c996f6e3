"""``settings.CODE_JAIL``, without Django."""

from __future__ import annotations

import typing

from . import jail_code


def apply_django_settings(code_jail_settings: typing.Mapping[str, typing.Any]) -> None:
    """Configures from a dictionary: ``python_bin`` and ``user``, ``limits``, ``limit_overrides``."""
    python_bin = code_jail_settings.get("python_bin")
    if python_bin:
        # Those who name no user find out here, as they always did.
        jail_code.configure("python", python_bin, user=code_jail_settings["user"])
    for name, value in code_jail_settings.get("limits", {}).items():
        jail_code.set_limit(limit_name=name, value=value)
    for context, overrides in code_jail_settings.get("limit_overrides", {}).items():
        for name, value in overrides.items():
            jail_code.override_limit(limit_name=name, value=value, limit_overrides_context=context)
