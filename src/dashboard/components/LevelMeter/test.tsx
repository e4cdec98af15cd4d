import { expect, test } from "vitest";
import { mount } from "../../testing";
import { LevelMeter } from ".";

test("the meter follows the level at every frame", async () => {
  let calls = 0;
  const { find } = await mount(<LevelMeter label="Level" level={() => ((calls += 1), 0.5)} />);
  await new Promise((done) => setTimeout(done, 60));
  expect(calls).toBeGreaterThan(0);
  expect(find<HTMLElement>(".level-meter span").style.transform).toBe("scaleX(0.500)");
});
