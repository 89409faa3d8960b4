"""Published data sets as tasks: SWE-bench, SWE-Gym, SWE-smith, R2E-Gym.

catalogue   which data sets there are, and in which format each is
formats     one adapter a format: its columns -> a task's fields, and how rows are told apart
r2e_gym     the adapter of the one format that is far from SWE-bench's
patches     what can be read off a patch, and a patch turned round
reading     rows of the hub, of a Parquet or of a JSONL file -> tasks, and the rows that are none
"""
