-- The tables of a study database, and views for those who read it with SQL.
-- Times are in UTC. A row of `trial` is written when the trial has finished or was stopped at a rung, in
-- one transaction with its rows in `measurement`, `curve`, `log` and `event`; it changes where a stopped
-- trial goes on. Further seeds and a measured latency in place of a composed one change its rows in
-- `measurement` later.

CREATE TABLE meta (
    version INTEGER NOT NULL,           -- of this schema
    created TIMESTAMPTZ NOT NULL
);

CREATE TABLE study (
    name VARCHAR PRIMARY KEY,
    spec JSON NOT NULL,                 -- the whole study, defaults written out
    state VARCHAR NOT NULL,
    reason VARCHAR,
    created TIMESTAMPTZ NOT NULL,
    seconds DOUBLE NOT NULL,            -- time spent running, over all sessions
    idempotency_key VARCHAR UNIQUE,     -- of the request that created it
    spec_hash VARCHAR NOT NULL          -- tells a repeated request from a different one
);

CREATE TABLE architecture (
    id VARCHAR PRIMARY KEY,             -- 12 hex digits of the canonical form
    json JSON NOT NULL,
    vocab INTEGER NOT NULL,
    dim INTEGER NOT NULL,
    depth INTEGER NOT NULL,
    mixers VARCHAR[] NOT NULL,          -- kind of each layer's mixer, bottom first
    ffns VARCHAR[] NOT NULL,            -- kind of each layer's FFN, bottom first
    params BIGINT NOT NULL,
    active_params BIGINT NOT NULL       -- that one token uses
);

CREATE TABLE environment (
    id VARCHAR PRIMARY KEY,             -- 12 hex digits of the content
    json JSON NOT NULL
);

-- What happened in a study, in order: enough to rebuild the state of its sampler.
CREATE SEQUENCE log_sequence;
CREATE TABLE log (
    study VARCHAR NOT NULL,
    sequence BIGINT NOT NULL DEFAULT nextval('log_sequence'),
    kind VARCHAR NOT NULL,              -- asked, told, or told@0 where it was stopped at a rung
    number INTEGER NOT NULL,            -- of the trial
    proposal JSON,                      -- asked only
    architecture VARCHAR,               -- asked only
    told JSON,                          -- told@0, told@1 ... only: what the trial had reached there
    PRIMARY KEY (study, kind, number)
);

CREATE TABLE trial (
    study VARCHAR NOT NULL,
    number INTEGER NOT NULL,
    architecture VARCHAR NOT NULL,
    answers JSON NOT NULL,              -- what the space asked and the sampler chose
    state VARCHAR NOT NULL,             -- complete, stopped, infeasible, failed or repeat
    proposer VARCHAR NOT NULL,
    fallback VARCHAR,                   -- why the named sampler did not propose it itself
    repeat_of INTEGER,                  -- the trial whose results are served again
    reason VARCHAR,                     -- why an infeasible trial was rejected
    failure_stage VARCHAR,
    failure_kind VARCHAR,
    failure_message VARCHAR,
    environment VARCHAR,
    weights VARCHAR,                    -- file, where kept
    started TIMESTAMPTZ NOT NULL,
    seconds DOUBLE NOT NULL,
    rung VARCHAR,                       -- after which a stopped trial halted
    PRIMARY KEY (study, number)
);

CREATE TABLE measurement (
    study VARCHAR NOT NULL,
    number INTEGER NOT NULL,
    position INTEGER NOT NULL,          -- among the measurements of the trial
    metric VARCHAR NOT NULL,
    value DOUBLE NOT NULL,
    unit VARCHAR NOT NULL,
    stage VARCHAR NOT NULL,
    low DOUBLE,                         -- 10th percentile, or end of an interval
    high DOUBLE,                        -- 90th percentile, or end of an interval
    repeats INTEGER NOT NULL
);

CREATE TABLE curve (
    study VARCHAR NOT NULL,
    number INTEGER NOT NULL,
    task VARCHAR NOT NULL,
    step INTEGER NOT NULL,
    tokens BIGINT NOT NULL,
    loss DOUBLE NOT NULL                -- nats; NaN where training diverged
);

CREATE TABLE event (
    study VARCHAR NOT NULL,
    sequence BIGINT NOT NULL,           -- from 0 in each study
    kind VARCHAR NOT NULL,
    happened TIMESTAMPTZ NOT NULL,
    data JSON NOT NULL
);

-- One row per study, trial and metric, with the architecture that was measured:
--   SELECT mixers, value FROM result WHERE study = 'quickstart' AND metric = 'text.loss' ORDER BY value;
CREATE VIEW result AS
SELECT
    t.study, t.number, t.state, m.metric, m.value, m.unit, m.stage, m.low, m.high, m.repeats,
    t.architecture, a.dim, a.depth, a.mixers, a.ffns, a.params, a.active_params,
    t.proposer, t.repeat_of, t.started, t.seconds, t.environment
FROM trial t
JOIN measurement m ON m.study = t.study AND m.number = t.number
LEFT JOIN architecture a ON a.id = t.architecture;

-- One row per trial that has no result, and why.
CREATE VIEW rejected AS
SELECT
    t.study, t.number, t.state,
    coalesce(t.reason, t.failure_stage || ': ' || t.failure_kind || ': ' || t.failure_message)
        AS reason,
    t.architecture, a.dim, a.depth, a.mixers, a.ffns, a.params, t.proposer, t.started, t.seconds
FROM trial t
LEFT JOIN architecture a ON a.id = t.architecture
WHERE t.state IN ('infeasible', 'failed');
