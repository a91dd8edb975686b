#!/usr/bin/env node
// node-pg: plain SQL, errors by their fields.
const { Client } = require("pg");
const { connection, ok, raises, stored, pay, bodies, run, TRANSITION, VERSION, DELETE } = require("./tap.cjs");

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
  await bodies("node-pg", async (sql, values) => (await db.query(sql, values)).rows, "DatabaseError");
  await raises("DatabaseError", { code: "22021" }, "GBK as a Buffer that is not cast",
    () => db.query("SELECT payguard.record_notification('node-pg', $1)", [Buffer.from("d6a7b8b6b3c9b9a6", "hex")]));
});
