BEGIN TRANSACTION;
CREATE TABLE book (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, digest TEXT NOT NULL UNIQUE, content BLOB NOT NULL, origin TEXT NOT NULL,
    loaded_at INTEGER NOT NULL);
INSERT INTO "book" VALUES(1,'dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd',X'7B7D','rules.yaml',1777896000000000);
CREATE TABLE pointer (
    only INTEGER PRIMARY KEY CHECK (only = 1), digest TEXT NOT NULL REFERENCES book (digest), pinned INTEGER NOT NULL);
INSERT INTO "pointer" VALUES(1,'dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd',1);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('book',1);
COMMIT;
PRAGMA user_version=1;
