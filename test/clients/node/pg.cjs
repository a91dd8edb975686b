#!/usr/bin/env node
// node-pg: plain SQL, errors by their fields.
const { Client } = require("pg");
const { connection, ok, raises, stored, pay, run, TRANSITION, VERSION, DELETE } = require("./tap.cjs");

run(async () => {
  const db = new Client(connection);
  await db.connect();
  const move = async (status, version) => (await db.query(
    "UPDATE shop_orders SET status = $1, version = version + 1 WHERE id = 800 AND version = $2", [status, version])).rowCount;
  ok(await move("paid", 1) === 1 && await stored(800) === "paid 2", "a legal transition saves");
  await raises("DatabaseError", TRANSITION, "an illegal one", () => move("unpaid", 2));
  ok(await move("refunded", 1) === 0, "a stale object: no row");
  await raises("DatabaseError", VERSION, "the version forgotten", () => db.query("UPDATE shop_orders SET status = 'refunded' WHERE id = 800"));
  await raises("DatabaseError", DELETE, "delete", () => db.query("DELETE FROM shop_orders WHERE id = 800"));
  ok(await stored(800) === "paid 2", "nothing of all that was written");
  await pay("node-pg", async (sql) => (await db.query(sql)).rows, "DatabaseError");
});
