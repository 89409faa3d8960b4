"""OpenHands' agent as its SDK makes it, with its terminal and its editor, in the folder where it is started.

    pip install openhands-sdk openhands-tools        # Python 3.12 or newer

It knows nothing of rollin: OPENAI_BASE_URL and OPENAI_API_KEY say where its model is.
"""

import os

from openhands.sdk import LLM, Agent, Conversation, Tool
from openhands.tools.file_editor import FileEditorTool
from openhands.tools.terminal import TerminalTool

llm = LLM(model="openai/any", base_url=os.environ["OPENAI_BASE_URL"], api_key=os.environ["OPENAI_API_KEY"])
agent = Agent(llm=llm, tools=[Tool(name=TerminalTool.name), Tool(name=FileEditorTool.name)])
conversation = Conversation(agent=agent, workspace=os.getcwd(), visualizer=None)
conversation.send_message(os.environ["TASK"])
conversation.run()
