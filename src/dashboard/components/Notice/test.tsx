import { expect, test } from "vitest";
import { show } from "../../testing";
import { Notice } from ".";

test("what is wrong is announced, what is only empty is not", async () => {
  expect((await show(<Notice kind="bad" title="No microphone" />)).find(".notice").getAttribute("role")).toBe("alert");
  expect((await show(<Notice title="Nothing yet" />)).find(".notice").getAttribute("role")).toBeNull();
});
