#!/usr/bin/env node
// Sequelize: a model with optimistic locking, `version: true`.
const { DataTypes, Sequelize } = require("sequelize");
const { connection, ok, raises, stored, pay, bodies, run, TRANSITION, VERSION, DELETE, INITIAL } = require("./tap.cjs");

run(async () => {
  const db = new Sequelize({ dialect: "postgres", host: connection.host, port: connection.port, username: "shop", database: "postgres", logging: false });
  const Order = db.define("Order", { id: { type: DataTypes.INTEGER, primaryKey: true }, status: DataTypes.STRING(20), amount: DataTypes.INTEGER },
    { tableName: "shop_orders", timestamps: false, version: true });
  const move = async (status) => {
    const order = await Order.findByPk(1000);
    order.status = status;
    await order.save();
  };
  await move("paid");
  ok(await stored(1000) === "paid 2", "a legal transition saves");
  await raises("DatabaseError", TRANSITION, "an illegal one", () => move("unpaid"));
  await raises("DatabaseError", VERSION, "SQL that forgets the version", () => db.query("UPDATE shop_orders SET status = 'refunded' WHERE id = 1000"));
  await raises("DatabaseError", DELETE, "destroy()", async () => (await Order.findByPk(1000)).destroy());
  await raises("DatabaseError", INITIAL, "create() of a paid row", () => Order.create({ id: 6000, status: "paid", amount: 5 }));
  ok(await stored(1000) === "paid 2", "nothing of all that was written");
  await raises("OptimisticLockError", {}, "a stale object", async () => {
    const old = await Order.findByPk(1000);
    await move("refunded");
    old.status = "refunded";
    old.changed("status", true);
    await old.save();
  });
  ok(await stored(1000) === "refunded 3", "the first of two was written");
  await pay("sequelize", async (sql) => (await db.query(sql))[0], "DatabaseError");
  await bodies("Sequelize", async (sql, bind) => (await db.query(sql, { bind }))[0], null);
});
