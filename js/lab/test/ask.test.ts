import type { TranslationBundle } from "@jupyterlab/translation";
import { expect, it } from "vitest";
import { inWords, KernelProblem, Unanswered } from "../src/ask";

const trans = { __: (text: string) => `translated: ${text}` } as unknown as TranslationBundle;

it("has what was not answered in the user's language, and what a kernel says as it says it", () => {
  for (const type of ["aborted", "cut", "gone"] as const) expect(inWords(new Unanswered(type), "", trans)).toMatch(/^translated: The /);
  expect(inWords(new KernelProblem("ValueError", ""), "", trans)).toBe("translated: The kernel could not answer.");
  expect(inWords(new KernelProblem("ValueError", "No such layer."), "", trans)).toBe("No such layer.");
});
