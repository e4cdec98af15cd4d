import { expect, test } from "vitest";
import { mount } from "../../testing";
import { LABELS, StateBadge } from ".";

test("every state has its own label and icon", async () => {
  const states = Object.keys(LABELS) as Array<keyof typeof LABELS>;
  const icons = new Set<string>();
  const labels = new Set<string>();
  for (const state of states) {
    const { find, text } = await mount(<StateBadge state={state} />);
    icons.add(find("path").getAttribute("d") ?? "");
    labels.add(text());
  }
  expect(icons.size).toBe(4);
  expect(labels.size).toBe(4);
});
