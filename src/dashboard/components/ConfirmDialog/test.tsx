import { expect, test } from "vitest";
import { mount } from "../../testing";
import { ConfirmDialog } from ".";

test("both buttons answer, and the first one cancels", async () => {
  const given: boolean[] = [];
  const mounted = await mount(<ConfirmDialog title="Unload?" text="It is loaded again when needed." action="Unload" onAnswer={(yes) => given.push(yes)} />);
  await mounted.click("button.primary");
  await mounted.click("button:not(.primary)");
  expect(given).toEqual([true, false]);
  expect(mounted.all("button")[0]?.textContent).toContain("Cancel");
});
