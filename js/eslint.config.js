import js from "@eslint/js";
import tseslint from "typescript-eslint";

export default tseslint.config(
  { ignores: ["node_modules", "**/lib"] },
  js.configs.recommended,
  {
    files: ["**/*.ts", "**/*.tsx"],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      // Numbers in text are the point of half of this user interface.
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      // Handlers return what they call; the caller ignores it.
      "@typescript-eslint/no-confusing-void-expression": "off",
      // Names come from the kernel: one that would run or inject something has no place here.
      "no-restricted-syntax": [
        "error",
        { selector: "JSXAttribute[name.name='dangerouslySetInnerHTML']", message: "Text nodes only." },
        { selector: "MemberExpression[property.name=/^(inner|outer)HTML$/]", message: "Text nodes only." },
      ],
    },
  },
  {
    files: ["**/*.mjs"],
    languageOptions: { globals: { process: "readonly", console: "readonly" } },
  },
);
