import { expect, test } from "vitest";
import { show } from "../../testing";
import { Icon } from ".";

test("a drawing says nothing to a screen reader, because the words beside it do", async () => {
  const { find } = await show(<Icon name="talk" size={30} />);
  expect(find("svg").getAttribute("aria-hidden")).toBe("true");
  expect(find("svg").getAttribute("width")).toBe("30");
});
