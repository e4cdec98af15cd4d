/**
 * Virtual list: renders only the visible rows, which all have the same height. More items are
 * requested before the end is visible.
 */
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import "./style.css";

const OVERSCAN_ROWS = 8;
const PREFETCH_ROWS = 60;

interface Props<T> {
  items: T[];
  rowPx: number;
  label: string;
  keyOf: (item: T) => string;
  row: (item: T, index: number) => ComponentChildren;
  /** Called near the end of the list, possibly often. */
  more?: () => void;
}

/** Returns the range of rendered rows. Pure. */
export function computeVisibleRows(top: number, height: number, rowPx: number, count: number): [number, number] {
  const first = Math.max(0, Math.floor(top / rowPx) - OVERSCAN_ROWS);
  const last = Math.min(count, Math.ceil((top + height) / rowPx) + OVERSCAN_ROWS);
  return [Math.min(first, last), last];
}

export function VirtualList<T>({ items, rowPx, label, keyOf, row, more }: Props<T>) {
  const box = useRef<HTMLDivElement>(null);
  const [viewport, setViewport] = useState({ top: 0, height: 800 });
  const measure = (): void => {
    const at = box.current;
    if (at) setViewport({ top: at.scrollTop, height: at.clientHeight || 800 });
  };
  useLayoutEffect(measure, []);
  useEffect(() => {
    const at = box.current;
    if (!at || typeof ResizeObserver === "undefined") return undefined;
    const observer = new ResizeObserver(measure);
    observer.observe(at);
    return () => observer.disconnect();
  }, []);
  const [first, last] = computeVisibleRows(viewport.top, viewport.height, rowPx, items.length);
  useEffect(() => {
    if (more && last + PREFETCH_ROWS >= items.length) more();
  }, [last, items.length]);
  return (
    <div class="virtual-list" ref={box} onScroll={measure} tabIndex={0} role="region" aria-label={label}>
      <ul style={{ height: `${items.length * rowPx}px` }} aria-label={label}>
        {items.slice(first, last).map((item, index) => (
          <li
            key={keyOf(item)}
            aria-setsize={items.length}
            aria-posinset={first + index + 1}
            style={{ height: `${rowPx}px`, transform: `translateY(${(first + index) * rowPx}px)` }}
          >
            {row(item, first + index)}
          </li>
        ))}
      </ul>
    </div>
  );
}
