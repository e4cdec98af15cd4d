import { expect, test } from "vitest";
import { mount } from "../../testing";
import { type Exchange, Conversation } from ".";

const exchange: Exchange = {
  id: "1",
  utterance: "<img src=x onerror=alert(1)>",
  reply: "It's noon.",
  isSpoken: true,
  error: "",
  heard: "It's",
  times: [["understood", 640]],
  traceId: "a".repeat(32),
};

test("the conversation is plain text, with times and the played part", async () => {
  const { find, text, all } = await mount(<Conversation exchanges={[exchange]} />);
  expect(find("ol").getAttribute("role")).toBe("log");
  expect(all("img")).toHaveLength(0);
  expect(text()).toContain("understood 640 ms");
  expect(text()).toContain("You heard: It's");
  expect(find("a").getAttribute("href")).toBe(`#/turns/${exchange.traceId}`);
});
