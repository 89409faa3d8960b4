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
SECONDS = 30
SHOWN = 2000


def run(command):
    """What a command printed to stdout and to stderr."""
    words = ["bash", "-c", command]
    try:
        ran = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=SECONDS)
    except subprocess.TimeoutExpired as ended:  # has bytes, or nothing
        printed, complained = ((said or b"").decode(errors="replace") for said in (ended.stdout, ended.stderr))
        return printed, f"{complained}\n(timed out)"
    return ran.stdout, ran.stderr


client = openai.OpenAI()
messages = [
    {"role": "system", "content": SYSTEM},
    {"role": "user", "content": f"{os.environ['TASK']}\n\nWhen it is repaired, finish with: echo {SUBMIT}"},
]
for _ in range(TURNS):
    said = client.chat.completions.create(model="any", messages=messages).choices[0].message.content
    commands = re.findall(r"```bash\n(.*?)\n?```", said, re.DOTALL)
    if len(commands) == 1:
        printed, complained = run(commands[0])
        seen = (printed + complained)[-SHOWN:] or "(no output)"
        if printed.startswith(SUBMIT):
            break
    else:
        seen = "Reply with one short thought and exactly one command in a ```bash block."
    messages += [{"role": "assistant", "content": said}, {"role": "user", "content": seen.strip("\n")}]
