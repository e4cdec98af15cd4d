"""What whoever runs the house can mend."""

from __future__ import annotations

from barnabee.core.errors.base import BarnabeeError


class Misconfigured(BarnabeeError):
    """{what}."""

    code = "misconfigured"
    exit_code = 2


class SystemFileInvalid(Misconfigured):
    """{problems}"""

    code = "system_file_invalid"


class SettingMissing(Misconfigured):
    """{name} is not set: {hint}."""

    code = "setting_missing"


class SettingInvalid(Misconfigured):
    """{name} is not usable ({reason}): {hint}."""

    code = "setting_invalid"


class ModelMissing(Misconfigured):
    """The model {model} is not in {directory}: run `barnabee models fetch`, or set
    BARNABEE_MODELS.
    """

    code = "model_missing"


class ModelDamaged(Misconfigured):
    """The model file {path} is damaged ({reason}): delete it and run `barnabee models fetch`."""

    code = "model_damaged"


class PortTaken(Misconfigured):
    """Port {port} of {service} is taken by {owner}: stop that program, or change
    `service.{service}.port` in system.toml.
    """

    code = "port_taken"


class AlreadyRunning(Misconfigured):
    """BarnabeeNet already runs from {home} (pid {pid}): look with `./barnabee status`, or stop it
    with `./barnabee down`.
    """

    code = "already_running"
