import { expect, test } from "vitest";
import { show } from "../../testing";
import { Meter } from ".";

test("it follows the level without a render for each look", async () => {
  let asked = 0;
  const { find } = await show(<Meter label="Level" level={() => ((asked += 1), 0.5)} />);
  await new Promise((done) => setTimeout(done, 60));
  expect(asked).toBeGreaterThan(0);
  expect(find<HTMLElement>(".meter span").style.transform).toBe("scaleX(0.500)");
});
