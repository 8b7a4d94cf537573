// The tables as Sequelize makes them, and rows on either side of each boundary of clean.js.
"use strict";

const { sequelize, User, Token, TokenUse, Cart, Visit } = require("./models");

const HOUR = 3600 * 1000;
const DAY = 24 * HOUR;
const ago = (time) => new Date(Date.now() - time);

async function fill() {
  await sequelize.sync();
  const users = await User.bulkCreate([...Array(20).keys()].map((n) => ({ email: `${n}@shop.example` })));
  for (const user of users) {
    for (const kind of ["login", "reset", "api"]) {
      for (const expiresAt of [null, ago(400 * DAY), ago(HOUR), ago(HOUR / 2), ago(-HOUR / 2), ago(-30 * DAY)]) {
        const token = await Token.create({ kind, expiresAt, UserId: user.id });
        await TokenUse.bulkCreate(["::1", "127.0.0.1"].map((address) => ({ address, TokenId: token.id })));
      }
    }
    for (const deletedAt of [null, ago(400 * DAY), ago(7 * DAY + HOUR), ago(7 * DAY - HOUR), ago(0)]) {
      const cart = await Cart.create({ total: "12.50", UserId: user.id, deletedAt });
      for (const seenAt of [null, 90 * DAY, 30 * DAY + HOUR, 30 * DAY - HOUR, 0]) {
        await Visit.create({ page: "/", seenAt: seenAt === null ? null : Date.now() - seenAt, CartId: cart.id });
      }
    }
  }
}

sequelize.transaction(fill).then(() => sequelize.close());
