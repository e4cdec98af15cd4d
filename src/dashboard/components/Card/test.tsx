import { expect, test } from "vitest";
import { mount } from "../../testing";
import { Card } from ".";

test("a card is a region labelled by its title", async () => {
  const { find } = await mount(<Card title="Backup">text</Card>);
  const id = find("section").getAttribute("aria-labelledby");
  expect(find("h2").id).toBe(id);
  expect(find("h2").textContent).toBe("Backup");
});
