"""Every failure a person or a program can meet, as one tree.

    BarnabeeError
    ├── BadInput            the caller can mend it (4xx, exit 2)
    │   ├── BadRequest · InvalidAudio · InvalidUtterance · TooLarge · NotFound
    │   ├── Unauthorized · LinkUsed · CrossSite · ModelInUse · Replaced · TooFast
    │   └── RateLimited
    ├── Misconfigured       whoever runs the house can mend it (500, exit 2)
    │   ├── SystemFileInvalid · SettingMissing · SettingInvalid
    │   └── ModelMissing · ModelDamaged · PortTaken · AlreadyRunning
    └── Unavailable         it may pass by itself (503, exit 1)
        ├── DependencyDown · Loading · Overloaded · QueueFull · TimedOut · NotRunning · SetUpFailed
        ├── VramTooLarge · VramKept · VramTaken · VramStuck · VramExhausted · EngineStuck
        ├── DatabaseCorrupt · DatabaseReadOnly · DatabaseFull · DatabaseTooNew · DatabaseMismatch
        ├── BackupUnreachable · BackupDamaged · BackupFailed
        └── ProbeFailed · AlertLost · NotTheHolder

The class docstring *is* the message: its fields are filled by keyword. `code` is the same word in
an HTTP body, a metric label, a log line and on the dashboard. This package knows no service.
"""

from __future__ import annotations

from barnabee.core.errors.base import BarnabeeError
from barnabee.core.errors.client import (
    BadInput,
    BadRequest,
    CrossSite,
    InvalidAudio,
    InvalidUtterance,
    LinkUsed,
    ModelInUse,
    NotFound,
    RateLimited,
    Replaced,
    TooFast,
    TooLarge,
    Unauthorized,
)
from barnabee.core.errors.config import (
    AlreadyRunning,
    Misconfigured,
    ModelDamaged,
    ModelMissing,
    PortTaken,
    SettingInvalid,
    SettingMissing,
    SystemFileInvalid,
)
from barnabee.core.errors.transient import (
    AlertLost,
    BackupDamaged,
    BackupFailed,
    BackupUnreachable,
    DatabaseCorrupt,
    DatabaseFull,
    DatabaseMismatch,
    DatabaseReadOnly,
    DatabaseTooNew,
    DependencyDown,
    EngineStuck,
    Loading,
    NotRunning,
    NotTheHolder,
    Overloaded,
    ProbeFailed,
    QueueFull,
    SetUpFailed,
    TimedOut,
    Unavailable,
    VramExhausted,
    VramKept,
    VramStuck,
    VramTaken,
    VramTooLarge,
)

__all__ = [
    "AlertLost",
    "AlreadyRunning",
    "BackupDamaged",
    "BackupFailed",
    "BackupUnreachable",
    "BadInput",
    "BadRequest",
    "BarnabeeError",
    "CrossSite",
    "DatabaseCorrupt",
    "DatabaseFull",
    "DatabaseMismatch",
    "DatabaseReadOnly",
    "DatabaseTooNew",
    "DependencyDown",
    "EngineStuck",
    "InvalidAudio",
    "InvalidUtterance",
    "LinkUsed",
    "Loading",
    "Misconfigured",
    "ModelDamaged",
    "ModelInUse",
    "ModelMissing",
    "NotFound",
    "NotRunning",
    "NotTheHolder",
    "Overloaded",
    "PortTaken",
    "ProbeFailed",
    "QueueFull",
    "RateLimited",
    "Replaced",
    "SetUpFailed",
    "SettingInvalid",
    "SettingMissing",
    "SystemFileInvalid",
    "TimedOut",
    "TooFast",
    "TooLarge",
    "Unauthorized",
    "Unavailable",
    "VramExhausted",
    "VramKept",
    "VramStuck",
    "VramTaken",
    "VramTooLarge",
]
