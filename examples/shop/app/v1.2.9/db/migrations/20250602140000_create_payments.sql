-- migrate:up
CREATE TABLE payments (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  order_id INTEGER NOT NULL UNIQUE REFERENCES orders (id),
  amount INTEGER NOT NULL,
  paid_at TEXT NOT NULL
);

-- migrate:down
DROP TABLE payments;
