-- What sink.py keeps. Applied at every start; adds what is missing and changes nothing that is there.

-- Where the sink stands. Written in the transaction that writes the rows: this is what makes it exactly once.
CREATE TABLE IF NOT EXISTS crmsync_offset (
    topic       text    NOT NULL,
    "partition" integer NOT NULL,
    next_offset bigint  NOT NULL,
    PRIMARY KEY (topic, "partition")
);

-- The last record of each key. present is false for what was deleted or has left the scope: such a row has ids only.
CREATE TABLE IF NOT EXISTS crmsync_item (
    key         text    PRIMARY KEY,
    kind        text    NOT NULL,
    change      text    NOT NULL,
    present     boolean NOT NULL,
    tenant      text    NOT NULL,
    mailbox     text    NOT NULL,
    item_id     text    NOT NULL,
    dedup_key   text,        -- equal in every mailbox that holds a copy
    occurred_at timestamptz, -- received, or start
    subject     text,
    folder      text,
    record      jsonb   NOT NULL,
    "partition" integer NOT NULL,
    "offset"    bigint  NOT NULL
);
CREATE INDEX IF NOT EXISTS crmsync_item_mailbox ON crmsync_item (tenant, mailbox, kind, occurred_at);
CREATE INDEX IF NOT EXISTS crmsync_item_dedup ON crmsync_item (dedup_key) WHERE present;

-- Who is in it, to be joined with the CRM's contacts.
CREATE TABLE IF NOT EXISTS crmsync_person (
    key     text    NOT NULL REFERENCES crmsync_item (key) ON DELETE CASCADE,
    address text    NOT NULL,
    roles   text[]  NOT NULL,
    PRIMARY KEY (key, address)
);
CREATE INDEX IF NOT EXISTS crmsync_person_address ON crmsync_person (address);
