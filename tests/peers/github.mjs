// Writes github.json beside itself: GitHub's OpenAPI description of the few paths that we ask, with all that they refer
// to. The whole one is 13 MB, which Prism would read for half a minute at every start.
import { readFileSync, writeFileSync } from "node:fs";

const PATHS = ["", "/issues", "/issues/{issue_number}", "/issues/{issue_number}/comments"];
const whole = JSON.parse(readFileSync("node_modules/@octokit/openapi/generated/api.github.com.json", "utf8"));
const cut = { openapi: whole.openapi, info: whole.info, paths: {}, components: {} };

function take(value) {
  if (value === null || typeof value !== "object") return;
  if (typeof value.$ref === "string") {
    const [, , kind, name] = value.$ref.split("/");
    const kept = (cut.components[kind] ??= {});
    if (!(name in kept)) take((kept[name] = whole.components[kind][name]));
  }
  // "nullable" beside "oneOf" and without "type": Prism's validator cannot read that, and then takes every body in
  // silence. Said of one of the forms it means the same.
  if (value.nullable && value.oneOf && !value.type) {
    value.oneOf[0].nullable = true;
    delete value.nullable;
  }
  Object.values(value).forEach(take);
}

for (const path of PATHS) take((cut.paths[`/repos/{owner}/{repo}${path}`] = whole.paths[`/repos/{owner}/{repo}${path}`]));
writeFileSync("github.json", JSON.stringify(cut));
