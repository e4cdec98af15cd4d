/** How loud the microphone is, 0 to 1, drawn straight into the page without a render for each. */
import { useEffect, useRef } from "preact/hooks";
import "./style.css";

interface Props {
  /** Asked for each frame while it is shown. */
  level: () => number;
  label: string;
}

export function Meter({ level, label }: Props) {
  const bar = useRef<HTMLSpanElement>(null);
  useEffect(() => {
    let frame = 0;
    let shown = 0;
    const draw = (): void => {
      shown = Math.max(level(), shown * 0.86);
      bar.current?.style.setProperty("transform", `scaleX(${shown.toFixed(3)})`);
      frame = requestAnimationFrame(draw);
    };
    frame = requestAnimationFrame(draw);
    return () => cancelAnimationFrame(frame);
  }, [level]);
  return (
    <div class="meter" role="img" aria-label={label}>
      <span ref={bar} />
    </div>
  );
}
