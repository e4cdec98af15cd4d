import { expect, test } from "vitest";
import { ApiError } from "../../api/client";
import { flush, mount } from "../../testing";
import { Login } from ".";

async function submit(answer: () => Promise<null>) {
  let loggedIn = 0;
  const mounted = await mount(<Login api={{ logIn: answer }} onLogin={() => (loggedIn += 1)} />);
  mounted.find<HTMLInputElement>("input").value = "a token";
  mounted.find("form").dispatchEvent(new Event("submit", { bubbles: true, cancelable: true }));
  await flush();
  return { mounted, loggedIn };
}

test("the correct token logs in", async () => {
  expect((await submit(() => Promise.resolve(null))).loggedIn).toBe(1);
});

test("a wrong token is reported as an alert", async () => {
  const { mounted, loggedIn } = await submit(() => Promise.reject(new ApiError("unauthorized", "no", 401)));
  expect(loggedIn).toBe(0);
  expect(mounted.find("[role=alert]").textContent).toContain("The token is wrong");
});

test("an error of the api is mounted", async () => {
  const { mounted } = await submit(() => Promise.reject(new ApiError("rate_limited", "Too many requests.", 429)));
  expect(mounted.find("[role=alert]").textContent).toContain("Too many requests.");
});
