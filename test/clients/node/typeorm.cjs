#!/usr/bin/env node
// TypeORM: an entity with a version column. save() raises it; a stale object is caught by the guard,
// since save() does not compare versions, or by the pessimistic or optimistic lock that one asks for.
const { DataSource, EntitySchema } = require("typeorm");
const { connection, ok, raises, stored, pay, bodies, run, TRANSITION, VERSION, DELETE, INITIAL } = require("./tap.cjs");

const Order = new EntitySchema({
  name: "Order", tableName: "shop_orders",
  columns: { id: { type: "int", primary: true }, status: { type: "varchar" }, amount: { type: "int" }, version: { type: "int", version: true } },
});

run(async () => {
  const source = await new DataSource({ type: "postgres", host: connection.host, port: connection.port, username: "shop", database: "postgres", entities: [Order] }).initialize();
  const orders = source.getRepository(Order);
  const move = async (status) => {
    const order = await orders.findOneBy({ id: 900 });
    order.status = status;
    await orders.save(order);
  };
  await move("paid");
  ok(await stored(900) === "paid 2", "a legal transition saves");
  await raises("QueryFailedError", TRANSITION, "an illegal one", () => move("unpaid"));
  await raises("QueryFailedError", VERSION, "SQL that forgets the version", () => source.query("UPDATE shop_orders SET status = 'refunded' WHERE id = 900"));
  await raises("QueryFailedError", DELETE, "remove()", async () => orders.remove(await orders.findOneBy({ id: 900 })));
  await raises("QueryFailedError", INITIAL, "save() of a new row that is paid", () => orders.save({ id: 5900, status: "paid", amount: 5 }));
  ok(await stored(900) === "paid 2", "nothing of all that was written");
  await raises("OptimisticLockVersionMismatchError", {}, "a stale object", () => source.transaction((manager) =>
    manager.findOne(Order, { where: { id: 900 }, lock: { mode: "optimistic", version: 1 } })));
  await raises("QueryFailedError", { code: "23514", constraint: "payguard_transition" }, "a stale object that is saved without that", async () => {
    const old = await orders.findOneBy({ id: 900 });
    await move("refunded");
    old.status = "unpaid";
    await orders.save(old);
  });
  ok(await stored(900) === "refunded 3", "the first of two was written");
  await pay("typeorm", (sql) => source.query(sql), "QueryFailedError");
  await bodies("TypeORM", (sql, values) => source.query(sql, values), "QueryFailedError");
});
