import { expect, test } from "vitest";
import { show } from "../../testing";
import { StateMark, WORDS } from ".";

test("every state has a word and a shape of its own, not only a colour", async () => {
  const states = Object.keys(WORDS) as Array<keyof typeof WORDS>;
  const shapes = new Set<string>();
  const words = new Set<string>();
  for (const state of states) {
    const { find, text } = await show(<StateMark state={state} />);
    shapes.add(find("path").getAttribute("d") ?? "");
    words.add(text());
  }
  expect(shapes.size).toBe(4);
  expect(words.size).toBe(4);
});
