import { expect, it } from "vitest";
import { bytes, count, difference, figure, plural, signed } from "../src/format";

it("groups digits", () => expect(count(3538984)).toBe("3,538,984"));

it("counts things", () => {
  expect(plural(1, "layer")).toBe("1 layer");
  expect(plural(1200, "layer")).toBe("1,200 layers");
});

it.each([
  [0, "0 B"],
  [1023, "1023 B"],
  [1024, "1.00 KiB"],
  [14155936, "13.5 MiB"],
  [1023 * 1024, "1023 KiB"],
  [5 * 1024 ** 5, "5120 TiB"],
])("%d bytes", (value, text) => expect(bytes(value)).toBe(text));

it.each([
  [0.012345, "0.0123"],
  [0.2, "0.2"],
  [-1234.5, "-1230"],
  [1e-9, "1e-9"],
  [NaN, "NaN"],
  [-Infinity, "-Inf"],
])("the figure %d", (value, text) => expect(figure(value)).toBe(text));

it("tells a difference", () => {
  expect(difference(5, 5)).toBe("no change");
  expect(difference(0, 1234)).toBe("+1,234");
  expect(difference(10, 5)).toBe("\u22125");
});

it("signed tells which way", () => {
  expect([0.1234, -0.5, 0, -0].map(signed)).toEqual(["+0.123", "\u22120.5", "0", "0"]);
});
