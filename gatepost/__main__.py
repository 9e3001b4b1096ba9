"""`gatepost`, the program."""

from gatepost.cli import main

if __name__ == "__main__":
    main()
