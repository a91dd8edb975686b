#!/usr/bin/env node
// The handlers of examples/handlers for node-pg: test/clients/handlers.py asks this file, as "handlers.cjs serve".
const { spawnSync } = require("child_process");
const readline = require("readline");
const { Pool } = require("pg");

const SRC = process.env.PAYGUARD_SRC;

async function ask(path) {
  const response = await fetch(process.env.SHOP_CHANNEL + path, { signal: AbortSignal.timeout(6000) });
  const [status, transaction, amount, currency] = (await response.text()).split(" ");
  return status === "succeeded" ? { status, transaction, amount, currency } : { status };
}

function serve() {
  const { checkout, webhook } = require(`${SRC}/examples/handlers/node_pg.js`);
  const pool = new Pool({ host: "127.0.0.1", port: Number(process.env.SHOP_PORT), user: "web", database: "handlers" });
  pool.on("error", () => {});
  const channel = { charge: (number, amount, currency) => ask(`/charge/${number}/${amount}/${currency}`), query: (number) => ask(`/query/${number}`) };
  readline.createInterface({ input: process.stdin }).on("line", async (line) => {
    const [number, verb, first, second] = line.split(" ");
    const reply = await (verb === "checkout" ? checkout(pool, channel, first, second)
      : webhook(pool, process.env.SHOP_SECRET, Buffer.from(second, "hex"), first))
      .catch((error) => ({ status: 500, state: error.message.replace(/\s+/g, " ") }));
    console.log(`${number} ${reply.status} ${reply.state}`);
  }).on("close", () => pool.end());
}

if (process.argv[2] === "serve") serve();
else process.exit(spawnSync(`${SRC}/test/clients/handlers.py`, ["node-pg", __filename, "serve"], { stdio: "inherit" }).status);
