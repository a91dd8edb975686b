#!/usr/bin/env node
// MikroORM: an entity with a version property.
const { EntitySchema } = require("@mikro-orm/core");
const { MikroORM } = require("@mikro-orm/postgresql");
const { connection, ok, raises, stored, pay, bodies, run, TRANSITION, VERSION, DELETE, INITIAL } = require("./tap.cjs");

const Order = new EntitySchema({
  name: "Order", tableName: "shop_orders",
  properties: { id: { type: "number", primary: true }, status: { type: "string" }, amount: { type: "number" }, version: { type: "number", version: true } },
});

run(async () => {
  const orm = await MikroORM.init({ entities: [Order], host: connection.host, port: connection.port, user: "shop", dbName: "postgres", discovery: { warnWhenNoEntities: false }, debug: false });
  const move = async (status) => {
    const em = orm.em.fork();
    const order = await em.findOneOrFail("Order", { id: 1100 });
    order.status = status;
    await em.flush();
  };
  await move("paid");
  ok(await stored(1100) === "paid 2", "a legal transition saves");
  await raises("CheckConstraintViolationException", TRANSITION, "an illegal one", () => move("unpaid"));
  await raises("DatabaseError", VERSION, "SQL that forgets the version",
    () => orm.em.fork().getConnection().execute("UPDATE shop_orders SET status = 'refunded' WHERE id = 1100"));
  await raises("CheckConstraintViolationException", DELETE, "remove()", async () => {
    const em = orm.em.fork();
    await em.removeAndFlush(await em.findOneOrFail("Order", { id: 1100 }));
  });
  await raises("CheckConstraintViolationException", INITIAL, "insert() of a paid row", () => orm.em.fork().insert("Order", { id: 6100, status: "paid", amount: 5, version: 1 }));
  ok(await stored(1100) === "paid 2", "nothing of all that was written");
  await raises("OptimisticLockError", {}, "a stale object", async () => {
    const em = orm.em.fork();
    const old = await em.findOneOrFail("Order", { id: 1100 });
    await move("refunded");
    old.status = "refunded";
    await em.flush();
  });
  ok(await stored(1100) === "refunded 3", "the first of two was written");
  await pay("mikroorm", (sql) => orm.em.fork().getConnection().execute(sql), "DatabaseError");
  await bodies("MikroORM", (sql, values) => orm.em.fork().getConnection().execute(sql.replace(/\$\d/g, "?"), values), "DatabaseError");
});
