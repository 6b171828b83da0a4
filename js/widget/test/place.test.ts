import { describe, expect, it } from "vitest";
import { MAX_HEIGHT, Places, ROW_HEIGHT } from "../src/place";

describe("Places", () => {
  it("stacks rows of one height", () => {
    const places = new Places(100);
    expect(places.top(3)).toBe(3 * ROW_HEIGHT);
    expect(places.height).toBe(100 * ROW_HEIGHT);
    expect(places.window).toBe(MAX_HEIGHT);
    expect(new Places(2).window).toBe(2 * ROW_HEIGHT);
  });

  it("moves what stands below an open row", () => {
    const places = new Places(100, 4, 200);
    expect(places.top(4)).toBe(4 * ROW_HEIGHT);
    expect(places.top(5)).toBe(5 * ROW_HEIGHT + 200);
    expect(places.height).toBe(100 * ROW_HEIGHT + 200);
    expect(places.window).toBe(MAX_HEIGHT + 200);
  });

  it("finds the row at any height, open or not", () => {
    for (const places of [new Places(20), new Places(20, 0, 75), new Places(20, 7, 123), new Places(20, 19, 10)]) {
      for (let y = 0; y < places.height; y++) {
        const index = places.at(y);
        expect(places.top(index)).toBeLessThanOrEqual(y);
        expect(places.bottom(index)).toBeGreaterThan(y);
      }
    }
  });

  it("puts a box under a row, and within the list where the row is scrolled away", () => {
    const places = new Places(100, 4, 200);
    const under = (index: number, scrollTop: number) => places.under(index, scrollTop).marginBlockStart + places.window;
    expect(under(2, 0)).toBe(3 * ROW_HEIGHT);
    expect(under(6, 0)).toBe(7 * ROW_HEIGHT + 200);
    expect(under(2, 1000)).toBe(0);
    expect(under(99, 0)).toBe(places.window);
  });
});
