BEGIN TRANSACTION;
CREATE TABLE subscription (
    topic_arn TEXT NOT NULL, url TEXT NOT NULL, arn TEXT NOT NULL UNIQUE, state TEXT NOT NULL, token TEXT NOT NULL UNIQUE,
    token_at INTEGER NOT NULL, asked_at INTEGER, guarded INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (topic_arn, url));
INSERT INTO "subscription" VALUES('arn:t','https://a.example/','arn:t:cda76760-d123-4bea-ba49-c094b78fc7a7','confirmed','6ef9ea80f6768f96e462a613f8f9df0adca2d6cbac7674c5398a53eb1c485988dc0064ae7a64c42b21aeeb504aa24a6c3bfdfa5fbd6b3b14ee658c7552277d27',1777896000000000,NULL,0);
COMMIT;
PRAGMA user_version=2;
