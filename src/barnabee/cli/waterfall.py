"""A turn's waterfall as lines of text. Pure."""

from __future__ import annotations

from barnabee.store.waterfall import Bar, Waterfall

_WIDTH = 40


def draw(fall: Waterfall, width: int = _WIDTH) -> list[str]:
    """Return the lines of text that show `fall`; a bar is `width` characters at most."""
    lines = [f"turn {fall.trace_id}{_when(fall)}", *_said(fall), ""]
    names = max((len(bar.stage) for bar in fall.bars), default=0)
    for bar in fall.bars:
        budget = f"  over its budget of {bar.budget_ms} ms" if bar.over else ""
        lines.append(
            f"{bar.service:<6}{bar.stage:<{names + 2}}|{_bar(bar, fall.total_ms, width)}|"
            f"{bar.at_ms:>9.1f} +{bar.took_ms:.1f} ms{budget}"
        )
    lines += ["", f"total {fall.total_ms:.1f} ms"]
    lines += [f"error {fault.service}: {fault.message} [{fault.code}]" for fault in fall.faults]
    return lines


def _said(fall: Waterfall) -> list[str]:
    turn, spoken = fall.turn or {}, fall.spoken or {}
    interrupted = spoken.get("interrupted")
    missing = sorted({*turn.get("degraded", ()), *spoken.get("degraded", ())})
    pairs = (
        ("room", spoken.get("room")),
        ("said", turn.get("utterance")),
        ("reply", turn.get("reply")),
        ("intent", turn.get("intent")),
        ("heard by", spoken.get("engine")),
        ("filler", spoken.get("filler")),
        ("cut", f"heard up to: {spoken.get('heard') or 'nothing'}" if interrupted else None),
        ("degraded", ", ".join(missing)),
    )
    return [f"{name:<9} {value}" for name, value in pairs if value]


def _when(fall: Waterfall) -> str:
    moment = (fall.turn or {}).get("created_at") or (fall.spoken or {}).get("said_at")
    return f"  {moment}" if moment else ""


def _bar(bar: Bar, total_ms: float, width: int) -> str:
    scale = width / total_ms if total_ms else 0.0
    begin = min(width - 1, int(bar.at_ms * scale))
    length = max(1, min(width - begin, round(bar.took_ms * scale)))
    return (" " * begin + "#" * length).ljust(width)
