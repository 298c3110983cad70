-- Runs and logged models that are gone, whose rows in the large tables are still to be removed; their series have the scope `gone`.
CREATE TABLE doomed (owner VARCHAR NOT NULL);
