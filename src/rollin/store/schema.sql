-- run.db, schema 4. Times are seconds since the epoch; durations are seconds. docs/store.md explains and has examples.
-- The views are in views.sql.

-- What this run is: rollin_version, schema_version, created, recipe (JSON).
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE tasks (
    instance_id TEXT PRIMARY KEY,
    repo        TEXT NOT NULL,
    family      TEXT NOT NULL,
    split       TEXT NOT NULL,
    task        TEXT NOT NULL  -- the whole task, JSON in SWE-bench's names
) WITHOUT ROWID;

CREATE TABLE iterations (
    number     INTEGER PRIMARY KEY CHECK (number >= 0),  -- 0 is the student before any training
    phase      TEXT NOT NULL CHECK (phase IN ('collecting', 'training', 'evaluating', 'done')),
    beta       REAL,            -- NULL where the roll-in has none, and of `rollin serve`
    checkpoint TEXT,            -- the student after this iteration's training, relative to the run's directory
    started    REAL NOT NULL,
    ended      REAL,
    metrics    TEXT NOT NULL DEFAULT '{}'  -- JSON
);

CREATE TABLE trajectories (
    id          INTEGER PRIMARY KEY,
    instance_id TEXT NOT NULL REFERENCES tasks (instance_id),
    iteration   INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,  -- 0 for the first
    purpose     TEXT NOT NULL CHECK (purpose IN ('collect', 'eval', 'probe')),
    policy      TEXT NOT NULL,     -- who it is about: the student's name, or the teacher's in its own evaluation
    seed        INTEGER NOT NULL,
    status      TEXT NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'ended')),
    exit        TEXT CHECK (exit IN ('submitted', 'turn_limit', 'format_errors', 'action_loop', 'context_limit', 'time_limit',
                                     'sandbox_limit', 'infrastructure_fault')),
    patch       TEXT,              -- what the agent changed, a unified diff
    resolved    INTEGER CHECK (resolved IN (0, 1)),  -- NULL until graded, and for faults
    grade       TEXT,              -- JSON: which tests passed
    started     REAL NOT NULL,
    ended       REAL,
    UNIQUE (instance_id, iteration, attempt, purpose, policy),
    CHECK ((status = 'ended') = (exit IS NOT NULL))
);
CREATE INDEX trajectories_by_iteration ON trajectories (iteration, purpose);

-- A message is stored once, however many states hold it.
CREATE TABLE messages (
    id      INTEGER PRIMARY KEY,
    hash    BLOB NOT NULL UNIQUE,  -- blake2b-128 of all the rest
    role    TEXT NOT NULL,         -- system, developer, user, assistant, tool; `tools`: what a harness offers, as JSON
    name    TEXT,
    content TEXT NOT NULL,
    tool_calls   TEXT,             -- an assistant's, JSON in OpenAI's form
    tool_call_id TEXT              -- which call a tool message answers
);

-- A state is a conversation. Conversations share prefixes, so each state is its parent plus one message: a trie.
CREATE TABLE states (
    id         INTEGER PRIMARY KEY,
    key        BLOB NOT NULL UNIQUE,  -- blake2b-128 of the parent's key and the message's hash
    parent_id  INTEGER REFERENCES states (id),
    message_id INTEGER REFERENCES messages (id),
    depth      INTEGER NOT NULL,      -- number of messages
    UNIQUE (parent_id, message_id)
);
INSERT INTO states (id, key, parent_id, message_id, depth) VALUES (0, x'', NULL, NULL, 0);  -- the empty conversation

CREATE TABLE turns (
    id                      INTEGER PRIMARY KEY,
    trajectory_id           INTEGER NOT NULL REFERENCES trajectories (id),
    turn                    INTEGER NOT NULL CHECK (turn >= 0),
    thread                  INTEGER NOT NULL DEFAULT 0,  -- which of its conversations; others than 0 are sub-agents'
    state_id                INTEGER NOT NULL REFERENCES states (id),
    asked                   TEXT,              -- the harness's other terms (stop, tool_choice, ...), JSON in OpenAI's names
    actor                   TEXT NOT NULL CHECK (actor IN ('student', 'teacher')),
    action                  TEXT NOT NULL,     -- the executed message's words
    tool_calls              TEXT,              -- and its calls, JSON in OpenAI's form
    token_ids               BLOB,              -- little-endian int32, in the actor's own vocabulary
    logprobs                BLOB,              -- little-endian float32, one for each of token_ids
    finish_reason           TEXT NOT NULL,
    prompt_tokens           INTEGER NOT NULL,
    completion_tokens       INTEGER NOT NULL,
    started                 REAL NOT NULL,
    seconds                 REAL NOT NULL,
    label                   TEXT,              -- the teacher's action in this state
    label_tool_calls        TEXT,
    label_status            TEXT NOT NULL
        CHECK (label_status IN ('pending', 'ready', 'missing', 'invalid', 'not_wanted')),
    label_source            TEXT CHECK (label_source IN ('executed', 'beside')),
    label_seconds           REAL NOT NULL DEFAULT 0,
    label_prompt_tokens     INTEGER NOT NULL DEFAULT 0,
    label_completion_tokens INTEGER NOT NULL DEFAULT 0,
    sound                   INTEGER,           -- would the teacher, seeing what came of it, leave it alone? NULL: not asked
    UNIQUE (trajectory_id, turn),
    CHECK ((label_status = 'ready') = (label IS NOT NULL))
);
CREATE INDEX turns_by_label_status ON turns (label_status);

CREATE TABLE evaluations (
    iteration  INTEGER NOT NULL,
    checkpoint TEXT NOT NULL,
    policy     TEXT NOT NULL,
    split      TEXT NOT NULL,
    n          INTEGER NOT NULL,  -- trajectories that count: faults are not among them
    resolved   INTEGER NOT NULL,
    faults     INTEGER NOT NULL,
    metrics    TEXT NOT NULL DEFAULT '{}',  -- JSON
    ended      REAL NOT NULL,
    PRIMARY KEY (iteration, checkpoint, policy, split)
) WITHOUT ROWID;
