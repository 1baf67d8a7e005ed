-- migrate:up
ALTER TABLE orders RENAME COLUMN total TO total_cents;
ALTER TABLE orders ADD COLUMN discount INTEGER;

-- migrate:down
ALTER TABLE orders DROP COLUMN discount;
ALTER TABLE orders RENAME COLUMN total_cents TO total;
