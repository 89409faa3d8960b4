"""The fault families: visible, semantic, regression. All are pure functions of files and a random generator."""
