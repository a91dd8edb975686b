#!/usr/bin/env node
// The test of examples/testing, by jest.
const { execFileSync, spawnSync } = require("node:child_process");
const { copyFileSync } = require("node:fs");
const path = require("node:path");
const { Client } = require("pg");
const { connection, ok, run } = require("./tap.cjs");

const EXAMPLE = path.join(__dirname, "../src/examples/testing");
const FILE = "payment.test.js";

// Whether there is a database of this name: test/clients/testing.sh may have made both.
async function has(name) {
  const db = new Client({ ...connection, user: "postgres" });
  await db.connect();
  const { rowCount } = await db.query("SELECT FROM pg_database WHERE datname = $1", [name]);
  await db.end();
  return rowCount > 0;
}

run(async () => {
  if (!await has("shop_template")) execFileSync("psql", ["-qX", "-v", "ON_ERROR_STOP=1", "-f", path.join(EXAMPLE, "template.sql")]);
  if (!await has("shop_test")) execFileSync("createdb", ["-U", "shop_test", "-T", "shop_template", "shop_test"]);
  copyFileSync(path.join(EXAMPLE, FILE), path.join(__dirname, FILE));
  const jest = spawnSync(process.execPath, [path.join(__dirname, "node_modules/jest/bin/jest.js"), "--ci", FILE], { cwd: __dirname, encoding: "utf8" });
  ok(jest.status === 0 && /Tests: +3 passed, 3 total/.test(jest.stderr), "jest with pg");
  if (jest.status !== 0) console.log(`${jest.error || ""}${jest.stdout}${jest.stderr}`.replace(/^/gm, "# "));
});
