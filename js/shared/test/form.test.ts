import { describe, expect, it } from "vitest";
import { fill, isRare, showValue } from "../src/form";
import type { Json, Param } from "../src/protocol";

function param(name: string, type: Param["type"], more: Partial<Param> = {}): Param {
  return { name, type, default: null, required: false, choices: null, doc: "", ...more };
}

function read(type: Param["type"], text: string, more: Partial<Param> = {}): Json | undefined {
  const { config, problems } = fill([param("x", type, { required: true, ...more })], { x: text });
  return "x" in problems ? undefined : config["x"];
}

describe("fill", () => {
  it("sends only what was changed", () => {
    const params = [param("rate", "float", { default: 0.5 }), param("seed", "int"), param("use_bias", "bool", { default: true })];
    expect(fill(params, {}).config).toEqual({});
    expect(fill(params, { rate: "0.5", use_bias: true }).config).toEqual({});
    expect(fill(params, { rate: "0.25", use_bias: false }).config).toEqual({ rate: 0.25, use_bias: false });
    expect(fill(params, { rate: "" }).config).toEqual({});
  });

  it("names what is missing", () => {
    const params = [param("units", "int", { required: true })];
    expect(fill(params, {}).missing).toEqual(["units"]);
    expect(fill(params, { units: " " }).missing).toEqual(["units"]);
    expect(fill(params, { units: "8" })).toEqual({ config: { units: 8 }, problems: {}, missing: [] });
  });

  it("names what it can't read", () => {
    expect(fill([param("units", "int")], { units: "many" }).problems).toHaveProperty("units");
    expect(fill([param("rate", "float")], { rate: "1e" }).problems).toHaveProperty("rate");
    expect(fill([param("size", "tuple")], { size: "3, x" }).problems).toHaveProperty("size");
    expect(fill([param("config", "json")], { config: "{1" }).problems).toHaveProperty("config");
  });

  it.each([
    ["3", 3],
    ["3, 5", [3, 5]],
    ["(3, 5)", [3, 5]],
    ["[3,5]", [3, 5]],
    ["(3,)", [3]],
    ["3,", [3]],
    ["(None, 8)", [null, 8]],
    ["None", null],
  ])("reads the tuple %s", (text, value) => expect(read("tuple", text)).toEqual(value));

  it.each([
    ["relu", "relu"],
    ['"relu"', "relu"],
    ["None", null],
    ["True", true],
    ["0.5", 0.5],
    ['{"class_name": "L2"}', { class_name: "L2" }],
  ])("reads the JSON %s", (text, value) => expect(read("json", text)).toEqual(value));

  it("reads numbers", () => {
    expect(read("int", "8")).toBe(8);
    expect(read("int", "8.5")).toBeUndefined();
    expect(read("float", "1e-3")).toBe(0.001);
    expect(read("float", "None")).toBeNull();
  });

  it("gives a choice back as the value it stands for", () => {
    expect(read("choice", "same", { choices: ["valid", "same"] })).toBe("same");
    expect(read("choice", "None", { choices: [null, "mean"] })).toBeNull();
    expect(read("choice", "2", { choices: [1, 2] })).toBe(2);
  });
});

it("shows values as they would be typed", () => {
  expect([null, "valid", [1, 1], 0.5, true].map(showValue)).toEqual(["None", "valid", "1, 1", "0.5", "true"]);
});

it("never folds away what is required", () => {
  expect(isRare(param("kernel_initializer", "json"))).toBe(true);
  expect(isRare(param("seed", "int", { required: true }))).toBe(false);
  expect(isRare(param("units", "int"))).toBe(false);
});
