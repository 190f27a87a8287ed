-- Versions of the spaces of studies. A study has rows here from the first change of its space on.
-- Added to a database that was made before they were known.

CREATE TABLE IF NOT EXISTS space_version (
    study VARCHAR NOT NULL,
    version INTEGER NOT NULL,           -- from 1
    begun TIMESTAMPTZ NOT NULL,
    entries BIGINT NOT NULL,            -- of the study's log that come before it
    space JSON NOT NULL,
    changes JSON NOT NULL,              -- against the version before
    earlier JSON NOT NULL,              -- where each earlier proposal stands in it
    PRIMARY KEY (study, version)
);
