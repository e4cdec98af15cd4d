/**
 * A list of which only the rows in sight are there. Rows have one height; the list scrolls in
 * itself. More is asked for before the end is seen.
 */
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import "./style.css";

const SPARE_ROWS = 8;
const ASK_AHEAD_ROWS = 60;

interface Props<T> {
  items: T[];
  rowPx: number;
  label: string;
  keyOf: (item: T) => string;
  row: (item: T, index: number) => ComponentChildren;
  /** Called when the end comes near; it may be called often. */
  more?: () => void;
}

/** Which rows are there. Pure. */
export function windowOf(top: number, height: number, rowPx: number, count: number): [number, number] {
  const first = Math.max(0, Math.floor(top / rowPx) - SPARE_ROWS);
  const last = Math.min(count, Math.ceil((top + height) / rowPx) + SPARE_ROWS);
  return [Math.min(first, last), last];
}

export function VirtualList<T>({ items, rowPx, label, keyOf, row, more }: Props<T>) {
  const box = useRef<HTMLDivElement>(null);
  const [seen, setSeen] = useState({ top: 0, height: 800 });
  const look = (): void => {
    const at = box.current;
    if (at) setSeen({ top: at.scrollTop, height: at.clientHeight || 800 });
  };
  useLayoutEffect(look, []);
  useEffect(() => {
    const at = box.current;
    if (!at || typeof ResizeObserver === "undefined") return undefined;
    const observer = new ResizeObserver(look);
    observer.observe(at);
    return () => observer.disconnect();
  }, []);
  const [first, last] = windowOf(seen.top, seen.height, rowPx, items.length);
  useEffect(() => {
    if (more && last + ASK_AHEAD_ROWS >= items.length) more();
  }, [last, items.length]);
  return (
    <div class="virtual" ref={box} onScroll={look} tabIndex={0} role="region" aria-label={label}>
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
