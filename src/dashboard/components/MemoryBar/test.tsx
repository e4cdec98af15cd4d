import { expect, test } from "vitest";
import { show } from "../../testing";
import { MemoryBar } from ".";

test("pieces are to scale, also when they are more than there is", async () => {
  const pieces = [
    { key: "a", label: "whisper", mib: 600, kind: "model" as const },
    { key: "b", label: "free", mib: 200, kind: "free" as const },
    { key: "c", label: "nothing", mib: 0, kind: "other" as const },
  ];
  const widths = async (total: number) =>
    (await show(<MemoryBar pieces={pieces} totalMib={total} label="Memory" />)).all(".piece").map((one) => (one as HTMLElement).style.width);
  expect(await widths(1200)).toEqual(["50%", `${(100 * 200) / 1200}%`]);
  expect(await widths(400)).toEqual(["75%", "25%"]);
});
