import { expect, test } from "vitest";
import { Trouble } from "../../api/client";
import { settle, show } from "../../testing";
import { Login } from ".";

async function submit(answer: () => Promise<null>) {
  let entered = 0;
  const shown = await show(<Login api={{ login: answer }} onIn={() => (entered += 1)} />);
  shown.find<HTMLInputElement>("input").value = "a token";
  shown.find("form").dispatchEvent(new Event("submit", { bubbles: true, cancelable: true }));
  await settle();
  return { shown, entered };
}

test("the right token lets in", async () => {
  expect((await submit(() => Promise.resolve(null))).entered).toBe(1);
});

test("a wrong one is called wrong, aloud", async () => {
  const { shown, entered } = await submit(() => Promise.reject(new Trouble("unauthorized", "no", 401)));
  expect(entered).toBe(0);
  expect(shown.find("[role=alert]").textContent).toContain("not this house's token");
});

test("too many tries are told in the house's words", async () => {
  const { shown } = await submit(() => Promise.reject(new Trouble("rate_limited", "Too many requests.", 429)));
  expect(shown.find("[role=alert]").textContent).toContain("Too many requests.");
});
