"""rollin trains small LLM agents from strong teachers, on the states that the student really reaches."""

__version__ = "0.1.0"
