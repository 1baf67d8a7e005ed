import type { Mariadb } from '../../../test/support/mariadb.ts'

/** Everything that is hard to carry from one place to another without a change: statements for an empty database. */
export async function zooFor(server: Mariadb): Promise<readonly string[]> {
  const [row] = await server.sql('SELECT VERSION() AS version')
  const [major = 0, minor = 0] = String(row?.['version']).split('.').map(Number)
  // Before 10.7 there is no type for it.
  return major * 100 + minor >= 1007 ? ZOO : ZOO.map(sql => sql.replace('u uuid', 'u char(36)'))
}

/** A character of each of Unicode's planes. */
const PLANES = Array.from({ length: 17 }, (_, p) => `(${p}, '${String.fromCodePoint(p * 0x10000 + 0x101)}')`).join(', ')

const ZOO: readonly string[] = [
  `SET NAMES utf8mb4, sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO', foreign_key_checks = 0, time_zone = '+00:00'`,
  `CREATE TABLE numbers (
     id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
     tiny tinyint, big bigint, huge bigint unsigned, dec65 decimal(65,30), price decimal(12,2) NOT NULL DEFAULT 0.00,
     f float, d double, fu float(7,3), b1 bit(1), b64 bit(64), flag tinyint(1) DEFAULT 1, y year
   ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci`,
  `INSERT INTO numbers (id, tiny, big, huge, dec65, price, f, d, fu, b1, b64, y) VALUES
     (0, -128, -9223372036854775808, 0, -99999999999999999999999999999999999.999999999999999999999999999999, 1.00, 16777217, 1.7976931348623157e308, 1.001, b'0', b'0', 1901),
     (1, 127, 9223372036854775807, 18446744073709551615, 0.000000000000000000000000000001, 1.10, 0.1, 5e-324, -9999.999, b'1', ~0, 2155),
     (2, NULL, NULL, NULL, NULL, 0, 52.5200066, 0.1, NULL, NULL, NULL, NULL),
     (3, 0, 0, 9007199254740993, 1, 0, 0, 0, 0, b'1', 1, 0),
     (18446744073709551614, 5, 9007199254740993, 1, 2, 3, 3.4028234e38, 2.2250738585072014e-308, 1.5, b'0', 255, 2026)`,
  `CREATE TABLE texts (
     code varchar(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL, part int NOT NULL,
     ci varchar(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci, l1 varchar(50) CHARACTER SET latin1, ucs text CHARACTER SET ucs2 COLLATE ucs2_general_ci,
     bin varbinary(300), fixed binary(8), ch char(10), e enum('a','B','it''s','') NOT NULL DEFAULT 'a', s set('x','y','z'),
     j json, lt longtext, bl blob, mb mediumblob,
     PRIMARY KEY (code, part), UNIQUE KEY by_ci (ci), KEY by_prefix (lt(20)), FULLTEXT KEY words (lt), CHECK (part >= 0)
   ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin`,
  `INSERT INTO texts VALUES
     ('a', 1, 'Grüße', 'é', 'ßÄ', 0x00ff27225c0a0d1a, 0x0102, 'x ', 'it''s', 'x,z', '{"a": 1.0, "b": [null, "\\\\u0000"]}', 'line\\nquote\\'backslash\\\\tab\\t', 0x00, ''),
     ('A ', 2, '😀 𝄞 \u{10FFFF} \u{1F469}\u200D\u{1F467}', NULL, NULL, '', 0xffffffffffffffff, '', '', '', 'null', '', NULL, REPEAT('x', 70000)),
     ('\\'"\`', 3, 'line\\r\\nbreak', 'x', '中文', NULL, NULL, NULL, 'B', NULL, NULL, NULL, REPEAT(0x00275c, 1000), NULL)`,
  `CREATE TABLE times (
     id int NOT NULL PRIMARY KEY, d date, dt datetime(6), t time(6), ts timestamp(6) NULL DEFAULT NULL,
     made timestamp NOT NULL DEFAULT current_timestamp() ON UPDATE current_timestamp(), ratio float
   ) ENGINE=InnoDB`,
  `INSERT INTO times VALUES
     (1, '0000-00-00', '0000-00-00 00:00:00', '-838:59:59.999999', NULL, '2026-01-01 00:00:00', 1.00000012),
     (2, '2026-00-00', '9999-12-31 23:59:59.999999', '838:59:59.999999', '1970-01-01 00:00:01', '2026-03-29 02:30:00', 0.333333343),
     (3, '2026-02-31', '1000-01-01 00:00:00', '00:00:00', '2038-01-19 03:14:07.999999', '2026-10-25 02:30:00', NULL)`,
  `CREATE TABLE made_up (
     id int NOT NULL AUTO_INCREMENT PRIMARY KEY, a int NOT NULL, b int AS (a * 2) VIRTUAL, c varchar(40) AS (CONCAT('n', a)) STORED,
     g geometry, p point, u uuid, ip inet6, UNIQUE KEY by_c (c)
   ) ENGINE=InnoDB`,
  `INSERT INTO made_up (a, g, p, u, ip) VALUES
     (1, ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))', 4326), POINT(1e-7, -0.1), '123e4567-e89b-12d3-a456-426655440000', '::ffff:1.2.3.4'),
     (2, NULL, NULL, NULL, NULL)`,
  `CREATE TABLE planes (plane int NOT NULL PRIMARY KEY, t varchar(5) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin) ENGINE=InnoDB`,
  `INSERT INTO planes VALUES ${PLANES}`,
  `CREATE TABLE keyless (a int, b varchar(20), c float) ENGINE=InnoDB`,
  `INSERT INTO keyless VALUES (1, 'x', 1.5), (1, 'x', 1.5), (2, 'y', NULL), (NULL, NULL, NULL)`,
  `CREATE TABLE by_unique (a int NOT NULL, b int NOT NULL, note text, UNIQUE KEY ab (a, b)) ENGINE=InnoDB`,
  `INSERT INTO by_unique VALUES (1, 1, 'one'), (1, 2, 'two')`,
  'CREATE TABLE `select``"odd.name` (`from "x"` int NOT NULL PRIMARY KEY, `a``b` varchar(10), `ключ` int) ENGINE=InnoDB',
  "INSERT INTO `select``\"odd.name` VALUES (1, 'q', 2)",
  `CREATE TABLE old_style (id int NOT NULL PRIMARY KEY, note varchar(30)) ENGINE=MyISAM`,
  `INSERT INTO old_style VALUES (1, 'not transactional')`,
  `CREATE TABLE parts (id int NOT NULL, at date NOT NULL, PRIMARY KEY (id, at)) ENGINE=InnoDB
     PARTITION BY RANGE (YEAR(at)) (PARTITION p2025 VALUES LESS THAN (2026), PARTITION later VALUES LESS THAN MAXVALUE)`,
  `INSERT INTO parts VALUES (1, '2025-05-05'), (2, '2026-06-06')`,
  `CREATE TABLE empty_one (id int NOT NULL AUTO_INCREMENT PRIMARY KEY) ENGINE=InnoDB AUTO_INCREMENT=500`,
  `CREATE TABLE chicken (id int NOT NULL PRIMARY KEY, egg int, CONSTRAINT c_egg FOREIGN KEY (egg) REFERENCES egg (id) ON DELETE SET NULL) ENGINE=InnoDB`,
  `CREATE TABLE egg (id int NOT NULL PRIMARY KEY, chicken int, FOREIGN KEY (chicken) REFERENCES chicken (id) ON UPDATE CASCADE) ENGINE=InnoDB`,
  `INSERT INTO chicken VALUES (1, 1)`,
  `INSERT INTO egg VALUES (1, 1)`,
  `CREATE TABLE log (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, what varchar(100)) ENGINE=InnoDB`,
  `CREATE VIEW plain AS SELECT id, price FROM numbers WHERE id < 5`,
  `CREATE VIEW a_first AS SELECT p.id, chicken.egg FROM plain p LEFT JOIN chicken ON chicken.id = p.id`,
  `CREATE SQL SECURITY INVOKER VIEW zoo_view AS SELECT 'it''s; "quoted"' AS say, a_first.* FROM a_first`,
  `CREATE TRIGGER log_times BEFORE UPDATE ON times FOR EACH ROW INSERT INTO log (what) VALUES (CONCAT('times ', NEW.id, '; done'))`,
  `CREATE TRIGGER log_chicken AFTER INSERT ON chicken FOR EACH ROW BEGIN IF NEW.id > 5 THEN INSERT INTO log (what) VALUES ('big'); END IF; END`,
  `CREATE FUNCTION slug(t text) RETURNS text DETERMINISTIC RETURN LOWER(REPLACE(t, ' ', '-'))`,
  `CREATE PROCEDURE tidy(IN n int, OUT m int) BEGIN DECLARE i int DEFAULT 0; WHILE i < n DO SET i = i + 1; END WHILE; SET m = i; END`,
  `CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2026-01-01 03:00:00' DISABLE DO DELETE FROM log WHERE id < 0`,
  `CREATE SEQUENCE order_no START WITH 1000 INCREMENT BY 5 MINVALUE 1 MAXVALUE 999999 CACHE 10`,
  `SELECT NEXTVAL(order_no)`,
]

