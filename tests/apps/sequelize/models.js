// A shop's models. DATABASE is the path of the SQLite file.
"use strict";

const { DataTypes, Sequelize } = require("sequelize");

const sequelize = new Sequelize({ dialect: "sqlite", storage: process.env.DATABASE, logging: false });

const User = sequelize.define("User", { email: { type: DataTypes.STRING, allowNull: false, unique: true } });

const Token = sequelize.define("Token", {
  id: { type: DataTypes.UUID, primaryKey: true, allowNull: false, defaultValue: DataTypes.UUIDV4 },
  kind: { type: DataTypes.ENUM("login", "reset", "api"), allowNull: false },
  expiresAt: DataTypes.DATE,
});

const TokenUse = sequelize.define("TokenUse", { address: DataTypes.STRING });

// Deleted rows stay, with the time of their deletion.
const Cart = sequelize.define("Cart", { total: DataTypes.DECIMAL(10, 2) }, { paranoid: true });

// As JavaScript's Date.now() counts: milliseconds.
const Visit = sequelize.define("Visit", { page: DataTypes.STRING, seenAt: DataTypes.BIGINT }, { timestamps: false });

User.hasMany(Token, { onDelete: "CASCADE" });
Token.belongsTo(User);
Token.hasMany(TokenUse, { onDelete: "CASCADE" });
TokenUse.belongsTo(Token);
User.hasMany(Cart, { onDelete: "SET NULL" });
Cart.belongsTo(User);
Cart.hasMany(Visit, { onDelete: "SET NULL" });
Visit.belongsTo(Cart);

module.exports = { sequelize, User, Token, TokenUse, Cart, Visit };
