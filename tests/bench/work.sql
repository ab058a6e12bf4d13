-- SPDX-License-Identifier: GPL-2.0-only
-- Work for a database: inserts, an index, joins, aggregates, updates.
CREATE TABLE item(id INTEGER PRIMARY KEY, owner INTEGER, price INTEGER, name TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
INSERT INTO item SELECT i, (i * 7919) % 500, (i * 104729) % 10007, printf('item %05d of %d', i, i % 13) FROM n;
CREATE INDEX by_owner ON item(owner, price);
CREATE TABLE owner AS SELECT DISTINCT owner AS id, 'owner ' || owner AS name FROM item;
SELECT o.name, count(*), sum(i.price), max(i.name) FROM owner o JOIN item i ON i.owner = o.id
GROUP BY o.id ORDER BY 3 DESC LIMIT 5;
UPDATE item SET price = price + 1 WHERE owner % 3 = 0;
SELECT count(*) FROM item WHERE name LIKE '%9 of 1%';
SELECT a.id, b.id FROM item a JOIN item b ON b.owner = a.owner AND b.price = a.price AND b.id > a.id LIMIT 5;
DELETE FROM item WHERE id % 4 = 0;
SELECT count(*), sum(price), group_concat(DISTINCT owner % 5) FROM item;
