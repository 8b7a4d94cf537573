// The shop's own clean-up, as Sequelize's users write it.
"use strict";

const { Op } = require("sequelize");
const { sequelize, Token, Cart, Visit } = require("./models");

const DAY = 24 * 3600 * 1000;

async function clean() {
  const now = Date.now();
  await Token.destroy({ where: { kind: ["login", "reset"], expiresAt: { [Op.lt]: new Date(now) } } });
  await Cart.destroy({ where: { deletedAt: { [Op.lt]: new Date(now - 7 * DAY) } }, force: true });
  await Visit.destroy({ where: { seenAt: { [Op.lt]: now - 30 * DAY } } });
}

clean().then(() => sequelize.close());
