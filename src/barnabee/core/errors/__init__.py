"""The error tree of BarnabeeNet.

    BarnabeeError
    ├── BadInput            the client can fix it (4xx, exit 2)
    │   ├── BadRequest · InvalidAudio · InvalidUtterance · TooLarge · NotFound · RateLimited
    │   ├── Unauthorized · Forbidden · LinkInvalid · CrossSiteRequest
    │   └── ModelInUse · MicrophoneReplaced · AudioTooFast
    ├── Misconfigured       the operator can fix it (500, exit 2)
    │   ├── SystemFileInvalid · SettingMissing · SettingInvalid
    │   └── ModelMissing · ModelDamaged · PortTaken · AlreadyRunning
    ├── HomeRefused         Home Assistant answers, and does not do it (502, exit 1)
    └── Unavailable         retrying may help (503, exit 1)
        ├── DependencyDown · StillLoading · Overloaded · QueueFull · TimedOut · NotRunning
        ├── StateUnknown · LlmFailed
        ├── VramTooLarge · VramNotEvictable · VramUsedByOthers · VramNotReleased · VramExhausted
        ├── DatabaseCorrupt · DatabaseReadOnly · DatabaseFull · DatabaseTooNew · DatabaseMismatch
        ├── BackupUnreachable · BackupDamaged · BackupFailed
        └── EngineStuck · SetupFailed · ProbeFailed · AlertNotDelivered · LeaseNotHeld

The class docstring is the message; keyword arguments fill its placeholders. `code` appears in HTTP
bodies, metric labels, log lines and the dashboard.
"""

from __future__ import annotations

from barnabee.core.errors.permanent import (
    AlreadyRunning,
    AudioTooFast,
    BadInput,
    BadRequest,
    BarnabeeError,
    CrossSiteRequest,
    Forbidden,
    InvalidAudio,
    InvalidUtterance,
    LinkInvalid,
    MicrophoneReplaced,
    Misconfigured,
    ModelDamaged,
    ModelInUse,
    ModelMissing,
    NotFound,
    PortTaken,
    RateLimited,
    SettingInvalid,
    SettingMissing,
    SystemFileInvalid,
    TooLarge,
    Unauthorized,
)
from barnabee.core.errors.transient import (
    AlertNotDelivered,
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
    HomeRefused,
    LeaseNotHeld,
    LlmFailed,
    LlmFailureCode,
    NotRunning,
    Overloaded,
    ProbeFailed,
    QueueFull,
    SetupFailed,
    StateUnknown,
    StillLoading,
    TimedOut,
    Unavailable,
    VramExhausted,
    VramNotEvictable,
    VramNotReleased,
    VramTooLarge,
    VramUsedByOthers,
)

__all__ = [
    "AlertNotDelivered",
    "AlreadyRunning",
    "AudioTooFast",
    "BackupDamaged",
    "BackupFailed",
    "BackupUnreachable",
    "BadInput",
    "BadRequest",
    "BarnabeeError",
    "CrossSiteRequest",
    "DatabaseCorrupt",
    "DatabaseFull",
    "DatabaseMismatch",
    "DatabaseReadOnly",
    "DatabaseTooNew",
    "DependencyDown",
    "EngineStuck",
    "Forbidden",
    "HomeRefused",
    "InvalidAudio",
    "InvalidUtterance",
    "LeaseNotHeld",
    "LinkInvalid",
    "LlmFailed",
    "LlmFailureCode",
    "MicrophoneReplaced",
    "Misconfigured",
    "ModelDamaged",
    "ModelInUse",
    "ModelMissing",
    "NotFound",
    "NotRunning",
    "Overloaded",
    "PortTaken",
    "ProbeFailed",
    "QueueFull",
    "RateLimited",
    "SettingInvalid",
    "SettingMissing",
    "SetupFailed",
    "StateUnknown",
    "StillLoading",
    "SystemFileInvalid",
    "TimedOut",
    "TooLarge",
    "Unauthorized",
    "Unavailable",
    "VramExhausted",
    "VramNotEvictable",
    "VramNotReleased",
    "VramTooLarge",
    "VramUsedByOthers",
]
