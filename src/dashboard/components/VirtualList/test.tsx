import { expect, test } from "vitest";
import { show } from "../../testing";
import { VirtualList, windowOf } from ".";

test("only the rows in sight, and a few more, are wanted", () => {
  expect(windowOf(0, 600, 60, 5000)).toEqual([0, 18]);
  expect(windowOf(60_000, 600, 60, 5000)).toEqual([992, 1018]);
  expect(windowOf(300_000, 600, 60, 5000)).toEqual([4992, 5000]);
  expect(windowOf(10_000, 600, 60, 3)).toEqual([3, 3]);
  expect(windowOf(0, 600, 60, 0)).toEqual([0, 0]);
});

test("of 5000 rows few are in the page, and each knows its place among all", async () => {
  const items = Array.from({ length: 5000 }, (_, index) => String(index));
  let asked = 0;
  const { all } = await show(
    <VirtualList items={items} rowPx={60} label="Turns" keyOf={(one) => one} row={(one) => one} more={() => (asked += 1)} />,
  );
  const rows = all("li");
  expect(rows.length).toBeLessThan(40);
  expect(rows[3]?.getAttribute("aria-posinset")).toBe("4");
  expect(rows[3]?.getAttribute("aria-setsize")).toBe("5000");
  expect(asked).toBe(0);
});

test("more is asked for before the end is seen", async () => {
  let asked = 0;
  await show(<VirtualList items={["a"]} rowPx={60} label="Turns" keyOf={(one) => one} row={(one) => one} more={() => (asked += 1)} />);
  expect(asked).toBe(1);
});
