import { expect, test } from "vitest";
import { mount } from "../../testing";
import { MemoryBar } from ".";

test("segments are to scale, even beyond the total", async () => {
  const segments = [
    { key: "a", label: "whisper", mib: 600, kind: "model" as const },
    { key: "b", label: "free", mib: 200, kind: "free" as const },
    { key: "c", label: "nothing", mib: 0, kind: "other" as const },
  ];
  const widths = async (total: number) =>
    (await mount(<MemoryBar segments={segments} totalMib={total} label="Memory" />)).all(".segment").map((one) => (one as HTMLElement).style.width);
  expect(await widths(1200)).toEqual(["50%", `${(100 * 200) / 1200}%`]);
  expect(await widths(400)).toEqual(["75%", "25%"]);
});
