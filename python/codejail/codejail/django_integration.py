"""A middleware that configures at start-up, and is then unused."""

from __future__ import annotations

import typing

from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.utils.deprecation import MiddlewareMixin

from . import django_integration_utils


class ConfigureCodeJailMiddleware(MiddlewareMixin):
    """Applies ``settings.CODE_JAIL`` once; Django leaves it out of the chain afterwards."""

    def __init__(self, *args: typing.Any, **kwargs: typing.Any) -> None:
        django_integration_utils.apply_django_settings(settings.CODE_JAIL)
        super().__init__(*args, **kwargs)
        raise MiddlewareNotUsed
