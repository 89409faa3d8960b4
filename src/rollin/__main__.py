"""`python -m rollin` is `rollin`."""

from rollin.cli import main

if __name__ == "__main__":
    main()
