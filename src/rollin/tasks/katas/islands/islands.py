"""Group items that are linked with one another (union-find)."""

from collections import defaultdict


def _attach(parents, sizes, lesser, larger):
    """Hang the lesser group under the root of the larger one."""
    parents[lesser] = larger
    sizes[larger] += sizes[lesser]


class Islands:
    """Disjoint groups of items; an item not linked yet is its own group."""

    def __init__(self):
        self.parents = {}
        self.sizes = defaultdict(lambda: 1)

    def root(self, item):
        """Return the item that stands for the whole group of item."""
        parent = self.parents.setdefault(item, item)
        while parent != item:
            item, parent = parent, self.parents[parent]
        return item

    def link(self, first, second):
        """Join two groups and return whether they were apart before."""
        ranked = sorted([self.root(first), self.root(second)], key=self.size)
        lesser, larger = ranked
        if lesser == larger:
            return False
        _attach(self.parents, self.sizes, lesser, larger)
        return True

    def linked(self, first, second):
        """Tell whether two items are in the same group."""
        return self.root(first) == self.root(second)

    def size(self, item):
        """Return how many items are in the group of item."""
        return self.sizes[self.root(item)]

    def groups(self, smallest=1):
        """Return the sorted groups that have at least smallest items."""
        members = defaultdict(list)
        for item in sorted(self.parents):
            members[self.root(item)].append(item)
        return [group for group in members.values() if len(group) >= smallest]
