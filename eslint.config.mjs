import boundaries from "eslint-plugin-boundaries";
import tseslint from "typescript-eslint";

/** The layers: who may import whom. See src/README.md. */
const elements = [
  { type: "core", pattern: "src/core/*", mode: "full" },
  { type: "communicators", pattern: "src/communicators/**/*", mode: "full" },
  { type: "machines", pattern: "src/machines/*", mode: "full" },
  { type: "unit-table", pattern: "src/(provisioners|post-processors)/index.ts", mode: "full" },
  { type: "unit-table", pattern: "src/platforms/*/post-processors.ts", mode: "full" },
  { type: "provisioners", pattern: "src/provisioners/*", mode: "full" },
  { type: "post-processors", pattern: "src/post-processors/*", mode: "full" },
  {
    type: "platform-resource",
    pattern: "src/platforms/*/(resource|index).ts",
    mode: "full",
    capture: ["platform"],
  },
  { type: "platform", pattern: "src/platforms/*/*", mode: "full", capture: ["platform"] },
  { type: "rollout-plan", pattern: "src/rollout/plan*.ts", mode: "full" },
  { type: "rollout-options", pattern: "src/rollout/options.ts", mode: "full" },
  { type: "rollout-program", pattern: "src/rollout/*", mode: "full" },
  { type: "rollout-engine", pattern: "src/rollout/*/*", mode: "full" },
  { type: "provider", pattern: "src/provider/*", mode: "full" },
  { type: "pulumi", pattern: "src/pulumi/*", mode: "full" },
  { type: "public", pattern: "src/index.ts", mode: "full" },
];

const layers = [
  { from: "core", allow: ["core"] },
  { from: "communicators", allow: ["core", "communicators"] },
  { from: "machines", allow: ["core", "machines"] },
  { from: "unit-table", allow: ["core", "provisioners", "post-processors", "platform", "pulumi"] },
  { from: "provisioners", allow: ["core", "provisioners"] },
  { from: "post-processors", allow: ["core", "post-processors"] },
  {
    from: "platform",
    allow: [
      "core",
      "communicators",
      "machines",
      "unit-table",
      ["platform", { platform: "${from.platform}" }],
    ],
  },
  {
    from: "platform-resource",
    allow: [
      "pulumi",
      "unit-table",
      ["platform", { platform: "${from.platform}" }],
      ["platform-resource", { platform: "${from.platform}" }],
    ],
  },
  {
    from: "provider",
    allow: [
      "core",
      "communicators",
      "unit-table",
      "provisioners",
      "post-processors",
      "platform",
      "provider",
      "rollout-engine",
    ],
  },
  // The user's program: resources and components. Nothing of the engine.
  { from: "rollout-options", allow: ["core"] },
  { from: "rollout-plan", allow: ["rollout-plan"] },
  { from: "rollout-program", allow: ["pulumi", "rollout-program", "rollout-options"] },
  // The provider's side of a switch; what it knows of Docker is how to reach a container.
  {
    from: "rollout-engine",
    allow: [
      "core",
      "provider",
      "rollout-engine",
      "rollout-plan",
      "rollout-options",
      ["platform", { platform: "docker" }],
    ],
  },
  { from: "pulumi", allow: ["core", "pulumi"] },
  {
    from: "public",
    allow: ["provisioners", "post-processors", "platform-resource", "unit-table", "pulumi", "core"],
  },
];

export default tseslint.config(
  { ignores: ["dist/", "out/", "docs/", "**/node_modules/", "**/*.mjs", "test/fixtures/", "examples/"] },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: {
      parserOptions: {
        project: ["./tsconfig.json", "./test/tsconfig.json"],
        tsconfigRootDir: import.meta.dirname,
      },
    },
    rules: {
      "@typescript-eslint/no-floating-promises": "error",
      // Units and the provider are loaded when they are needed.
      "@typescript-eslint/no-require-imports": "off",
      "@typescript-eslint/restrict-template-expressions": [
        "error",
        { allowNumber: true, allowBoolean: true, allowNever: true, allowNullish: true },
      ],
      "@typescript-eslint/no-confusing-void-expression": "off",
      "@typescript-eslint/no-unnecessary-type-parameters": "off",
      "@typescript-eslint/prefer-promise-reject-errors": "off",
      "@typescript-eslint/only-throw-error": "off",
      "@typescript-eslint/no-unused-vars": [
        "error",
        { caughtErrorsIgnorePattern: "^_", argsIgnorePattern: "^_" },
      ],
      // What the types promise, another system or an older engine may not keep.
      "@typescript-eslint/no-unnecessary-condition": "off",
      "no-console": "error",
    },
  },
  {
    files: ["src/**/*.ts"],
    plugins: { boundaries },
    settings: {
      "boundaries/elements": elements,
      "import/resolver": { node: { extensions: [".ts", ".js"] } },
    },
    rules: {
      "boundaries/element-types": ["error", { default: "disallow", rules: layers }],
      "boundaries/no-unknown": "error",
    },
  },
  {
    // Its text is stored and runs by itself: no types, no imports.
    files: ["src/pulumi/stub.ts"],
    rules: Object.fromEntries(
      ["argument", "assignment", "call", "member-access", "return"].map((rule) => [
        `@typescript-eslint/no-unsafe-${rule}`,
        "off",
      ]),
    ),
  },
  {
    files: ["test/**/*.ts", "bench/**/*.ts"],
    rules: {
      "@typescript-eslint/no-floating-promises": [
        "error",
        {
          allowForKnownSafeCalls: [
            { from: "package", name: "test", package: "node:test" },
            { from: "package", name: ["describe", "it"], package: "node:test" },
          ],
        },
      ],
      "no-console": "off",
      "@typescript-eslint/require-await": "off",
      "@typescript-eslint/restrict-plus-operands": "off",
      "@typescript-eslint/unbound-method": "off",
      "@typescript-eslint/no-meaningless-void-operator": "off",
      "@typescript-eslint/no-useless-default-assignment": "off",
    },
  },
);
