import { expect, test } from "vitest";
import { createState } from "../../state";
import { flush, makeStatus, mount } from "../../testing";
import { Layout } from ".";

test("the current view is marked, and a live connection is not mentioned", async () => {
  const state = createState("#/gpu");
  state.connection.value = "live";
  const { find, all } = await mount(<Layout>inside</Layout>, state);
  expect(find("[aria-current=page]").textContent).toContain("GPU");
  expect(all(".connection")).toHaveLength(0);
  expect(document.title).toContain("GPU");
});

test("a lost connection is announced with the time of the status", async () => {
  const state = createState();
  state.status.value = makeStatus();
  state.lastEventAt.value = Date.now();
  const { find } = await mount(<Layout>inside</Layout>, state);
  state.connection.value = "lost";
  await flush();
  expect(find(".connection").textContent).toContain("Connection lost, retrying. The page shows the status of");
  expect(find(".connection").closest("[role=status]")).not.toBeNull();
});
