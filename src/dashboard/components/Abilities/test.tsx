import { expect, test } from "vitest";
import { AT_S, house, show } from "../../testing";
import { Abilities } from ".";

const abilities = house().abilities;

test("each ability is told in the house's own sentence", async () => {
  const { text, all } = await show(<Abilities abilities={abilities} trusted now={AT_S * 1000 + 120_000} />);
  expect(text()).toContain("It has lost its voice.");
  expect(text()).toContain("2");
  expect(all("[data-state=healthy]")).toHaveLength(1);
});

test("nothing stays green when nobody can confirm it", async () => {
  const { all, text } = await show(<Abilities abilities={abilities} trusted={false} now={AT_S * 1000} />);
  expect(all("[data-state=healthy]")).toHaveLength(0);
  expect(all("[data-state=unknown]")).toHaveLength(2);
  expect(text()).not.toContain("It hears you.");
});