/** One change each, anywhere, that must be noticed: the table it is in, the statement. */
export const CHANGES: readonly (readonly [table: string, sql: string])[] = [
  ['numbers', 'UPDATE numbers SET f = 16777218 WHERE id = 0'],
  ['numbers', 'UPDATE numbers SET f = 52.52 WHERE id = 2'],
  ['numbers', 'UPDATE numbers SET d = 0.10000000000000002 WHERE id = 2'],
  ['numbers', 'UPDATE numbers SET huge = 18446744073709551614 WHERE id = 1'],
  ['numbers', 'UPDATE numbers SET big = 9007199254740992 WHERE id = 18446744073709551614'],
  ['numbers', 'UPDATE numbers SET dec65 = 0.000000000000000000000000000002 WHERE id = 1'],
  ['numbers', "UPDATE numbers SET b64 = b'11' WHERE id = 3"],
  ['numbers', 'UPDATE numbers SET id = 18446744073709551613 WHERE id = 18446744073709551614'],
  ['numbers', 'UPDATE numbers SET tiny = 0 WHERE id = 2'],
  ['numbers', 'UPDATE numbers SET y = 2154 WHERE id = 1'],
  ['texts', "UPDATE texts SET ci = 'grüße' WHERE part = 1"],
  ['texts', "UPDATE texts SET code = 'a ' WHERE part = 2"],
  ['texts', "UPDATE texts SET code = 'B' WHERE part = 2"],
  ['texts', 'UPDATE texts SET bin = 0x00ff27225c0a0d WHERE part = 1'],
  ['texts', 'UPDATE texts SET lt = NULL WHERE part = 2'],
  ['texts', "UPDATE texts SET lt = '' WHERE part = 3"],
  ['texts', "UPDATE texts SET e = 'a' WHERE part = 2"],
  ['texts', "UPDATE texts SET s = 'x' WHERE part = 1"],
  ['texts', `UPDATE texts SET j = '{"a": 1, "b": [null, "\\\\\\\\u0000"]}' WHERE part = 1`],
  ['texts', "UPDATE texts SET ci = REPLACE(ci, '\u{10FFFF}', '\u{10FFFE}') WHERE part = 2"],
  ['texts', "UPDATE texts SET ucs = '中' WHERE part = 3"],
  ['texts', 'UPDATE texts SET l1 = 0x78E9 WHERE part = 3'],
  ['times', "UPDATE times SET d = '2026-00-01', made = made WHERE id = 2"],
  ['times', 'UPDATE times SET d = NULL, made = made WHERE id = 1'],
  ['times', "UPDATE times SET dt = '9999-12-31 23:59:59.999998', made = made WHERE id = 2"],
  ['times', "UPDATE times SET t = '838:59:59.999998', made = made WHERE id = 2"],
  ['times', "UPDATE times SET ts = '2038-01-19 03:14:07.999998', made = made WHERE id = 3"],
  ['times', "UPDATE times SET made = '2026-03-29 03:30:00' WHERE id = 2"],
  ['made_up', "UPDATE made_up SET g = ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))', 0) WHERE id = 1"],
  ['made_up', 'UPDATE made_up SET p = POINT(1e-7, -0.10000000000000002) WHERE id = 1'],
  ['made_up', "UPDATE made_up SET u = '123e4567-e89b-12d3-a456-426655440001' WHERE id = 1"],
  ['made_up', "UPDATE made_up SET ip = '::ffff:1.2.3.5' WHERE id = 1"],
  ['made_up', 'UPDATE made_up SET a = 3 WHERE id = 2'],
  ['planes', `UPDATE planes SET t = '${String.fromCodePoint(0xb0102)}' WHERE plane = 11`],
  ['keyless', 'UPDATE keyless SET a = 3 WHERE a = 2'],
  ['keyless', 'DELETE FROM keyless WHERE a = 1 LIMIT 1'],
  [
    'keyless',
    "UPDATE keyless SET b = IF(a = 2, 'x', IF(@one := IFNULL(@one, 0) + 1 = 1 AND a = 1, 'y', b)) WHERE a IS NOT NULL",
  ],
  ['by_unique', "UPDATE by_unique SET note = IF(b = 1, 'two', 'one')"],
  ['select`"odd.name', 'UPDATE `select``"odd.name` SET `ключ` = 3'],
  ['old_style', "UPDATE old_style SET note = 'other'"],
  ['parts', "UPDATE parts SET at = '2025-05-06' WHERE id = 1"],
  ['chicken', 'UPDATE chicken SET egg = NULL'],
]
