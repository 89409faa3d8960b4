"""The repository in a published task's image, made into what a sandbox promises: `main` at the task's base commit, with
what the image changed on top of it, and nothing of what came later.

SWE-bench's, SWE-Gym's, SWE-smith's and R2E-Gym's images hold it in /testbed. What they change in it (a pinned
requirement, a flag in tox.ini), which tests may need, is uncommitted in some; in SWE-bench's newer ones it is a commit
on top, by setup@swebench.config (before, .com). Any other commit on top of the base may be the very repair.
"""

import shlex

from rollin.sandboxes.base import TEMPLATE

TESTBED = "/testbed"
NO_REPOSITORY, NO_COMMIT, NO_SETUP = 3, 4, 5
"""Exit statuses of `PREPARE`: where the image doesn't fit the task."""

PREPARE = f"""
[ -d .git ] || exit {NO_REPOSITORY}
git status --porcelain > /dev/null 2>&1 || git config --global --add safe.directory '*'
base=$(git rev-parse --quiet --verify BASE^{{commit}}) || exit {NO_COMMIT}
set -e
git config user.name Agent
git config user.email agent@example.org
git config gc.auto 0
git config maintenance.auto false
case "$(git rev-parse HEAD) $(git log -1 --format='%P %ae')" in
    $base\\ * | *\\ $base\\ setup@swebench.*) ;;
    *) git checkout --quiet --force $base ;;
esac
if [ -f .git/setup.patch ]; then
    git apply --whitespace=nowarn .git/setup.patch || exit {NO_SETUP}
    rm .git/setup.patch
fi
git checkout --quiet --detach
git add --all .
git diff --cached --quiet || git commit --quiet --no-verify --message 'The environment of the image'
if ROOTLESS; then
    git checkout --quiet --detach "$(git commit-tree -m 'Initial import' 'HEAD^{{tree}}')"
fi
git remote | while read -r name; do git remote remove "$name"; done
git for-each-ref --format='%(refname)' --merged=HEAD refs/tags > .git/kept
git for-each-ref --format='%(refname)' | {{ grep -vxFf .git/kept || true; }} | sed 's/^/delete /' |
    git update-ref --no-deref --stdin
rm -rf .git/kept .git/logs .git/rr-cache .git/lost-found .git/objects/info/commit-graph* .git/*_HEAD
git checkout --quiet -B main
rm -rf .git/logs
held=$(git cat-file --batch-all-objects --unordered --batch-check='%(objecttype)' | grep -c '^commit$')
[ "$held" = "$(git rev-list --count --all)" ] || git gc --quiet --prune=now
head=$(git rev-parse HEAD)
mkdir -p .git/logs/refs/heads
printf '%s %s Agent <agent@example.org> 1735722000 +0000\\tclone: from the image\\n' $head $head |
    tee .git/logs/HEAD > .git/logs/refs/heads/main
git clone --quiet --bare --depth 1 --no-tags --branch main file://$PWD {TEMPLATE}
mkdir -p {TEMPLATE}/refs/heads
echo $head > {TEMPLATE}/refs/heads/main
"""
"""Objects that nothing refers to any more are looked for (a second), and thrown away only where there are some (a
minute in a large repository). The copy at TEMPLATE holds the base commit's files alone: a patch is made from it
whatever the agent does to .git."""

ACTIVATE = """
for conda in /opt/miniconda3 /opt/conda; do
    if [ -d $conda/envs/testbed ]; then
        . $conda/etc/profile.d/conda.sh
        conda activate testbed
        break
    fi
done > /dev/null 2>&1
env -0
"""
"""What SWE-bench's images do in /root/.bashrc, once for the sandbox instead of before each command."""
OF_A_SHELL = {"_", "SHLVL", "PWD", "OLDPWD", "HOSTNAME"}
"""Variables that each shell sets anew."""


def preparation(base_commit: str, setup_patch: str) -> str:
    """The script, run by bash in the repository. A setup patch would stand in the history: then there is none."""
    script = PREPARE.replace("BASE", shlex.quote(base_commit))
    return script.replace("ROOTLESS", "true" if setup_patch else "false")


def variables(printed: str) -> dict[str, str]:
    """What `ACTIVATE` printed."""
    pairs = (entry.partition("=") for entry in printed.split("\0") if "=" in entry)
    return {name: value for name, _, value in pairs if name not in OF_A_SHELL and "%" not in name}
