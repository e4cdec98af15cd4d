import { expect, test } from "vitest";
import { createState } from "../../state";
import { house, settle, show } from "../../testing";
import { Shell } from ".";

test("it says where one is, and nothing about a connection that stands", async () => {
  const state = createState("#/gpu");
  state.link.value = "live";
  const { find, all } = await show(<Shell>inside</Shell>, state);
  expect(find("[aria-current=page]").textContent).toContain("Gpu");
  expect(all(".connection")).toHaveLength(0);
  expect(document.title).toContain("Gpu");
});

test("a lost connection is announced with the age of what is shown", async () => {
  const state = createState();
  state.now.value = house();
  state.heardAt.value = Date.now();
  const { find } = await show(<Shell>inside</Shell>, state);
  state.link.value = "lost";
  await settle();
  expect(find(".connection").textContent).toContain("Connection lost, retrying. What is shown is from");
  expect(find(".connection").closest("[role=status]")).not.toBeNull();
});
