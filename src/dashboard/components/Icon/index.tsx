/** Line icons in the colour of the surrounding text. */
import "./style.css";

const PATHS = {
  status: "M4 11.5 12 5l8 6.5M6 10.5V19h12v-8.5M10 19v-5h4v5",
  talk: "M12 4a3 3 0 0 1 3 3v4a3 3 0 0 1-6 0V7a3 3 0 0 1 3-3ZM6 11a6 6 0 0 0 12 0M12 17v3",
  turns: "M5 7h14M5 12h14M5 17h9",
  gpu: "M7 7h10v10H7zM10 10h4v4h-4zM9 4v3M15 4v3M9 17v3M15 17v3M4 9h3M4 15h3M17 9h3M17 15h3",
  backups: "M5 8h14v11H5zM4 5h16v3H4zM10 12h4",
  access: "M6 11h12v9H6zM9 11V8a3 3 0 0 1 6 0v3M12 15v2",
  hear: "M8 20c-2-1-2-3-2-4M7 10a5 5 0 0 1 10 0c0 4-4 4-4 7a3 3 0 0 1-3 3M10 10a2 2 0 0 1 4 0c0 2-2 2-2 4",
  think: "M9 18h6M10 21h4M12 3a6 6 0 0 1 3.6 10.8c-.7.6-1.1 1.3-1.1 2.2h-5c0-.9-.4-1.6-1.1-2.2A6 6 0 0 1 12 3Z",
  speak: "M5 10v4h3l4 4V6L8 10H5ZM15.5 9a4 4 0 0 1 0 6M18 6.5a8 8 0 0 1 0 11",
  remember: "M6 4h11a1 1 0 0 1 1 1v15H8a2 2 0 0 1-2-2V4ZM6 18a2 2 0 0 1 2-2h10M10 8h4",
  healthy: "M5 12.5 10 17l9-10",
  degraded: "M12 8v5M12 16.5h.01M12 3.5 21 19H3z",
  unhealthy: "M7 7l10 10M17 7 7 17",
  unknown: "M9 9a3 3 0 1 1 4.2 2.7c-.8.4-1.2.9-1.2 1.8v.5M12 17.5h.01",
  back: "M15 5l-7 7 7 7",
  search: "M11 5a6 6 0 1 1 0 12 6 6 0 0 1 0-12ZM15.5 15.5 20 20",
  send: "M5 12h13M13 6l6 6-6 6",
  stop: "M7 7h10v10H7z",
  lost: "M4 9a12 12 0 0 1 16 0M7 12.5a7.5 7.5 0 0 1 10 0M12 17h.01M4 4l16 16",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 22 }: { name: IconName; size?: number }) {
  return (
    <svg class="icon" width={size} height={size} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
