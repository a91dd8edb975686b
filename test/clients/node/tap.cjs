// What the clients in JavaScript share: TAP, and a connection that looks at what is stored.
const fs = require("fs");
const path = require("path");
const { Client } = require("pg");

const connection = { host: "127.0.0.1", port: Number(process.env.PGPORT), user: "shop", database: "postgres" };
let count = 0;
let failed = 0;

function ok(good, name) {
  count++;
  if (!good) failed++;
  console.log(`${good ? "ok" : "not ok"} ${count} - ${name}`);
}

// The server's error, however deep the client has wrapped it.
function server(error, depth = 0) {
  if (!error || depth > 6) return null;
  if (typeof error.code === "string" && /^[0-9A-Z]{5}$/.test(error.code) && !/^P\d{4}$/.test(error.code)) return error;
  for (const key of ["driverError", "original", "parent", "cause", "meta", "previous", "driverAdapterError"]) {
    const found = server(error[key], depth + 1);
    if (found) return found;
  }
  return null;
}

// The action must raise an error of this name (its class or one above), and the server's error
// must have these fields; outer: the client's own code.
async function raises(name, expected, what, action) {
  try {
    await action();
  } catch (error) {
    const classes = [];
    for (let p = Object.getPrototypeOf(error); p && p !== Object.prototype; p = Object.getPrototypeOf(p)) classes.push(p.constructor.name);
    classes.push(error.name);
    const cause = server(error) || {};
    const good = classes.includes(name) && Object.entries(expected).every(([key, value]) =>
      key === "outer" ? error.code === value
        : key === "message" || key === "detail" ? String(key === "message" ? error.message : cause.detail).includes(value)
          : cause[key] === value);
    ok(good, `${what}: ${classes[0]}${good ? "" : ` ${classes} ${error.message} ${JSON.stringify(cause)}`}`);
    return;
  }
  ok(false, `${what}: no error`);
}

async function stored(id) {
  const db = new Client(connection);
  await db.connect();
  const { rows } = await db.query("SELECT status, version FROM shop_orders WHERE id = $1", [id]);
  await db.end();
  return rows.length ? `${rows[0].status} ${rows[0].version}` : "none";
}

const TRANSITION = { code: "23514", constraint: "payguard_transition", detail: 'from "paid" to "unpaid"' };
const VERSION = { code: "40001", constraint: "payguard_version" };
const DELETE = { code: "23514", constraint: "payguard_delete" };
const INITIAL = { code: "23514", constraint: "payguard_initial" };
const PAID = { code: "PY101", constraint: "order_already_paid", detail: "paid it at" };

// query(sql) returns the rows
async function pay(order, query, error, expected = PAID) {
  await query(`SELECT status FROM payguard.create_order('${order}', 5, 'EUR')`);
  const rows = await query(`SELECT outcome FROM payguard.pay_order('${order}', '${order}')`);
  ok(rows[0].outcome === "paid", "pay_order()");
  await raises(error, expected, "a second payment", () => query(`SELECT outcome FROM payguard.pay_order('${order}', 'another')`));
}

// Each body of bodies.txt is kept byte for byte, and as a text and as bytes it is one event. record(sql, values) returns
// the rows: $1 is the channel, $2 the body, a string or a Buffer, which has to be cast. refused: the error for a text with
// a NUL; null: the client changes that text.
async function bodies(client, record, refused) {
  const db = new Client(connection);
  await db.connect();
  const latest = async () => (await db.query(
    "SELECT encode(body, 'hex') AS hex FROM payguard.notifications WHERE channel = $1 ORDER BY received_at DESC LIMIT 1", [client])).rows[0].hex;
  const send = async (body, cast) => (await record(`SELECT result FROM payguard.record_notification($1, $2${cast})`, [client, body]))[0].result;
  const lines = fs.readFileSync(path.join(process.env.PAYGUARD_SRC, "test/clients/bodies.txt"), "utf8").split("\n")
    .filter((line) => line && !line.startsWith("#"));
  for (const line of lines) {
    const [kind, hex] = line.split(" ");
    const body = Buffer.from(hex, "hex");
    const first = kind === "text" ? await send(body.toString("utf8"), "") : await send(body, "::bytea");
    const results = `${first} ${await send(body, "::bytea")}`;
    const kept = await latest();
    ok(results === "unmatched duplicate" && kept === hex, `a body with ${line.split(" ").slice(2).join(" ")}: ${results} ${kept}`);
  }
  if (refused) {
    await raises(refused, {}, "a NUL in a text", () => send("a\0b", ""));
    ok(await latest() === lines[lines.length - 1].split(" ")[1], "which is not kept");
  } else {
    await send("a\0b", "");
    ok(await latest() === Buffer.from("a\\0b").toString("hex"), "a NUL in a text becomes \\0 in the client");
  }
  await db.end();
}

function run(main) {
  main().then(() => {
    console.log(`1..${count}`);
    process.exit(failed ? 1 : 0);
  }, (error) => {
    console.log(`not ok ${count + 1} - ${error.stack.replace(/\n/g, "\n# ")}`);
    process.exit(1);
  });
}

module.exports = { connection, ok, raises, stored, pay, bodies, run, TRANSITION, VERSION, DELETE, INITIAL, PAID };
