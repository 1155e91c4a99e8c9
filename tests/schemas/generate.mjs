// Writes slack.json, github.json, jira.json, jira-dc.json and adf.json beside itself: JSON Schemas, generated from what vendors publish.
// Runs in the folder that `.ci/schemas` makes; nothing of what it writes is committed.
import { readFileSync, writeFileSync } from "node:fs";
import * as cloud from "jira.js/cloud";
import { createGenerator } from "ts-json-schema-generator";
import { z } from "zod";

const write = (name, value) => writeFileSync(`${name}.json`, JSON.stringify(value));

// One schema for each type that the file exports. An unknown key is an error.
function generated(file) {
  const options = { path: file, tsconfig: "tsconfig.json", skipTypeCheck: true, additionalProperties: false };
  const generator = createGenerator({ ...options, jsDoc: "none" });
  const names = [...readFileSync(file, "utf8").matchAll(/^export type (\w+) =/gm)].map(([, name]) => name);
  return Object.fromEntries(names.map((name) => [name, generator.createSchema(name)]));
}

// GitHub's types hold some 1,000 operations in one interface, which no generator reads in a reasonable time: a few are
// cut out as text. A line of the file that begins with as many spaces as its head ends what the head began.
function cutOut(operations) {
  const lines = readFileSync("node_modules/@octokit/openapi-types/types.d.ts", "utf8").split("\n");
  const part = (text, head, indent) => {
    const from = text.findIndex((line) => head.test(line));
    if (from < 0) throw new Error(`@octokit/openapi-types holds no ${head}`);
    if (text[from].trimEnd().endsWith(";")) return text.slice(from, from + 1);
    const to = text.findIndex((line, at) => at > from && line.startsWith(`${indent}}`));
    return text.slice(from, to + 1);
  };
  const all = part(lines, /^export interface operations \{/, "");
  const parameters = part(part(lines, /^export interface components \{/, ""), /^ {2}parameters: \{/, "  ");
  const parameter = (name) => {
    const found = part(parameters, new RegExp(`^ {4}"?${name}"?\\??: `), "    ").join("\n");
    return found.slice(found.indexOf(":") + 1).trim().replace(/;$/, "");
  };
  const members = Object.entries(operations).map(([key, [operation, what]]) => {
    const one = part(all, new RegExp(`^ {2}"${operation}": \\{`), "  ");
    const wanted =
      what === "query" ? part(one, /^ {6}query\??: \{/, "      ") : part(one, /^ {8}"application\/json": /, "        ");
    const type = wanted.join("\n").replace(/^[^{]*/, "");
    const known = type.replace(/components\["parameters"\]\["([^"]+)"\]/g, (_, name) => parameter(name));
    if (known.includes("components[")) throw new Error(`${operation} refers to what is not cut out: ${known}`);
    return `export type ${key} = ${known}`;
  });
  return `type OneOf<T extends unknown[]> = T[number];\n${members.join("\n")}\n`;
}

writeFileSync(
  "github.ts",
  cutOut({
    create: ["issues/create", "body"],
    update: ["issues/update", "body"],
    comment: ["issues/create-comment", "body"],
    issues: ["issues/list-for-repo", "query"],
    comments: ["issues/list-comments", "query"],
  }),
);
writeFileSync(
  "tsconfig.json",
  JSON.stringify({ compilerOptions: { module: "nodenext", target: "es2022", strict: true, types: [] } }),
);
write("slack", generated("slack.ts"));
write("github", generated("github.ts"));
write("jira-dc", generated("jira-dc.ts"));

const jira = { issue: "IssueUpdateDetailsSchema", comment: "CommentSchema", search: "SearchAndReconcileRequestSchema" };
const asJson = (name) => z.toJSONSchema(cloud[name], { io: "input", unrepresentable: "any" });
write("jira", Object.fromEntries(Object.entries(jira).map(([key, name]) => [key, asJson(name)])));

write("adf", JSON.parse(readFileSync("node_modules/@atlaskit/adf-schema/dist/json-schema/v1/full.json", "utf8")));
