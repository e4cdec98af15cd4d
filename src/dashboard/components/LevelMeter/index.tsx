/** Microphone level, 0 to 1, updated at every frame without rendering. */
import { useEffect, useRef } from "preact/hooks";
import "./style.css";

interface Props {
  /** Called at every frame. */
  level: () => number;
  label: string;
}

export function LevelMeter({ level, label }: Props) {
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
    <div class="level-meter" role="img" aria-label={label}>
      <span ref={bar} />
    </div>
  );
}
