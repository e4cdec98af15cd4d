import { expect, test } from "vitest";
import { show } from "../../testing";
import { Conversation, type Said } from ".";

const said: Said = {
  id: "1",
  utterance: "<img src=x onerror=alert(1)>",
  reply: "It's noon.",
  aloud: true,
  trouble: "",
  heard: "It's",
  times: [["understood", 640]],
  traceId: "a".repeat(32),
};

test("it is a log of text, with times and how much was heard", async () => {
  const { find, text, all } = await show(<Conversation said={[said]} />);
  expect(find("ol").getAttribute("role")).toBe("log");
  expect(all("img")).toHaveLength(0);
  expect(text()).toContain("understood 640 ms");
  expect(text()).toContain("You heard: It's");
  expect(find("a").getAttribute("href")).toBe(`#/turns/${said.traceId}`);
});
