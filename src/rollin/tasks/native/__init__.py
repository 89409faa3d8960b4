"""Published tasks without containers: a commit of a clone, and a virtual environment made for it.

clones         the user's clones of repositories, and one commit of them as a sandbox's template
declared       what a repository declares that its tests want
wheels         a repository's own wheel: what it is made of, and what of it git doesn't hold
pip            pip, told what it may take
environments   the cache of environments
workspaces     both, for a task
converting     a published task as one that runs so
"""
