-- migrate:up
CREATE TABLE reviews (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  user_id INTEGER NOT NULL REFERENCES users (id),
  sku VARCHAR(20) NOT NULL REFERENCES products (sku),
  stars INTEGER NOT NULL,
  written_at TEXT NOT NULL
);

-- migrate:down
DROP TABLE reviews;
