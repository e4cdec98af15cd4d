import { expect, test } from "vitest";
import { mount } from "../../testing";
import { VirtualList, computeVisibleRows } from ".";

test("the visible rows and some around them are rendered", () => {
  expect(computeVisibleRows(0, 600, 60, 5000)).toEqual([0, 18]);
  expect(computeVisibleRows(60_000, 600, 60, 5000)).toEqual([992, 1018]);
  expect(computeVisibleRows(300_000, 600, 60, 5000)).toEqual([4992, 5000]);
  expect(computeVisibleRows(10_000, 600, 60, 3)).toEqual([3, 3]);
  expect(computeVisibleRows(0, 600, 60, 0)).toEqual([0, 0]);
});

test("of 5000 rows few are rendered, each with its position", async () => {
  const items = Array.from({ length: 5000 }, (_, index) => String(index));
  let requests = 0;
  const { all } = await mount(
    <VirtualList items={items} rowPx={60} label="Turns" keyOf={(one) => one} row={(one) => one} more={() => (requests += 1)} />,
  );
  const rows = all("li");
  expect(rows.length).toBeLessThan(40);
  expect(rows[3]?.getAttribute("aria-posinset")).toBe("4");
  expect(rows[3]?.getAttribute("aria-setsize")).toBe("5000");
  expect(requests).toBe(0);
});

test("more items are requested near the end", async () => {
  let requests = 0;
  await mount(<VirtualList items={["a"]} rowPx={60} label="Turns" keyOf={(one) => one} row={(one) => one} more={() => (requests += 1)} />);
  expect(requests).toBe(1);
});
