-- What each evaluation of a study trained, in the order in which they ended. Added to a database that
-- was made before it was known; trials of that time have no rows.

CREATE SEQUENCE IF NOT EXISTS spending_sequence;
CREATE TABLE IF NOT EXISTS spending (
    study VARCHAR NOT NULL,
    sequence BIGINT NOT NULL DEFAULT nextval('spending_sequence'),
    number INTEGER NOT NULL,            -- of the trial; below 0 for the control
    repeat INTEGER NOT NULL,            -- which further seed; 0 for the trial itself
    stages VARCHAR[] NOT NULL,          -- trainings that were begun
    train_tokens BIGINT NOT NULL,
    train_flops DOUBLE NOT NULL         -- three forward passes over those tokens, in closed form
);
