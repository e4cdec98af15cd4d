import { expect, test } from "vitest";
import { mount } from "../../testing";
import { Icon } from ".";

test("an icon is hidden from screen readers", async () => {
  const { find } = await mount(<Icon name="talk" size={30} />);
  expect(find("svg").getAttribute("aria-hidden")).toBe("true");
  expect(find("svg").getAttribute("width")).toBe("30");
});
