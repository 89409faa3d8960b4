"""A coding agent as one writes it in ten minutes: ask, run the command, show what it printed, until the model is done.

It knows nothing of rollin: OPENAI_BASE_URL and OPENAI_API_KEY say where its model is.
"""

import os
import re
import subprocess

import openai

SYSTEM = "You repair a Python repository with bash. Reply with one short thought and one command in a ```bash block."
SUBMIT = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
TURNS = 16
SHOWN = 2000

client = openai.OpenAI()
messages = [
    {"role": "system", "content": SYSTEM},
    {"role": "user", "content": f"{os.environ['TASK']}\n\nWhen it is repaired, finish with: echo {SUBMIT}"},
]
for _ in range(TURNS):
    said = client.chat.completions.create(model="any", messages=messages).choices[0].message.content
    commands = re.findall(r"```bash\n(.*?)\n?```", said, re.DOTALL)
    if len(commands) == 1:
        ran = subprocess.run(["bash", "-c", commands[0]], capture_output=True, text=True, errors="replace", timeout=30)
        seen = (ran.stdout + ran.stderr)[-SHOWN:] or "(no output)"
        if ran.stdout.startswith(SUBMIT):
            break
    else:
        seen = "Reply with one short thought and exactly one command in a ```bash block."
    messages += [{"role": "assistant", "content": said}, {"role": "user", "content": seen.strip("\n")}]
