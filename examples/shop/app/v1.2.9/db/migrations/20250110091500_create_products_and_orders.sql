-- migrate:up
CREATE TABLE products (
  sku VARCHAR(20) PRIMARY KEY,
  name TEXT NOT NULL,
  price INTEGER NOT NULL
);
CREATE TABLE orders (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  user_id INTEGER NOT NULL REFERENCES users (id),
  sku VARCHAR(20) NOT NULL REFERENCES products (sku),
  qty INTEGER NOT NULL,
  total INTEGER NOT NULL,
  status VARCHAR(20) NOT NULL DEFAULT 'new',
  created_at TEXT NOT NULL
);

-- migrate:down
DROP TABLE orders;
DROP TABLE products;
