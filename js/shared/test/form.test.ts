import { describe, expect, it } from "vitest";
import { fill, inherit, isRare, present, showArgument } from "../src/form";
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
    ["constructor", "constructor"],
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

describe("showArgument", () => {
  it.each<[Param["type"], Json, string]>([
    ["json", null, "None"],
    ["choice", "valid", "valid"],
    ["tuple", [1, 1], "1, 1"],
    ["tuple", [3], "3,"],
    ["tuple", [null, 8], "None, 8"],
    ["tuple", [], "[]"],
    ["float", 0.5, "0.5"],
    ["float", 1e-7, "1e-7"],
    ["json", true, "true"],
    ["json", "glorot_uniform", "glorot_uniform"],
    ["json", "3", '"3"'],
    ["json", "None", '"None"'],
    ["json", "a, b", '"a, b"'],
    ["json", { class_name: "L2", config: { l2: 0.5 } }, '{"class_name":"L2","config":{"l2":0.5}}'],
    ["json", [[1, 1], [0, 2]], "[[1,1],[0,2]]"],
    ["str", "channels", "channels"],
  ])("shows a %s as it is typed: %j", (type, value, text) => {
    const one = param("x", type, { default: value });
    expect(showArgument(one)).toBe(text);
    if (type !== "choice") expect(read(type, text)).toEqual(value);
  });
});

describe("the form of a layer that is there", () => {
  const params = [
    param("filters", "int", { default: 16 }),
    param("kernel_size", "tuple", { default: [3, 3] }),
    param("use_bias", "bool", { default: true }),
    param("kernel_initializer", "json", { default: { class_name: "RandomNormal", config: { stddev: 0.1 } } }),
    param("name_of_it", "str", { default: "a, b" }),
    param("seed", "int"),
  ];

  it("asks for nothing before anything is typed", () => {
    expect(fill(params, present(params))).toEqual({ config: {}, problems: {}, missing: [] });
  });

  it("asks for what is typed alone", () => {
    expect(fill(params, { ...present(params), filters: "8", use_bias: false }).config).toEqual({ filters: 8, use_bias: false });
    expect(fill(params, { ...present(params), seed: "None", kernel_size: "3,3" }).config).toEqual({});
    expect(fill(params, { ...present(params), name_of_it: "None" }).config).toEqual({ name_of_it: null });
    expect(fill(params, { ...present(params), filters: "" }).config).toEqual({});
  });
});

describe("inherit", () => {
  const conv2d = [
    param("filters", "int", { default: 16 }),
    param("kernel_size", "tuple", { default: [3, 3] }),
    param("strides", "tuple", { default: [1, 2] }),
    param("padding", "choice", { default: "same", choices: ["valid", "same"] }),
    param("activation", "choice", { default: "relu", choices: [null, "relu"] }),
    param("use_bias", "bool", { default: false }),
    param("bias_initializer", "json", { default: "zeros", choices: ["zeros"] }),
    param("name", "str", { default: "conv" }),
  ];

  it("takes over what has the same name and fits", () => {
    const separable = [
      param("filters", "int", { required: true }),
      param("kernel_size", "tuple", { required: true }),
      param("padding", "choice", { default: "valid", choices: ["valid", "same"] }),
      param("activation", "choice", { choices: [null, "relu"] }),
      param("use_bias", "bool", { default: true }),
      param("bias_initializer", "json", { default: "zeros" }),
      param("depth_multiplier", "int", { default: 1 }),
      param("name", "str"),
    ];
    const fields = inherit(separable, conv2d);
    expect(fields).toEqual({ filters: "16", kernel_size: "3", padding: "same", activation: "relu", use_bias: false });
    expect(fill(separable, fields).config).toEqual({
      filters: 16,
      kernel_size: 3,
      padding: "same",
      activation: "relu",
      use_bias: false,
    });
  });

  it("leaves out what the other class takes no such value for", () => {
    expect(inherit([param("padding", "tuple", { default: [1, 1] })], conv2d)).toEqual({});
    expect(inherit([param("activation", "choice", { choices: [null, "tanh"] })], conv2d)).toEqual({});
    expect(inherit([param("use_bias", "json")], conv2d)).toEqual({ use_bias: false });
    expect(inherit([param("strides", "tuple", { default: [1, 1] })], conv2d)).toEqual({ strides: "1, 2" });
    expect(inherit([param("units", "int", { required: true })], conv2d)).toEqual({});
  });
});

it("never folds away what is required", () => {
  expect(isRare(param("kernel_initializer", "json"))).toBe(true);
  expect(isRare(param("seed", "int", { required: true }))).toBe(false);
  expect(isRare(param("units", "int"))).toBe(false);
});
