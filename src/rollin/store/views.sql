-- Made anew whenever a run is opened to be written: they hold nothing, and an older run gets those of today.

DROP VIEW IF EXISTS turn_view;
DROP VIEW IF EXISTS trajectory_view;

-- For people: one row a turn, with what was on the screen. Calls agree as in `Label.agrees`: by their names and by what
-- their arguments say, however they are spelled.
CREATE VIEW turn_view AS
SELECT t.id AS turn_id, t.trajectory_id, j.instance_id, j.iteration, j.attempt, j.purpose, j.policy, t.turn, t.actor,
       m.content AS observed, t.action, t.tool_calls, t.label, t.label_tool_calls,
       t.action = t.label
       AND (SELECT json_group_array(json_array(name, CASE WHEN json_valid(arguments) THEN json(arguments) ELSE arguments END))
            FROM (SELECT value ->> '$.function.name' AS name, value ->> '$.function.arguments' AS arguments
                  FROM json_each(coalesce(t.tool_calls, '[]'))))
        IS (SELECT json_group_array(json_array(name, CASE WHEN json_valid(arguments) THEN json(arguments) ELSE arguments END))
            FROM (SELECT value ->> '$.function.name' AS name, value ->> '$.function.arguments' AS arguments
                  FROM json_each(coalesce(t.label_tool_calls, '[]'))))
       AS agrees, t.label_status, t.label_source,
       t.finish_reason, t.prompt_tokens, t.completion_tokens, t.seconds, t.label_seconds, t.label_prompt_tokens,
       t.label_completion_tokens, s.depth AS messages
FROM turns t
JOIN trajectories j ON j.id = t.trajectory_id
JOIN states s ON s.id = t.state_id
LEFT JOIN messages m ON m.id = s.message_id;

CREATE VIEW trajectory_view AS
SELECT j.id AS trajectory_id, j.instance_id, k.family, k.split, j.iteration, j.attempt, j.purpose, j.policy, j.status,
       j.exit, j.resolved, count(t.id) AS turns, coalesce(sum(t.actor = 'teacher'), 0) AS teacher_turns,
       coalesce(sum(t.label_status = 'ready'), 0) AS labels,
       coalesce(sum(t.label_status IN ('missing', 'pending', 'invalid')), 0) AS labels_missing,
       coalesce(sum(t.completion_tokens), 0) AS completion_tokens,
       j.ended - j.started AS seconds, j.patch
FROM trajectories j
JOIN tasks k ON k.instance_id = j.instance_id
LEFT JOIN turns t ON t.trajectory_id = j.id
GROUP BY j.id;
