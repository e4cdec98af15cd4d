import { expect, test } from "vitest";
import { mount } from "../../testing";
import { Notice } from ".";

test("errors are announced as alerts", async () => {
  expect((await mount(<Notice kind="bad" title="No microphone" />)).find(".notice").getAttribute("role")).toBe("alert");
  expect((await mount(<Notice title="Nothing yet" />)).find(".notice").getAttribute("role")).toBeNull();
});
