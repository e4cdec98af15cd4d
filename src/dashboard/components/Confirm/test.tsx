import { expect, test } from "vitest";
import { show } from "../../testing";
import { Confirm } from ".";

test("both answers are answers, and leaving is the first one", async () => {
  const given: boolean[] = [];
  const shown = await show(<Confirm title="Unload?" text="It comes back." action="Unload" onAnswer={(yes) => given.push(yes)} />);
  await shown.click("button.main");
  await shown.click("button:not(.main)");
  expect(given).toEqual([true, false]);
  expect(shown.all("button")[0]?.textContent).toContain("Leave it");
});
